"""What a person is shown of a failing seed: the promise, the shrunk schedule, the end, and how to see it again."""

from __future__ import annotations

from tests.simulation.run import Result, run
from tests.simulation.schedule import Schedule
from tests.simulation.shrink import shrunk

__all__ = ["report"]

LAST = 40


def report(schedule: Schedule, result: Result, *, shrink: bool = True) -> str:
    """Return the report of a schedule that broke a promise."""
    first = result.violations[0]
    small = shrunk(schedule, first.promise) if shrink else schedule
    again = run(small) if shrink else result
    shown = next((found for found in again.violations if found.promise == first.promise), first)
    lines = [
        f"=== seed {schedule.seed} breaks promise {first.promise}",
        f"{first}",
        "",
        f"shrunk to {len(small.steps)} of {len(schedule.steps)} steps:",
        *small.lines(),
        "",
        f"then {shown}",
        "",
        "what happened at last:",
        *(f"  {line}" for line in again.trace[-LAST:]),
        "",
        f"to see it again: .venv/bin/python -m tests.simulation --seed {schedule.seed}",
        "",
    ]
    return "\n".join(lines)
