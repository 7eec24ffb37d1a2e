"""How a plan is carried out: within limits, in order, once; and what each outcome means."""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.rig import Rig, instance, registration, service, sink
from waypost.adapter import AdapterError, Change, Fence, Limits, Outcome, PermanentError, Record
from waypost.engine.batch import Room
from waypost.model import ServiceKey
from waypost.testing.memory import Fault, MemorySink
from waypost.testing.virtual import virtual_test

NAMES = [f"i{n:03}" for n in range(40)]


def refusing(*keys: str) -> Any:
    return lambda change: Outcome("invalid", "no") if change.key in keys and change.record is not None else None


# --- room


def change(key: str, size: int | None = 10) -> Change:
    return Change(key, None if size is None else Record(key, "i", b"x" * size))


@pytest.mark.parametrize(
    ("limits", "sizes", "taken"),
    [
        (Limits(3, 1000), [10, 10, 10, 10], 3),
        (Limits(9, 25), [10, 10, 10], 2),
        (Limits(9, 20), [10, 10, 1], 2),
        (Limits(9, 5), [10, 1], 1),  # one record at least, however large
        (Limits(9, 12), [10, 3, 1], 1),
        (Limits(2, 5), [None, None, None], 2),
    ],
)
def test_a_batch_takes_what_fits_and_one_at_least(limits: Limits, sizes: list[int | None], taken: int) -> None:
    room = Room(limits)
    assert len(room.take([change(f"k{n}", size) for n, size in enumerate(sizes)])) == taken


def test_a_batch_has_no_key_twice() -> None:
    room = Room(Limits())
    assert room.take([change("k")])
    assert not room.fits(change("k"))
    assert not room.take([change("k", None)])
    assert room.fits(change("l"))


# --- limits and order


