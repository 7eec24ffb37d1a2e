"""What the engine says of itself: sources, sinks, holds, manifests, and how registrations stand.

Reads only; every list is bounded. What is asked of one resource costs in proportion to that one; what is asked of all
yields to others every two milliseconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from waypost.engine.standing import is_stale, standing
from waypost.settings.status import RegistrationStatus

if TYPE_CHECKING:
    from waypost.engine.engine import Engine
    from waypost.engine.holds import Hold
    from waypost.engine.target import Target

__all__ = [
    "ConditionReport",
    "HoldReport",
    "LeadershipReport",
    "Manifests",
    "Overview",
    "RegistrationReport",
    "SinkReport",
    "SourceReport",
    "held",
    "hold",
    "holds",
    "known",
    "leadership",
    "manifests",
    "overview",
    "pending",
    "registrations",
    "sink",
    "source",
]

SLICE_SECONDS = 0.002
MOST_PROBLEMS = 100
MOST_REGISTRATIONS = 1000


class ConditionReport(msgspec.Struct, frozen=True, rename="camel"):
    """How a source or a sink stands; `since` in wall seconds, 0 where never."""

    ok: bool
    reason: str
    message: str = ""
    since: float = 0.0


class SourceReport(msgspec.Struct, frozen=True, rename="camel"):
    """One source. `doubted` instances are absent, which is not believed yet; it was read `last_read_seconds` ago."""

    name: str
    type: str
    environment: str
    mode: str
    condition: ConditionReport
    complete: bool
    services: int
    instances: int
    ready_instances: int
    doubted: int
    stale: bool
    last_read_seconds: float | None
    warnings: dict[str, str]


class SinkReport(msgspec.Struct, frozen=True, rename="camel"):
    """One sink. `pending` counts instances to be written, in DryRun steps that would be taken."""

    name: str
    type: str
    environment: str
    owner_id: str = msgspec.field(name="ownerID")
    mode: str
    condition: ConditionReport
    loaded: bool
    records: int
    ready: int
    pending: int
    failed: int
    held: int
    conflicting: int
    epoch: int | None
    generation: int | None
    written: int
    warnings: dict[str, str]


class HoldReport(msgspec.Struct, frozen=True, rename="camel"):
    """What waits for a person, or was decided; times in wall seconds."""

    name: str
    digest: str
    sink: str
    source: str
    cause: str
    removals: int
    changes: int
    of: int
    sample: list[str]
    created_time: float
    decision: str
    reason: str
    decided_time: float | None
    expires_seconds: int


class RegistrationReport(msgspec.Struct, frozen=True, rename="camel"):
    """One registration and how it stands."""

    key: str
    status: RegistrationStatus


class Manifests(msgspec.Struct, frozen=True, rename="camel"):
    """What is wrong with the manifests. `complete` False: nothing is deleted until all of them can be read."""

    read: bool
    complete: bool
    problems: list[str]
    problem_count: int


class LeadershipReport(msgspec.Struct, frozen=True, rename="camel"):
    """Who leads: `term` is this process's own, None while it is a standby; `leader` what the elector knows of."""

    elector: bool
    term: int | None = None
    leader: str = ""
    leader_term: int | None = None
    problem: str = ""


class Overview(msgspec.Struct, frozen=True, rename="camel"):
    """Everything; `after` is where the next page of registrations begins, None at the end."""

    leads: bool
    leadership: LeadershipReport
    settled: bool
    manifests: Manifests
    sources: list[SourceReport]
    sinks: list[SinkReport]
    holds: list[HoldReport]
    registrations: list[RegistrationReport]
    registration_count: int
    after: str | None = None


def source(engine: Engine, name: str, now: float) -> SourceReport | None:
    """Return how a source stands; None where there is none. Walks its instances."""
    declared = engine.settings.sources.get(name) if engine.settings is not None else None
    if declared is None:
        return None
    view, runner = engine.reconciler.views.get(name), engine.sources.get(name)
    condition = ConditionReport(ok=False, reason="Starting")
    if declared.spec.mode == "Frozen":
        condition = ConditionReport(ok=True, reason="Frozen", message="the manifest froze it: nothing is read")
    elif runner is not None:
        condition = msgspec.convert(runner.condition, ConditionReport, from_attributes=True)
    services = view.services if view is not None else {}
    ready = sum(i.readiness == "ready" for known in services.values() for i in known.instances.values())
    heard = view.last_read if view is not None else None
    return SourceReport(
        name=name,
        type=declared.spec.type,
        environment=declared.spec.environment,
        mode=declared.spec.mode,
        condition=condition,
        complete=view is not None and view.complete,
        services=len(services),
        instances=view.count if view is not None else 0,
        ready_instances=ready,
        doubted=view.doubt.count() if view is not None else 0,
        stale=is_stale(engine, name, now),
        last_read_seconds=None if heard is None else round(max(0.0, now - heard), 3),
        warnings=engine.contexts.warned("source", name),
    )


