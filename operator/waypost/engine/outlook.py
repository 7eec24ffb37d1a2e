"""What would be done: for a sink that is not written to all of it, for one that is what waits. Reads only.

`known` False says that it could not be found out, and `error` why: then the lists mean nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

from waypost.engine.plan import plan
from waypost.engine.step import Step
from waypost.engine.target import Planned

if TYPE_CHECKING:
    from waypost.engine.engine import Engine
    from waypost.engine.target import Target
    from waypost.model import PublicationKey

__all__ = ["MOST_STEPS", "Outlook", "PlannedStep", "SinkOutlook", "SourceOutlook", "outlook"]

Action = Literal["add", "change", "remove", "release"]

MOST_STEPS = 1000
MOST_PROBLEMS = 20
SLICE_SECONDS = 0.002


class PlannedStep(msgspec.Struct, frozen=True, rename="camel"):
    """What would be done for one instance. `hold`: the cause for which it would wait for a person."""

    action: Action
    registration: str
    entry: str
    service: str
    instance: str
    keys: list[str]
    cause: str
    reason: str = ""
    hold: str | None = None


class SinkOutlook(msgspec.Struct, frozen=True, rename="camel"):
    """What would be done in one sink; `steps` are the first of them, `omitted` tells how many more there are."""

    name: str
    mode: str
    known: bool
    error: str
    add: int
    change: int
    remove: int
    held: int
    steps: list[PlannedStep]
    omitted: int
    problems: list[str]
    release: int = 0


class SourceOutlook(msgspec.Struct, frozen=True, rename="camel"):
    """Whether a source was read whole."""

    name: str
    known: bool
    error: str
    services: int
    instances: int


class Outlook(msgspec.Struct, frozen=True, rename="camel"):
    """What would be done everywhere."""

    known: bool
    settled: bool
    sources: list[SourceOutlook]
    sinks: list[SinkOutlook]

    @property
    def anything(self) -> bool:
        """Whether anything is to be done."""
        return any(sink.add or sink.change or sink.remove or sink.release for sink in self.sinks)


async def outlook(engine: Engine, *, sink: str = "", most: int = MOST_STEPS) -> Outlook:
    """Return what would be done, in one sink or in all, with at most `most` steps of each."""
    targets = [t for name, t in sorted(engine.reconciler.targets.items()) if not sink or name == sink]
    sources = list(_sources(engine))
    sinks = [await _sink(engine, target, most) for target in targets]
    known = engine.settings is not None and all(s.known for s in sources) and all(s.known for s in sinks)
    return Outlook(known, engine.settled(), sources, sinks)


def _sources(engine: Engine) -> Iterator[SourceOutlook]:
    for name, view in sorted(engine.reconciler.views.items()):
        error = ""
        if not view.complete and not view.frozen:
            runner = engine.sources.get(name)
            condition = runner.condition if runner is not None else None
            why = f": {condition.reason} {condition.message}".rstrip() if condition is not None else ""
            error = f"it has not been read whole{why}"
        yield SourceOutlook(name, not error, error, len(view.services), view.count)


async def _sink(engine: Engine, target: Target, most: int) -> SinkOutlook:
    counts = {"add": 0, "change": 0, "remove": 0, "release": 0}
    held = 0
    steps: list[PlannedStep] = []
    began = time.perf_counter()
    for planned in list(target.planned.values()) if target.mode != "Apply" else _waiting(engine, target):
        step = _described(target, planned)
        counts[step.action] += 1
        held += step.hold is not None
        if len(steps) < most:
            steps.append(step)
        if time.perf_counter() - began > SLICE_SECONDS:
            await asyncio.sleep(0)
            began = time.perf_counter()
    problems = {f"{key} {i}: {reason}" for key, mine in list(target.problems.items()) for i, reason in mine.items()}
    return SinkOutlook(
        name=target.name,
        mode=target.mode,
        known=not (error := _error(target)),
        error=error,
        **counts,
        held=held,
        steps=steps,
        omitted=sum(counts.values()) - len(steps),
        problems=sorted(problems)[:MOST_PROBLEMS],
    )


def _error(target: Target) -> str:
    if target.loaded and target.condition.ok:
        return ""
    condition = target.condition
    return f"{condition.reason}: {condition.message or 'what it holds has not been read yet'}"


def _waiting(engine: Engine, target: Target) -> Iterator[Planned]:
    """Yield what a sink that is written to has yet to do: what is dirty, waits for other writes, or for a person."""
    if target.sink is None or not target.loaded:
        return
    pairs: dict[PublicationKey, set[str]] = {}
    for key, marked in target.dirty.items():
        all_of_it = (
            engine.reconciler.all_instances(key) | set(target.ledger.instances(key)) if marked is None else marked
        )
        pairs[key] = set(all_of_it)
    for key, instances in target.waiting.items():
        pairs.setdefault(key, set()).update(instances)
    for key, instance in engine.holds.waiting(target.name):
        pairs.setdefault(key, set()).add(instance)
    for key, instances in pairs.items():
        if target.sink is None:  # it closed while others ran
            return
        for step in plan(engine.reconciler, target, key, sorted(instances)):
            yield Planned(step, engine.holds.waits(target.name, (step.key, step.instance)))  # type: ignore[arg-type]


def _described(target: Target, planned: Planned) -> PlannedStep:
    step = planned.step
    return PlannedStep(
        action=_action(target, step),
        registration=step.key.registration,
        entry=step.key.entry,
        service=str(step.key.service),
        instance=step.instance,
        keys=list(_keys(step)),
        cause=step.cause,
        reason=step.reason,
        hold=planned.hold,
    )


def _action(target: Target, step: Step) -> Action:
    if not step.puts:
        return "release" if step.release else "remove"
    return "change" if target.ledger.kept(step.key, step.instance) else "add"


def _keys(step: Step) -> Iterable[str]:
    return (*(change.key for change in step.puts), *step.removals)
