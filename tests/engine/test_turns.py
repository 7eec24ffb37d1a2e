"""Turns that one condition each decides, and that show only when two things come together."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.rig import Rig, instance, registration, service
from waypost.adapter import Change, Fence, InvalidRecord, Limits, Outcome, Record
from waypost.engine.holds import Holds
from waypost.model import Publication, PublicationKey, PublishedInstance, ServiceKey
from waypost.testing.memory import Fault, MemorySink
from waypost.testing.virtual import virtual_test

NAMES = [f"i{n:02}" for n in range(20)]
WEB = PublicationKey("default/web", "out", ServiceKey("mem", "", "web"))


class Choosy(MemorySink):
    """Cannot render an instance whose port is 1."""

    def render(
        self, publication: Publication, instances: Sequence[PublishedInstance]
    ) -> Iterator[Record | InvalidRecord]:
        for one in instances:
            if one.ports[0].number == 1:
                yield InvalidRecord(one.id, "it cannot be")
            else:
                yield from super().render(publication, [one])


@virtual_test
async def test_an_instance_that_cannot_be_rendered_any_more_keeps_the_record_it_has(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    def prepare(made: MemorySink) -> None:
        made.__class__ = Choosy

    rig.on_sink = prepare
    rig.memory["mem"].set(service("web", instance("a", port=2), instance("b", port=2)))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].set(service("web", instance("a", port=1), instance("b", port=2)))
        await rig.settle(30)
        assert rig.found() == ["web/a", "web/b"]
        assert rig.problems() == ["it cannot be"]


@virtual_test
async def test_who_loses_one_of_two_names_to_another_keeps_what_stands_under_it_until_that_is_settled(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"), service("api", "x"))
    rig.declare(registration("api", names=["shop"]), registration("web", names=["old"]))
    async with rig.running():
        await rig.settle()
        rig.declare(registration("web", names=["shop", "new"]))
        await rig.settle(30)
        assert set(rig.found()) == {"shop/x", "old/a", "new/a"}


@pytest.mark.parametrize("later", ["Approve", "Reject"])
def test_of_two_holds_that_name_a_pair_the_later_decision_is_in_force(tmp_path: Path, later: Any) -> None:
    now = 1000.0
    holds = Holds(tmp_path, lambda: now)
    holds.wait("out", "BudgetExceeded", (WEB, "a"), removal=True)
    holds.wait("out", "BudgetExceeded", (WEB, "b"), removal=True)
    (first,) = holds.show(lambda _: 9)
    holds.wait("out", "MinReady", (WEB, "a"), removal=True)
    (second,) = holds.show(lambda _: 9)
    holds.decide(first.name, "Reject" if later == "Approve" else "Approve", "")
    now += 1
    holds.decide(second.name, later, "")
    assert holds.decision("out", (WEB, "a"), removal=True) == later


@virtual_test
async def test_what_was_rejected_stays_though_there_is_room_again_until_the_decision_ends(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *NAMES))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        rig.memory["mem"].set(service("web", *NAMES[10:]))
        await rig.settle(30)
        assert len(rig.found()) == 14
        (hold,) = engine.holds.holds.values()
        engine.orders.decide(hold.name, "Reject", "not tonight")
        await rig.settle(750)  # the window has slid
        assert len(rig.found()) == 14
        await rig.settle(300)
        assert len(rig.found()) == 10


@virtual_test
async def test_a_term_that_is_over_writes_nothing_though_nobody_has_been_told_yet(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        engine.leadership.leads = lambda: False  # type: ignore[method-assign]
        rig.memory["mem"].set(service("web", "a", "b"))
        await rig.settle(30)
        assert rig.found() == ["web/a"]


@virtual_test
async def test_after_an_unknown_outcome_the_target_is_looked_at_when_the_other_batches_are_back(tmp_path: Path) -> None:
    class Slow(MemorySink):
        under_way = 0

        async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Any:
            self.under_way += 1
            try:
                if any(change.key.startswith("slow/") for change in batch):
                    await asyncio.sleep(10)
                return await super().apply(batch, fence)
            finally:
                self.under_way -= 1

        async def advance(self, fence: Fence) -> Fence:
            advanced.append(self.under_way)
            return await super().advance(fence)

    advanced: list[int] = []
    rig = Rig(tmp_path)

    def prepare(made: MemorySink) -> None:
        made.__class__ = Slow
        made.limits = Limits(1, 400_000, 2)

    rig.on_sink = prepare
    rig.declare(registration("slow"), registration("web"))
    rig.memory["mem"].set(service("slow"), service("web"))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].set(service("slow", "a"))
        await rig.settle(1)
        rig.sinks["out"].faults.append(Fault("lost"))
        rig.memory["mem"].set(service("web", "a"))
        await rig.settle(60)
        assert rig.found() == ["slow/a", "web/a"]
        assert advanced == [0]


@virtual_test
async def test_what_does_not_fit_into_a_batch_is_not_planned_for_each_batch_before_its_own(tmp_path: Path) -> None:
    class Counting(MemorySink):
        rendered = 0

        def render(
            self, publication: Publication, instances: Sequence[PublishedInstance]
        ) -> Iterator[Record | InvalidRecord]:
            self.rendered += len(instances)
            return super().render(publication, instances)

    rig = Rig(tmp_path)
    names = [f"s{n:02}" for n in range(60)]

    def prepare(made: MemorySink) -> None:
        made.__class__ = Counting
        made.limits = Limits(100, 700, 1)  # octets of some three records

    rig.on_sink = prepare
    rig.memory["mem"].set(*(service(name, "a") for name in names))
    rig.declare(*(registration(name) for name in names))
    async with rig.running():
        await rig.settle(60)
        sink = rig.sinks["out"]
        assert isinstance(sink, Counting)
        assert rig.found() == [f"{name}/a" for name in names]
        assert sink.rendered <= 3 * len(names)


@virtual_test
async def test_a_withdrawal_that_the_target_did_not_take_is_counted_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *NAMES))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        tries = 3

        def refuse(change: Change) -> Outcome | None:
            return Outcome("superseded") if change.record is None and tries > 0 else None

        rig.sinks["out"].refuse = refuse
        rig.memory["mem"].set(service("web", *NAMES[6:]))  # as many as the budget has
        for _ in range(3):
            await rig.settle(5)
            tries -= 1
        await rig.settle(30)
        assert len(rig.found()) == 14
        assert not engine.holds.holds


@virtual_test
async def test_a_record_that_is_being_deleted_for_one_registration_is_not_written_for_another_meanwhile(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    flying: list[str] = []
    twice: list[str] = []

    class Slow(MemorySink):
        async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Any:
            keys = [change.key for change in batch]
            twice.extend(key for key in keys if key in flying)
            flying.extend(keys)
            try:
                return await super().apply(batch, fence)
            finally:
                for key in keys:
                    flying.remove(key)

    def prepare(made: MemorySink) -> None:
        made.__class__ = Slow
        made.latency = 1.0

    rig.on_sink = prepare
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle(10)
        rig.withdraw("registrations", "default/web")
        await rig.settle(0.1)
        assert flying == ["web/a"]
        rig.declare(registration("shop", services="web", names=["web"]))
        await rig.settle(10)
        assert rig.found() == ["web/a"]
        assert twice == []
