"""What is missing is said with its reason; a build is done once, whole or not at all."""

import multiprocessing
from pathlib import Path

import pytest

import testbed
from testbed import install, parts, recipes

PART = parts.Part("thing", "a thing", 0.1, ("program",))


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WAYPOST_TESTBED", str(tmp_path))
    return tmp_path


def made(target: Path, run: recipes.Runner) -> None:
    with (target.parent / "builds").open("a") as log:
        log.write("x")
    run(["sh", "-c", f"sleep 0.3; echo one >{target}/program"])


def test_what_is_not_built_is_missing_and_says_what_to_run(empty_cache: Path) -> None:
    assert "sh testbed/setup.sh etcd" in testbed.missing()["etcd"]
    with pytest.raises(testbed.MissingError, match=r"setup\.sh consul"):
        testbed.require("consul")


def test_an_older_recipe_is_noticed(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "recipe", lambda part: made)
    install.install(PART)
    assert PART.problem() is None
    assert "older recipe" in str(parts.Part("thing", "a thing", 0.1, ("program",), (Path(__file__),)).problem())


def test_a_program_of_ours_is_part_of_its_recipe() -> None:
    names = {path.name for path in parts.PARTS["external-dns"].inputs}
    assert names == {"go.mod", "go.sum", "main.go"}


def test_two_processes_build_once(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "recipe", lambda part: made)
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=install.install, args=(PART,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert (empty_cache / "builds").read_text() == "x"
    assert PART.problem() is None


def test_a_failed_build_leaves_nothing_and_shows_the_log(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "recipe", lambda part: lambda target, run: run(["sh", "-c", "echo no disk; exit 1"]))
    with pytest.raises(install.BuildError, match="no disk"):
        install.install(PART)
    assert sorted(path.name for path in empty_cache.iterdir()) == [".thing.lock", "thing.log"]


def test_what_a_part_is_made_of_is_made_before_it_and_another_recipe_of_that_makes_it_old(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = parts.Part("first", "a thing", 0.1, ("program",))
    second = parts.Part("second", "made of it", 0.1, ("program",), needs=("first",))
    monkeypatch.setitem(parts.PARTS, "first", first)
    monkeypatch.setattr(install, "recipe", lambda part: made)
    install.install(second)
    assert first.problem() is None
    assert second.problem() is None
    monkeypatch.setitem(parts.PARTS, "first", parts.Part("first", "a thing", 0.1, ("program",), (Path(__file__),)))
    assert "older recipe" in str(second.problem())


def test_parts_with_one_go_mod_have_their_own_sums() -> None:
    names = [str(path.relative_to(parts.HERE / "servers/go")) for path in parts.PARTS["kube-node"].inputs]
    assert names == ["kube/go.mod", "kube-node/go.sum"]
