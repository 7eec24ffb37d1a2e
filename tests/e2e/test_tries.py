"""A cluster that does not come up is tried once more from a clean state; a machine that cannot carry one is told."""

import asyncio
from pathlib import Path

import pytest

from e2e import kind
from e2e import stage as stages
from e2e.stage import NoClusterError
from e2e.steps import StepError, reason
from testbed.command import CommandError


class Made(stages.Stage):
    """A stage that fails as it is told to."""

    failures: list[Exception]
    forever = False
    cluster_first = False
    ended = 0

    async def start(self) -> None:
        kind_ = type(self)
        self.up = kind_.cluster_first
        if kind_.forever:
            await asyncio.Event().wait()
        if kind_.failures:
            raise kind_.failures.pop(0)

    async def stop(self) -> None:
        type(self).ended += 1

    async def explain(self) -> str:
        return "its log"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> type[Made]:
    monkeypatch.setattr(stages, "Stage", Made)
    Made.ended, Made.forever, Made.cluster_first = 0, False, False
    Made.failures = []
    return Made


async def brought_up(directory: Path) -> None:
    async with stages.stage(directory):
        pytest.fail("it did not come up")


async def test_it_comes_up_at_the_second_try(made: type[Made], tmp_path: Path) -> None:
    made.failures = [ValueError("no node")]
    async with stages.stage(tmp_path) as up:
        assert up.directory.name == "try-2"
    assert made.ended == 2


async def test_there_is_no_third_try(made: type[Made], tmp_path: Path) -> None:
    made.failures = [NoClusterError("no node"), NoClusterError("no engine"), NoClusterError("a third")]
    with pytest.raises(NoClusterError, match="no engine"):
        await brought_up(tmp_path)
    assert made.ended == 2


@pytest.mark.parametrize("first", [True, False])
async def test_what_fails_after_there_was_a_cluster_is_no_fault_of_the_machine(
    made: type[Made], tmp_path: Path, *, first: bool
) -> None:
    made.failures = [ValueError("the image was not built"), NoClusterError("no node")][:: 1 if first else -1]
    with pytest.raises(ValueError, match="the image was not built"):
        await brought_up(tmp_path)


async def test_a_cluster_that_never_comes_up_is_waited_for_so_long(
    made: type[Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "COMING_UP", 0.01)
    made.forever = True
    with pytest.raises(NoClusterError, match=r"in 0\.01 s"):
        await brought_up(tmp_path)
    made.cluster_first = True
    with pytest.raises(StepError, match=r"in 0\.01 s"):
        await brought_up(tmp_path)
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


@pytest.mark.parametrize(("ci", "status", "word"), [(True, 0, "NOT RUN"), (False, 1, "FAILED")])
def test_no_cluster_is_the_machines_fault_in_ci_alone(
    capsys: pytest.CaptureFixture[str], *, ci: bool, status: int, word: str
) -> None:
    assert kind.no_cluster(NoClusterError("kind: no\nnode"), ci=ci) == status
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"e2e-kind: {word}: ")
    assert line.endswith("tried: kind: no node")


async def test_what_cannot_be_fetched_is_tried_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "PAUSE", 0)
    script, tries = tmp_path / "make.sh", tmp_path / "tries"
    script.write_text(f'echo >>"{tries}"; exit 1\n')
    with pytest.raises(NoClusterError, match=r"packages: .* ended with 1"):
        await kind.fetched("packages", 60, script)
    assert tries.read_text() == "\n\n"


async def test_only_what_the_machine_does_is_its_fault() -> None:
    async def fails() -> None:
        raise CommandError("kubeadm: no")

    with pytest.raises(NoClusterError, match="kubeadm: no"):
        await stages._machines(fails(), 60)
    with pytest.raises(NoClusterError, match=r"not done after 0\.01 s"):
        await stages._machines(asyncio.Event().wait(), 0.01)
