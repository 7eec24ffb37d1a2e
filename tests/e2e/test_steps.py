"""The end-to-end scenario's own tools fail where they should, and say why."""

import asyncio

import pytest

from e2e import steps
from e2e.records import unharmed
from e2e.steps import StepError, step, until


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "LOOK_EVERY", 0.001)


async def test_until_asks_on_what_cannot_be_asked_yet_and_gives_the_answer_that_holds() -> None:
    given = [OSError("not there"), ValueError("503"), 1, 2, 3]

    async def ask() -> int:
        answer = given.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return int(str(answer))

    assert await until("two", ask, lambda seen: seen == 2) == 2
    assert given == [3]


async def test_until_gives_up_with_what_was_seen_last() -> None:
    async def ask() -> list[str]:
        return ["one"]

    with pytest.raises(StepError, match=r"two pods: not so after 0\.05 s; the last that was seen: \['one'\]"):
        await until("two pods", ask, lambda pods: len(pods) == 2, seconds=0.05)


async def test_a_step_is_bounded_and_named() -> None:
    with pytest.raises(StepError, match=r"a cluster: not done after 0\.05 s"):
        async with step("a cluster", 0.05):
            await asyncio.Event().wait()


async def test_of_things_done_at_once_the_first_failure_is_told_and_the_others_end() -> None:
    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fail() -> None:
        raise ValueError("no disk")

    async def both() -> None:
        async with step("both", 10), asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(fail())

    with pytest.raises(ValueError, match="no disk"):
        await both()
    assert ended.is_set()


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({"a": 1}, r"deregistered, if only for a moment: \['b'\]"),
        ({"a": 1, "b": 7}, r"deregistered, if only for a moment: \['b'\]"),  # deleted and written again
        ({"a": 1, "b": 2, "c": 3}, r"registered by nobody: \['c'\]"),
    ],
)
def test_a_record_that_went_or_came_unasked_is_noticed(after: dict[str, int], told: str) -> None:
    with pytest.raises(StepError, match=told):
        unharmed({"a": 1, "b": 2}, after, alone=True)


def test_records_that_stayed_are_well() -> None:
    unharmed({"a": 1}, {"a": 1, "b": 2})
    unharmed({"a": 1}, {"a": 1}, alone=True)
