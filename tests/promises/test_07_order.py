"""Promise 7.

Deletions come only after writes are acknowledged; if one failed, as many old records stay as are missing.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig import Rig, instance, registration, service, sink
from waypost.adapter import AdapterError, InvalidRecord, Limits, Outcome
from waypost.testing.memory import Fault
from waypost.testing.virtual import virtual_test


def order(rig: Rig) -> list[tuple[str, str]]:
    return [(write.key, "-" if write.new is None else "+") for write in rig.target().log]


@virtual_test
async def test_a_replacement_is_written_before_the_old_one_goes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.sinks["out"].faults.extend([Fault("error", AdapterError("503"))] * 3)
        rig.memory["mem"].set(service("web", "b"))
        await rig.settle(30)
    assert order(rig) == [("web/a", "+"), ("web/b", "+"), ("web/a", "-")]


@virtual_test
async def test_as_many_old_records_stay_as_writes_were_refused(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b", "c"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.sinks["out"].refuse = lambda c: Outcome("invalid", "no") if c.key in {"web/x", "web/y"} else None
        rig.memory["mem"].set(service("web", "x", "y", "z"))
        await rig.settle()
        assert rig.found() == ["web/a", "web/b", "web/z"]
        rig.memory["mem"].set(service("web", "z"))
        await rig.settle()
        assert rig.found() == ["web/z"]


def rendering(bad: Callable[[str], bool], how: str) -> Callable[[Any], None]:
    """Let a sink's `render` say of some instances that their record cannot be: it yields that, or it raises."""

    def into(made: Any) -> None:
        whole = made.render

        def render(publication: Any, instances: Any) -> Iterator[Any]:
            for item in whole(publication, instances):
                if not bad(item.instance):
                    yield item
                elif how == "raised":
                    raise ZeroDivisionError
                else:
                    yield InvalidRecord(item.instance, "it cannot be")

        made.render = render

    return into


@pytest.mark.parametrize("how", ["yielded", "raised"])
@virtual_test
async def test_as_many_old_records_stay_as_could_not_be_rendered(tmp_path: Path, how: str) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b", "c"))
    rig.declare(registration("web"))
    bad = {"x", "y"}
    rig.on_sink = rendering(bad.__contains__, how)
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].set(service("web", "x", "y", "z"))
        await rig.settle()
        assert rig.found() == ["web/a", "web/b", "web/z"]
        bad.remove("x")
        rig.memory["mem"].set(service("web", instance("x", port=9), "y", "z"))
        await rig.settle()
        assert len(rig.found()) == 3
        assert {"web/x", "web/z"} < set(rig.found())
        rig.memory["mem"].set(service("web", "z"))
        await rig.settle()
        assert rig.found() == ["web/z"]


@virtual_test
async def test_a_replacement_of_more_than_a_batch_is_written_before_anything_of_the_old_goes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *(f"a{n}" for n in range(9))))
    rig.declare(registration("web"), sink(safety={"maxRemovalPercent": 100}))
    rig.on_sink = lambda made: setattr(made, "limits", Limits(records=2))
    async with rig.running():
        await rig.settle()
        unready = (instance(f"a{n}", readiness="not-ready") for n in range(6))
        rig.memory["mem"].set(service("web", *unready, *(f"z{n}" for n in range(9))))
        await rig.settle(60)
    assert [sign for _, sign in order(rig)] == ["+"] * 18 + ["-"] * 9


@virtual_test
async def test_under_a_shared_name_deletions_wait_for_all_writes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("blue", "b1", "b2"))
    rig.declare(registration("all", services=["*"], names=["web"]))
    async with rig.running():
        await rig.settle()
        rig.sinks["out"].latency = 1.0
        rig.memory["mem"].set(service("green", "g1", "g2"))
        rig.memory["mem"].delete(*[key for key in rig.memory["mem"].services if key.name == "blue"])
        await rig.settle(10)
    assert [sign for _, sign in order(rig)] == ["+", "+", "+", "+", "-", "-"]


@virtual_test
async def test_a_draining_instance_stops_being_ready_first_and_goes_after_its_time(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web", drainSeconds=10))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].set(service("web", instance("a", readiness="draining"), "b"))
        await rig.settle(5)
        assert rig.records()["web/a"]["ready"] is False
        await rig.settle(6)
        assert rig.found() == ["web/b"]


@virtual_test
async def test_an_instance_that_vanishes_while_draining_goes_at_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web", drainSeconds=600))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].set(service("web", instance("a", readiness="draining"), "b"))
        await rig.settle(1)
        rig.memory["mem"].set(service("web", "b"))
        await rig.settle(1)
        assert rig.found() == ["web/b"]
