"""A cluster that does not come up is tried once more from a clean state; a machine that cannot carry one is told."""

from pathlib import Path

import pytest

from e2e import kind
from e2e import stage as stages
from e2e.steps import reason


class Made(stages.Stage):
    """A stage that fails as often as it is told to."""

    failing = 0
    ended = 0

    async def start(self) -> None:
        if type(self).failing:
            type(self).failing -= 1
            raise ValueError("no node")

    async def stop(self) -> None:
        type(self).ended += 1

    async def explain(self) -> str:
        return "its log"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> type[Made]:
    monkeypatch.setattr(stages, "Stage", Made)
    Made.failing = Made.ended = 0
    return Made


async def test_it_comes_up_at_the_second_try(made: type[Made], tmp_path: Path) -> None:
    made.failing = 1
    async with stages.stage(tmp_path) as up:
        assert up.directory.name == "try-2"
    assert made.ended == 2


async def test_there_is_no_third_try(made: type[Made], tmp_path: Path) -> None:
    made.failing = 2
    with pytest.raises(ValueError, match="no node"):
        async with stages.stage(tmp_path):
            pytest.fail("it did not come up")
    assert made.ended == 2


async def test_what_fails_on_the_stage_is_not_tried_again(made: type[Made], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Waypost"):
        async with stages.stage(tmp_path):
            raise ValueError("Waypost")
    assert made.ended == 1


def test_a_machine_that_cannot_is_told_in_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert kind.not_run(["bridges (denied)", "room (none)"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "e2e-kind: NOT RUN: bridges (denied); room (none)"


def test_an_error_says_its_step() -> None:
    error = ValueError("no disk")
    error.add_note("the cluster")
    assert reason(error) == "the cluster: no disk"