@virtual_test
async def test_what_fits_a_budget_passes_in_a_stable_order(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.declare(registration("all", services=["*"], entry={"notReady": "Publish"}))
    rig.memory["mem"].set(service("t", *NAMES), *(service(f"s{n}", "i") for n in range(10)))
    async with rig.running() as engine:
        await rig.settle()
        rig.memory["mem"].set(service("t", *(instance(name, readiness="not-ready") for name in NAMES)))
        await rig.settle(3)
        ready = {key for key, record in rig.records().items() if record["ready"]}
        assert ready == {f"t/{name}" for name in NAMES[15:]} | {f"s{n}/i" for n in range(10)}
        assert len(engine.holds.waiting("out")) == 25


class Watch(MemorySink):
    """Notes each batch, and what it touches while others are in flight."""

    batches: list[tuple[int, int]]
    busy: Counter[str]
    twice: list[str]

    async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Any:
        self.batches.append((len(batch), sum(len(c.record.content) for c in batch if c.record)))
        touched = {c.key.partition("/")[0] for c in batch}
        for name in touched:
            self.busy[name] += 1
            if self.busy[name] > 1:
                self.twice.append(name)
        try:
            return await super().apply(batch, fence)
        finally:
            self.busy.subtract(touched)


def watched(rig: Rig, limits: Limits, latency: float) -> None:
    def prepare(made: MemorySink) -> None:
        made.__class__ = Watch
        made.batches, made.busy, made.twice = [], Counter(), []  # type: ignore[attr-defined]
        made.limits, made.latency = limits, latency

    rig.on_sink = prepare


@pytest.mark.parametrize("limits", [Limits(1, 1, 1), Limits(3, 1200, 2), Limits(64, 400_000, 4)], ids=str)
def test_limits_are_never_exceeded_and_one_batch_touches_a_publication(tmp_path: Path, limits: Limits) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = Rig(tmp_path)
        names = [f"s{n}" for n in range(6)]
        for name in names:
            rig.memory["mem"].set(service(name, *NAMES[:20]))
        rig.declare(registration("all", services=["*"]))
        watched(rig, limits, 0.5)
        async with rig.running() as engine:
            await asyncio.sleep(3)
            for name in names:
                rig.memory["mem"].set(service(name, *(instance(i, port=1) for i in NAMES[5:20]), "new"))
            await rig.settle(200)
            made: Any = rig.sinks["out"]
            assert len(rig.found()) == 6 * 16
            assert engine.settled()
            assert made.twice == []
            assert min(2, limits.in_flight) <= made.most_in_flight <= limits.in_flight
            assert max(count for count, _ in made.batches) <= limits.records
            assert all(size <= limits.bytes or count == 1 for count, size in made.batches)

    scenario()


@virtual_test
async def test_what_changes_while_a_batch_is_in_flight_goes_in_the_next_and_the_latest_wins(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.sinks["out"].latency = 2.0
        for port in range(1, 10):
            rig.memory["mem"].set(service("web", instance("a", port=port)))
            await asyncio.sleep(0.1)
        await rig.settle(10)
        ports = [msgspec.json.decode(w.new)["ports"][0][0] for w in rig.target().log if w.new]
        assert ports == [8080, 1, 9]


# --- refusals of the whole batch


@pytest.mark.parametrize(
    ("error", "reason"), [(AdapterError("503"), "Unreachable"), (PermanentError("token"), "Refused")], ids=repr
)
def test_a_target_that_refuses_is_asked_again_with_backoff(tmp_path: Path, error: AdapterError, reason: str) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.memory["mem"].set(service("web", "a"))
        rig.declare(registration("web"))
        rig.on_sink = lambda made: made.faults.extend([Fault("error", error)] * 10_000)
        async with rig.running() as engine:
            await rig.settle(300)
            condition = engine.reconciler.targets["out"].condition
            assert (condition.ok, condition.reason) == (False, reason)
            assert 10 < rig.sinks["out"].calls["apply"] < 60
            rig.sinks["out"].faults.clear()
            await rig.settle(60)
            assert rig.found() == ["web/a"]
            assert engine.reconciler.targets["out"].condition.ok

    scenario()


@pytest.mark.parametrize("kind", ["bug", "lost"])
def test_outcomes_that_stay_unknown_are_not_asked_for_without_a_pause(tmp_path: Path, kind: str) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.memory["mem"].set(service("web", "a"))
        rig.declare(registration("web"))

        class Broken(MemorySink):
            async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Any:
                if broken and kind == "bug":
                    await self._called("apply")
                    raise ZeroDivisionError
                return await super().apply(batch, fence)

        def prepare(made: MemorySink) -> None:
            made.__class__ = Broken
            made.faults.extend([Fault("lost")] * (100_000 if kind == "lost" else 0))

        broken = True
        rig.on_sink = prepare
        async with rig.running():
            await rig.settle(300)
            assert 10 < rig.sinks["out"].calls["apply"] < 1000
            broken = False
            rig.sinks["out"].faults.clear()
            await rig.settle(60)
            assert rig.found() == ["web/a"]

    scenario()


# --- unknown outcomes


@virtual_test
async def test_after_an_unknown_outcome_nothing_is_sent_until_the_generation_is_advanced(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"), service("api", "x"))
    rig.declare(registration("web"), registration("api"))
    async with rig.running() as engine:
        await rig.settle()
        made = rig.sinks["out"]
        made.faults.extend([Fault("lost")])
        rig.memory["mem"].set(service("web", "a", "b"))
        await rig.settle(5)
        assert rig.target().stamps["me"].fence == Fence(1, 1)
        fence = engine.reconciler.targets["out"].fence
        assert fence == Fence(1, 1)
        assert "web/b" in rig.found()


@virtual_test
async def test_what_is_found_after_an_unknown_outcome_belongs_to_whom_it_says(tmp_path: Path) -> None:
    """A record that was to pass from one registration to another, and did not."""
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("one", services="web", names=["shop"]))
    async with rig.running() as engine:
        await rig.settle()
        rig.sinks["out"].faults.append(Fault("lost"))
        rig.sinks["out"].latency = 10.0
        rig.declare(registration("two", services="web", names=["shop"]))
        rig.withdraw("registrations", "default/one")
        await asyncio.sleep(5.1)
        rig.declare(registration("one", services="web", names=["shop"]))
        rig.withdraw("registrations", "default/two")
        await rig.settle(100)
        assert rig.found() == ["shop/a"]
        assert rig.records()["shop/a"]["ownership"]["waypost-registration"] == "default/one"
        assert engine.reconciler.targets["out"].ledger.records == 1
        assert not [w for w in rig.target().log if w.new is None]


@virtual_test
async def test_what_is_another_s_after_an_unknown_outcome_stays_its_own(tmp_path: Path) -> None:
    """Two registrations share a name and show one instance; whose record it is, the other leaves alone."""

    class Restored(MemorySink):
        async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Any:
            self.sent = batch
            return await super().apply(batch, fence)

        async def advance(self, fence: Fence) -> Fence:
            if any(b"default/two" in change.record.content for change in self.sent if change.record is not None):
                self.target.records["shop/a"] = first  # by somebody, between our write and our look
            else:
                self.faults.append(Fault("lost"))  # until the other has its turn
            return await super().advance(fence)

    rig = Rig(tmp_path)
    rig.on_sink = lambda made: setattr(made, "__class__", Restored)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("one", services="web", names=["shop"], sharing="Shared"))
    async with rig.running() as engine:
        await rig.settle()
        first = rig.target().records["shop/a"]
        rig.declare(registration("two", services="web", names=["shop"], sharing="Shared"))
        await rig.settle()
        written = len(rig.target().log)
        rig.sinks["out"].faults.append(Fault("lost"))
        rig.target().set("shop/a", None)
        await rig.settle(60)
        assert rig.target().records["shop/a"] == first
        assert [write.new for write in rig.target().log[written:]] == [None], "nobody writes over it"
        assert engine.reconciler.targets["out"].ledger.records == 1


@virtual_test
async def test_what_was_planned_when_an_outcome_came_to_be_unknown_is_not_sent(tmp_path: Path) -> None:
    """Two registrations wait for one key, so one is planned as the other's answer comes."""
    unknown: set[str] = set()
    early: list[Sequence[Change]] = []

    class Watched(MemorySink):
        async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Any:
            if unknown:
                early.append(batch)
            outcomes = await super().apply(batch, fence)
            unknown.update(key for key, outcome in outcomes.items() if outcome.status == "unknown")
            return outcomes

        async def observe(self, keys: Collection[str] | None = None) -> Any:
            unknown.difference_update(unknown.copy() if keys is None else keys)
            async for observed in super().observe(keys):
                yield observed

    rig = Rig(tmp_path)
    rig.on_sink = lambda made: setattr(made, "__class__", Watched)
    rig.memory["mem"].set(service("web", "a"))
    names = ("one", "two", "three")
    rig.declare(*(registration(name, services="web", names=["shop"], sharing="Shared") for name in names))
    async with rig.running():
        await rig.settle()
        rig.sinks["out"].latency = 0.01  # two windows: planned again at the instant of the answer
        rig.sinks["out"].faults.extend(Fault("lost") for _ in range(8))
        rig.target().set("shop/a", None)
        await rig.settle(60)
        assert not rig.sinks["out"].faults
        assert not early, "sent before it was known what became of the last"
        assert rig.found() == ["shop/a"]


# --- refusals of one record


@virtual_test
async def test_one_write_refused_for_good_keeps_one_old_record_however_many_go(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b", "c", "d"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.sinks["out"].refuse = refusing("web/x")
        rig.memory["mem"].set(service("web", "b", "c", "d", "x"))
        await rig.settle()
        assert rig.found() == ["web/a", "web/b", "web/c", "web/d"]
        for left in ("cd", "d", ""):
            rig.memory["mem"].set(service("web", *left, "x"))
            await rig.settle()
            assert rig.found() == ["web/a", *(f"web/{name}" for name in left)]
        rig.memory["mem"].set(service("web", "y"))
        await rig.settle()
        assert rig.found() == ["web/y"]


@virtual_test
async def test_a_refusal_is_forgotten_when_the_instance_is_again_as_it_was(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        rig.sinks["out"].refuse = refusing("web/a")
        rig.memory["mem"].set(service("web", instance("a", port=1)))
        await rig.settle()
        assert rig.found() == ["web/a"], "a is not as it should be, but it is not missing"
        assert rig.problems() == ["invalid: no"]
        rig.memory["mem"].set(service("web", "a"))
        await rig.settle()
        assert rig.found() == ["web/a"]
        assert rig.problems() == []
        assert not engine.reconciler.targets["out"].failed


@virtual_test
async def test_of_an_instance_with_two_names_one_refused_counts_whatever_the_order(tmp_path: Path) -> None:
    for refused in ("one/x", "two/x"):
        rig = Rig(tmp_path / refused)
        rig.memory["mem"].set(service("web", "a"))
        rig.declare(registration("web", names=["one", "two"]))
        async with rig.running() as engine:
            await rig.settle()
            rig.sinks["out"].refuse = refusing(refused)
            rig.memory["mem"].set(service("web", "x"))
            await rig.settle(60)
            assert set(rig.found()) == {"one/x", "two/x"} - {refused}, "x is there, by one of its names"
            assert rig.problems() == ["invalid: no"]
            assert list(*engine.reconciler.targets["out"].failed.values()) == ["x"]


@pytest.mark.parametrize("limits", [Limits(), Limits(1, 400_000, 1)], ids=["many", "one"])
def test_a_name_that_moves_onto_a_foreign_record_moves_for_all_others_and_is_asked_for_once(
    tmp_path: Path, limits: Limits
) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.memory["mem"].set(service("web", "a", "b", "c"))
        rig.declare(registration("web", names=["old"]))
        rig.on_sink = lambda made: setattr(made, "limits", limits)
        async with rig.running() as engine:
            await rig.settle()
            rig.target().set("new/b", b'{"by": "hand"}')
            rig.declare(registration("web", names=["new"]))
            calls = rig.sinks["out"].calls["apply"]
            await rig.settle()
            assert rig.found() == ["new/a", "new/b", "new/c", "old/b"]
            assert rig.sinks["out"].calls["apply"] - calls < 10
            assert engine.settled()
            rig.memory["mem"].set(service("web", "a", "b"))
            await rig.settle()
            assert rig.found() == ["new/a", "new/b", "old/b"]
            rig.target().set("new/b", None)
            await rig.settle(700)
            assert rig.found() == ["new/a", "new/b"]

    scenario()


@virtual_test
async def test_two_names_of_one_instance_in_batches_of_one_do_not_wait_for_the_refused_one_for_ever(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web", names=["one", "two"]))

    def prepare(made: MemorySink) -> None:
        made.limits, made.refuse = Limits(1, 400_000, 1), refusing("one/a")

    rig.on_sink = prepare
    async with rig.running():
        await rig.settle()
        assert {"one/b", "two/b"} <= set(rig.found())
        assert rig.sinks["out"].calls["apply"] < 20


# --- what is withdrawn in place


@virtual_test
async def test_upsert_only_is_no_way_around_the_budget(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *NAMES))
    rig.declare(registration("web", syncPolicy="UpsertOnly", entry={"notReady": "Publish"}))
    async with rig.running() as engine:
        await rig.settle()
        rig.memory["mem"].set(service("web", *(instance(name, readiness="not-ready") for name in NAMES)))
        await rig.settle(30)
        assert sum(r["ready"] for r in rig.records().values()) == 28
        assert {hold.cause for hold in engine.holds.holds.values()} == {"BudgetExceeded"}


@virtual_test
async def test_blue_and_green_in_one_go_each_cost_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *NAMES))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
    async with rig.running() as engine:
        await rig.settle()
        green = [f"green-{name}" for name in NAMES]
        rig.memory["mem"].set(service("web", *NAMES, *green))
        await rig.settle()
        rig.memory["mem"].set(service("web", *green))
        await rig.settle()
        assert rig.found() == [f"web/{name}" for name in green]
        assert not engine.holds.holds


@virtual_test
async def test_what_is_left_over_and_not_ready_goes_without_being_counted(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.declare(sink(safety={"minRemovals": 0, "maxRemovalPercent": 0, "maxChangePercent": 0}))
    rig.memory["mem"].set(service("web", "a", *(instance(name, readiness="not-ready") for name in NAMES)))
    rig.declare(registration("web", entry={"notReady": "Publish"}))
    async with rig.running() as engine:
        await rig.settle()
        assert len(rig.found()) == 41
        rig.memory["mem"].set(service("web", "a"))
        await rig.settle()
        assert rig.found() == ["web/a"]
        assert not engine.holds.holds


@virtual_test
async def test_a_dry_run_says_what_would_go_and_what_would_wait_however_often_it_plans(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *NAMES))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
    rig.declare(sink(mode="DryRun"))
    async with rig.running() as engine:
        await rig.settle()
        rig.memory["mem"].set(service("web", *NAMES[20:]))
        target = engine.reconciler.targets["out"]
        for _ in range(3):
            await rig.settle()
            holds = [planned.hold for planned in target.planned.values()]
            assert Counter(holds) == {None: 12, "BudgetExceeded": 8}
            assert target.policy.budgets[()].used == 12
            for key in list(target.ledger.shelves):
                target.mark(key, None)
    assert len(rig.found()) == 40


# --- restored targets


@virtual_test
async def test_a_backup_from_before_a_handover_is_put_right(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("one", services="web", names=["shop"]))
    async with rig.running() as engine:
        await rig.settle()
        records, _ = rig.target().save()
        rig.declare(registration("two", services="web", names=["shop"]))
        rig.withdraw("registrations", "default/one")
        await rig.settle()
        rig.target().restore((records, rig.target().save()[1]))
        await rig.settle(700)
        assert {r["ownership"]["waypost-registration"] for r in rig.records().values()} == {"default/two"}
        assert engine.reconciler.targets["out"].ledger.records == 2


# --- holds over a restart


@virtual_test
async def test_a_hold_whose_cause_went_while_waypost_was_down_goes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *NAMES))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        rig.memory["mem"].delete(ServiceKey("mem", "", "web"))
        await rig.settle(15)
        assert engine.holds.holds
    rig.memory["mem"].set(service("web", *NAMES))
    async with rig.running() as engine:
        assert engine.holds.holds, "until it is known, it is shown"
        await rig.settle(60)
        assert not engine.holds.holds


@virtual_test
async def test_a_source_that_is_trusted_more_from_now_on_lets_more_pass(tmp_path: Path) -> None:
    from tests.rig import source

    rig = Rig(tmp_path)
    rig.declare(source(safety={"maxLossPercent": 10}), sink(safety={"maxRemovalPercent": 100}))
    rig.memory["mem"].set(service("web", *NAMES))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        for gone in (4, 8, 12):  # little by little, none of it a fact
            rig.memory["mem"].set_quietly(service("web", *NAMES[gone:]))
            rig.memory["mem"].snapshot_now()
            await rig.settle(2)
        assert len(rig.found()) == 35
        rig.declare(source(safety={"maxLossPercent": 100}))
        await rig.settle(30)
        assert len(rig.found()) == 28
