"""What a step can be: acts by name, each with how often it is drawn, what it is drawn with, and what it does."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tests.simulation.schedule import Schedule

__all__ = ["ACTS", "Act", "Draw", "act"]

Draw = Callable[[Random, "Schedule"], tuple[Any, ...] | None]  # None: it makes no sense in such a schedule


class Act(msgspec.Struct, frozen=True):
    """One kind of step. `do` may be a coroutine function: the step then takes its time.

    An ordeal is several things at once that seldom come together by themselves; see draw.
    """

    weight: int
    draw: Draw
    do: Callable[..., Any]
    ordeal: bool = False


ACTS: dict[str, Act] = {}


def act(weight: int, draw: Draw, *, ordeal: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function (world, *args) under its name."""

    def made(do: Callable[..., Any]) -> Callable[..., Any]:
        ACTS[do.__name__] = Act(weight, draw, do, ordeal)
        return do

    return made


def nothing(_random: Random, _schedule: Schedule) -> tuple[Any, ...]:
    return ()


def some_service(random: Random, schedule: Schedule) -> tuple[str, str]:
    source, name, _ = random.choice(schedule.services)
    return source, name


def some_source(random: Random, schedule: Schedule) -> str:
    return random.choice(schedule.origins).name


def some_sink(random: Random, schedule: Schedule) -> str:
    return random.choice(schedule.outlets).name


def some_replica(random: Random, schedule: Schedule) -> int:
    return random.randrange(schedule.replicas)


def some_registration(random: Random, schedule: Schedule) -> str:
    return random.choice(schedule.registrations)[0]