def sink(engine: Engine, name: str) -> SinkReport | None:
    """Return how a sink stands; None where there is none. Walks what is dirty or wrong, not what is stored."""
    declared = engine.settings.sinks.get(name) if engine.settings is not None else None
    target = engine.reconciler.targets.get(name)
    if declared is None or target is None:
        return None
    fence = target.fence
    return SinkReport(
        name=name,
        type=declared.spec.type,
        environment=declared.spec.environment,
        owner_id=declared.spec.owner_id,
        mode=target.mode,
        condition=msgspec.convert(target.condition, ConditionReport, from_attributes=True),
        loaded=target.loaded,
        records=target.ledger.records,
        ready=target.ledger.ready,
        pending=pending(engine, target),
        failed=sum(map(len, target.failed.values())),
        held=held(engine, target),
        conflicting=_conflicting(engine, target),
        epoch=fence.epoch if fence is not None else None,
        generation=fence.generation if fence is not None else None,
        written=target.written,
        warnings=engine.contexts.warned("sink", name),
    )


def pending(engine: Engine, target: Target) -> int:
    """Return how many instances of a sink are to be looked at or written."""
    if target.mode != "Apply":
        return len(target.planned)
    count = sum(map(len, target.waiting.values()))
    for key, marked in target.dirty.items():
        if marked is not None:
            count += len(marked)
            continue
        view = engine.reconciler.views.get(key.service.source)
        known = view.services.get(key.service) if view is not None else None
        shelf = target.ledger.shelves.get(key)
        listed = len(known.instances) if known is not None else 0
        count += max(listed, len(shelf.instances()) if shelf is not None else 0)
    return count


def held(engine: Engine, target: Target) -> int:
    """Return how many changes of a sink wait for a person."""
    if target.mode != "Apply":
        return sum(planned.hold is not None for planned in target.planned.values())
    return len(engine.holds.waiting(target.name))


def _conflicting(engine: Engine, target: Target) -> int:
    names = set()
    for key in target.problems:
        showing = engine.reconciler.showing(target.name, key)
        for name in showing.publication.names if showing is not None else ():
            if target.names.conflict(key, name.name) is not None:
                names.add((key.registration, name.name))
    return len(names)


def holds(engine: Engine) -> list[HoldReport]:
    """Return what waits or was decided, the oldest first; without the sets themselves."""
    return [hold(each) for each in sorted(engine.holds.holds.values(), key=lambda h: (h.created_time, h.name))]


def hold(each: Hold) -> HoldReport:
    """Return one hold without its set."""
    return msgspec.convert(each, HoldReport, from_attributes=True)


def leadership(engine: Engine) -> LeadershipReport:
    """Return who leads."""
    mine, leader = engine.leadership, engine.leadership.leader()
    if mine.elector is None:
        return LeadershipReport(elector=False)
    return LeadershipReport(
        elector=True,
        term=mine.term.number if mine.term is not None else None,
        leader=leader.name if leader is not None else "",
        leader_term=leader.number if leader is not None else None,
        problem=mine.problem,
    )


def manifests(engine: Engine) -> Manifests:
    """Return what is wrong with the manifests, of which at most 100 are listed."""
    settings = engine.settings
    if settings is None:
        return Manifests(read=False, complete=False, problems=[], problem_count=0)
    problems = settings.problems
    return Manifests(
        read=True,
        complete=settings.complete,
        problems=[str(problem) for problem in problems[:MOST_PROBLEMS]],
        problem_count=len(problems),
    )


async def registrations(
    engine: Engine, now: float, keys: Iterable[str], most: int = MOST_REGISTRATIONS
) -> tuple[list[RegistrationReport], str | None]:
    """Return how these registrations stand, at most `most`; and the last of them where there are more."""
    reports: list[RegistrationReport] = []
    began = time.perf_counter()
    for key in keys:
        if len(reports) == most:
            return reports, reports[-1].key
        if (found := standing(engine, key, now)) is not None:
            reports.append(RegistrationReport(key, found))
        if time.perf_counter() - began > SLICE_SECONDS:
            await asyncio.sleep(0)
            began = time.perf_counter()
    return reports, None


def known(engine: Engine, after: str = "", namespace: str = "") -> list[str]:
    """Return the keys of all registrations after one, sorted, those too that could not be read."""
    settings = engine.settings
    if settings is None:
        return []
    refused = {problem.name for problem in settings.problems if problem.kind == "ServiceRegistration"}
    keys = {key for key in (*settings.registrations, *refused) if "/" in key}
    return sorted(key for key in keys if key > after and (not namespace or key.startswith(f"{namespace}/")))


async def overview(
    engine: Engine, now: float, *, after: str = "", namespace: str = "", most: int = MOST_REGISTRATIONS
) -> Overview:
    """Return everything, one page of registrations at a time. `now` is monotonic."""
    settings = engine.settings
    sources = []
    for name in sorted(settings.sources) if settings is not None else ():
        if (report := source(engine, name, now)) is not None:
            sources.append(report)
        await asyncio.sleep(0)
    sinks = [found for name in sorted(engine.reconciler.targets) if (found := sink(engine, name)) is not None]
    reports, rest = await registrations(engine, now, known(engine, after, namespace), most)
    return Overview(
        leads=engine.leadership.leads(),
        leadership=leadership(engine),
        settled=engine.settled(),
        manifests=manifests(engine),
        sources=sources,
        sinks=sinks,
        holds=holds(engine),
        registrations=reports,
        registration_count=len(settings.registrations) if settings is not None else 0,
        after=rest,
    )
