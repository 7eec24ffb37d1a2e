"""What health checks have found, for people. Reads only; every list is bounded.

What is asked of one registration costs in proportion to its instances, the whole costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from waypost.model import PublicationKey

if TYPE_CHECKING:
    from waypost.engine.followers import Follower
    from waypost.engine.overlay import HealthOverlay
    from waypost.health.subject import Subject

__all__ = ["Finding", "RegistrationHealth", "Snapshot", "instance", "registration", "snapshot"]

MOST = 10

Said = Literal["passes", "fails", "unknown", "unchecked"]


class Snapshot(msgspec.Struct, frozen=True, rename="camel"):
    """All checks. `trouble`: why some could lately not be made; `panicking`: the first registrations that panic."""

    checks: int
    passing: int
    failing: int
    unknown: int
    in_flight: int
    lag_seconds: float
    trouble: str
    panicking: list[str]
    panicking_count: int


class Finding(msgspec.Struct, frozen=True, rename="camel"):
    """One instance in one sink. `kept`: it fails, but is not withdrawn for it; `text` is one line for people."""

    service: str
    instance: str
    said: Said
    kept: bool
    text: str


class RegistrationHealth(msgspec.Struct, frozen=True, rename="camel"):
    """One registration. An instance that is shown in several sinks counts once; `failures` are the first of them."""

    instances: int
    passing: int
    failing: int
    unknown: int
    unchecked: int
    panics: bool
    failures: list[Finding]


def snapshot(overlay: HealthOverlay) -> Snapshot:
    """Return how the checks stand."""
    checker = overlay.checker
    panicking = sorted(key for key, watch in overlay.watches.items() if watch.ward.panics)
    return Snapshot(
        checks=len(checker.subjects),
        passing=checker.counts[True],
        failing=checker.counts[False],
        unknown=checker.counts[None],
        in_flight=checker.in_flight,
        lag_seconds=round(checker.lag, 3),
        trouble=checker.trouble,
        panicking=panicking[:MOST],
        panicking_count=len(panicking),
    )


def registration(overlay: HealthOverlay, key: str) -> RegistrationHealth | None:
    """Return what was found of a registration's instances; None where it asks for no check."""
    watch = overlay.watches.get(key)
    if watch is None:
        return None
    found: dict[tuple[object, str], Finding] = {}
    for _, follower in sorted(watch.followers.items()):
        for name in (*follower.subjects, *follower.unchecked):
            found.setdefault((follower.place[1].service, name), _finding(follower, name))
    said = [finding.said for finding in found.values()]
    failures = [finding for finding in found.values() if finding.said in {"fails", "unchecked"}]
    return RegistrationHealth(
        instances=len(said),
        passing=said.count("passes"),
        failing=said.count("fails"),
        unknown=said.count("unknown"),
        unchecked=said.count("unchecked"),
        panics=watch.ward.panics,
        failures=failures[:MOST],
    )


def instance(overlay: HealthOverlay, target: str, key: PublicationKey, name: str) -> Finding | None:
    """Return what was found of one instance in one sink; None where it is not followed."""
    watch = overlay.watches.get(key.registration)
    follower = watch.followers.get((target, key)) if watch is not None else None
    if follower is None or (name not in follower.subjects and name not in follower.unchecked):
        return None
    return _finding(follower, name)


def _finding(follower: Follower, name: str) -> Finding:
    service = str(follower.place[1].service)
    subject = follower.subjects.get(name)
    if subject is None:
        return Finding(service, name, "unchecked", kept=False, text=f"not checked: {follower.unchecked[name]}")
    ward = follower.watch.ward
    kept = subject.verdict is False and ward.verdict(subject) is not False
    return Finding(service, name, _said(subject), kept, _text(subject, kept=kept, panics=ward.panics))


def _said(subject: Subject) -> Said:
    return "unknown" if subject.verdict is None else "passes" if subject.verdict else "fails"


def _text(subject: Subject, *, kept: bool, panics: bool) -> str:
    target = subject.target
    where = f"{target.address} port {target.port}"
    row = abs(subject.standing.row)
    last = f", {subject.reason}" if subject.reason else ""
    if subject.verdict is None:
        return (
            f"not decided yet at {where}: {row} in a row of the same{last}" if row else f"not decided at {where}{last}"
        )
    if subject.verdict:
        return f"passes at {where}{f'; the last check: {subject.reason}' if subject.reason else ''}"
    why = "; not withdrawn: " + ("so many fail that the checks are in doubt" if panics else "others are checked first")
    return f"fails at {where}{last}{why if kept else ''}"
