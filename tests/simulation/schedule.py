"""A schedule: all that will happen to an engine, as data made before it runs. It can be printed, replayed and shrunk.

Steps name what they touch (a service, an instance, a sink) or count (`the third record there is`); one that finds
nothing to touch does nothing, so that any part of a schedule is a schedule.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Origin", "Outlet", "Registered", "Schedule", "Step"]


class Origin(msgspec.Struct, frozen=True):
    """A source. `facts`: tells changes as they come; `snapshots`: only when read; `resumes`: facts, from a log."""

    name: str
    kind: str = "facts"
    poll_seconds: float = 60.0


class Outlet(msgspec.Struct, frozen=True):
    """A sink: what one batch may hold, how many are under way, how long an answer takes, whether stamps are kept."""

    name: str
    records: int = 64
    in_flight: int = 4
    latency: float = 0.0
    fenced: bool = True


class Registered(msgspec.Struct, frozen=True):
    """What a registration says. `service` may be `*`: all of the source, each under `name` with `{service}` in it."""

    source: str
    service: str
    name: str
    sinks: tuple[str, ...]
    drain_seconds: int = 20
    not_ready: str = "Withhold"
    mark: str = ""  # its metadata, which an edit changes
    checked: bool = False  # health checks, whose answers the schedule scripts

    def names(self, service: str) -> str:
        """Return the name under which it publishes a service."""
        return self.name.replace("{service}", service)

    def wants(self, source: str, service: str) -> bool:
        """Say whether it selects a service."""
        return self.source == source and self.service in (service, "*")


class Step(msgspec.Struct, frozen=True):
    """After `wait` seconds, do `act` (see acts_*.py) with `args`."""

    wait: float
    act: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        """Return a line for people."""
        return f"{self.act} {' '.join(map(_shown, self.args))}".rstrip()


class Schedule(msgspec.Struct, frozen=True):
    """What there is at the start, and the steps."""

    seed: int
    origins: tuple[Origin, ...]
    outlets: tuple[Outlet, ...]
    services: tuple[tuple[str, str, int], ...]  # source, name, how many instances
    registrations: tuple[tuple[str, Registered], ...]
    steps: tuple[Step, ...]
    replicas: int = 1
    files: bool = False  # manifests are files, read by the real feed
    sharing: tuple[str, ...] = ()  # names of registrations that share their names, as long as they are so called
    orphans: tuple[str, ...] = ()  # … whose records stay when they are deleted, nobody's

    def lines(self) -> list[str]:
        """Return it as people read it; times are seconds since the start."""
        found = [
            f"seed {self.seed}: {self.replicas} replica(s), manifests {'as files' if self.files else 'handed over'}"
        ]
        found += [f"  source {each.name}: {each.kind}, read every {each.poll_seconds:g} s" for each in self.origins]
        for each in self.outlets:
            fenced = "fenced" if each.fenced else "not fenced"
            limits = f"{each.records} records a batch, {each.in_flight} in flight"
            found.append(f"  sink {each.name}: {limits}, {each.latency:g} s an answer, {fenced}")
        found += [f"  service {source}/{name}: {count} instances" for source, name, count in self.services]
        found += [f"  registration {name}: {_registered(form)}" for name, form in self.registrations]
        for what, names in (("share their names", self.sharing), ("leave their records", self.orphans)):
            found += [f"  registrations that {what}: {', '.join(names)}"] if names else []
        now = 0.0
        for step in self.steps:
            now += step.wait
            found.append(f"  {now:10.3f}  {step}")
        return found


def _registered(form: Registered) -> str:
    said = f"{form.source}/{form.service} as {form.name} in {','.join(form.sinks)}"
    return f"{said}, drain {form.drain_seconds} s, not ready: {form.not_ready}{', checked' if form.checked else ''}"


def _shown(value: Any) -> str:
    if isinstance(value, Registered):
        return f"({_registered(value)}{f', mark {value.mark}' if value.mark else ''})"
    if isinstance(value, tuple | list):
        return "[" + " ".join(map(_shown, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
