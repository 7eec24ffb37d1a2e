"""Makes a failing schedule smaller while it still breaks the same promise: fewer steps, fewer things, shorter waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from tests.simulation.run import run
from tests.simulation.schedule import Outlet, Schedule, Step

__all__ = ["shrunk"]

RUNS = 400
replace = msgspec.structs.replace


def shrunk(schedule: Schedule, promise: int, runs: int = RUNS) -> Schedule:
    """Return the smallest schedule found that breaks the promise; at most `runs` are tried."""
    left = runs

    def fails(candidate: Schedule) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and any(found.promise == promise for found in run(candidate).violations)

    while left > 0:
        before = schedule
        schedule = _fewer_steps(schedule, fails)
        for candidates in (_fewer_things, _plainer, _shorter):
            schedule = _first_of(schedule, candidates, fails)
        if schedule == before:
            break
    return schedule


def _fewer_steps(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Drop steps, many at a time first; what is dropped leaves its wait to the next."""
    size = len(schedule.steps)
    while size >= 1:
        place = 0
        while place < len(schedule.steps):
            smaller = _without(schedule, place, place + size)
            if fails(smaller):
                schedule = smaller
            elif fails(plain := replace(schedule, steps=schedule.steps[:place] + schedule.steps[place + size :])):
                schedule = plain
            else:
                place += size
        size //= 2
    return schedule


def _without(schedule: Schedule, first: int, end: int) -> Schedule:
    steps = list(schedule.steps)
    waited = sum(step.wait for step in steps[first:end])
    rest = steps[end:]
    if rest:
        rest[0] = replace(rest[0], wait=round(rest[0].wait + waited, 3))
    return replace(schedule, steps=(*steps[:first], *rest))


def _first_of(
    schedule: Schedule, candidates: Callable[[Schedule], Iterator[Schedule]], fails: Callable[[Schedule], bool]
) -> Schedule:
    """Take each candidate that still fails, and go on from it."""
    while True:
        for candidate in candidates(schedule):
            if candidate != schedule and fails(candidate):
                schedule = candidate
                break
        else:
            return schedule


def _fewer_things(schedule: Schedule) -> Iterator[Schedule]:
    """Drop registrations, and services, sinks and sources that no step names."""
    for name, _ in schedule.registrations:
        kept = tuple(each for each in schedule.registrations if each[0] != name)
        yield replace(schedule, registrations=kept)
    for service in schedule.services:
        yield replace(schedule, services=tuple(each for each in schedule.services if each != service))
    named = {arg for step in schedule.steps for arg in step.args if isinstance(arg, str)}
    named |= {sink for _, form in schedule.registrations for sink in form.sinks}
    named |= {source for source, _, _ in schedule.services} | {form.source for _, form in schedule.registrations}
    yield replace(schedule, outlets=tuple(o for o in schedule.outlets if o.name in named) or schedule.outlets)
    yield replace(schedule, origins=tuple(o for o in schedule.origins if o.name in named) or schedule.origins)


def _plainer(schedule: Schedule) -> Iterator[Schedule]:
    """Make what there is at the start simpler."""
    if schedule.files:
        yield replace(schedule, files=False)
    if schedule.replicas > 1:
        yield replace(schedule, replicas=schedule.replicas - 1)
    for place, outlet in enumerate(schedule.outlets):
        for plain in (Outlet(outlet.name), replace(outlet, latency=0.0), replace(outlet, records=64, in_flight=4)):
            outlets = list(schedule.outlets)
            outlets[place] = plain
            yield replace(schedule, outlets=tuple(outlets))
    for place, origin in enumerate(schedule.origins):
        origins = list(schedule.origins)
        origins[place] = replace(origin, kind="facts")
        yield replace(schedule, origins=tuple(origins))
    for place, (source, name, count) in enumerate(schedule.services):
        for fewer in {count // 2, count - 1} if count else ():
            services = list(schedule.services)
            services[place] = (source, name, fewer)
            yield replace(schedule, services=tuple(services))


def _shorter(schedule: Schedule) -> Iterator[Schedule]:
    """Wait less, and let lists in steps be shorter."""
    for place, step in enumerate(schedule.steps):
        for smaller in _smaller(step):
            steps = list(schedule.steps)
            steps[place] = smaller
            yield replace(schedule, steps=tuple(steps))


def _smaller(step: Step) -> Iterator[Step]:
    for wait in (0.0, 1.0, round(step.wait / 4, 1)):
        if wait < step.wait:
            yield replace(step, wait=wait)
    for place, arg in enumerate(step.args):
        if isinstance(arg, tuple) and len(arg) > 1:
            for drop in range(len(arg)):
                args = list(step.args)
                args[place] = arg[:drop] + arg[drop + 1 :]
                yield replace(step, args=tuple(args))
