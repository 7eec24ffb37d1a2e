"""Promise 4.

Withdrawals beyond a budget wait in a Hold that says why, until a person approves exactly those or the cause goes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.rig import Rig, instance, registration, service, sink
from waypost.adapter import AdapterError, NotClaimed
from waypost.model import Instance
from waypost.testing.memory import Fault
from waypost.testing.virtual import virtual_test

NAMES = [f"i{n:03}" for n in range(100)]


async def started(rig: Rig) -> None:
    await rig.settle()
    assert len(rig.found()) == 100


def full(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *NAMES))
    rig.declare(registration("web"))
    return rig


@virtual_test
async def test_of_a_hundred_removed_one_by_one_seventy_stay_and_approval_frees_exactly_those(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running() as engine:
        await started(rig)
        left = list(NAMES)
        for _ in range(60):
            left.pop(0)
            rig.memory["mem"].set(service("web", *left))
            await asyncio.sleep(0.2)
        await rig.settle(15)
        assert len(rig.found()) == 70
        (hold,) = engine.holds.holds.values()
        assert (hold.cause, hold.removals, hold.of) == ("BudgetExceeded", 30, 70)
        assert len(hold.sample) == 10
        before = set(rig.found())
        engine.orders.decide(hold.name, "Approve", "CHG-1")
        rig.memory["mem"].set(service("web", *left[5:]))  # five more, which nobody approved
        await rig.settle(5)
        assert before - set(rig.found()) == {f"web/{name}" for name in NAMES[30:60]}
        assert len(engine.holds.holds) == 2


@virtual_test
async def test_other_writes_go_on_while_a_hold_waits(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running() as engine:
        await started(rig)
        rig.memory["mem"].set(service("web", *NAMES[60:]))
        await rig.settle(3)
        assert len(rig.found()) == 70
        assert engine.holds.holds
        rig.memory["mem"].set(service("web", *NAMES[60:], "new"), service("api", "x"))
        rig.declare(registration("api"))
        await rig.settle(1)
        assert "web/new" in rig.found()
        assert "api/x" in rig.found()


@virtual_test
async def test_when_the_cause_goes_the_hold_goes(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running() as engine:
        await started(rig)
        rig.memory["mem"].set(service("web", *NAMES[60:]))
        await rig.settle(3)
        rig.memory["mem"].set(service("web", *NAMES))
        await rig.settle(15)
        assert not engine.holds.holds
        assert len(rig.found()) == 100


@virtual_test
async def test_the_window_slides_and_lets_the_rest_pass(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running():
        await started(rig)
        rig.memory["mem"].set(service("web", *NAMES[40:]))
        await rig.settle(60)
        assert len(rig.found()) == 70
        await rig.settle(700)
        assert len(rig.found()) == 60


@virtual_test
async def test_a_restart_does_not_renew_the_budget(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running():
        await started(rig)
        rig.memory["mem"].set(service("web", *NAMES[25:]))
        await rig.settle(3)
        assert len(rig.found()) == 75
    rig.memory["mem"].set(service("web", *NAMES[60:]))
    async with rig.running():
        await rig.settle(60)
        assert len(rig.found()) >= 69


@virtual_test
async def test_without_its_history_a_window_starts_as_spent(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running():
        await started(rig)
    rig.memory["mem"].set(service("web", *NAMES[20:]))
    async with rig.running(folder=tmp_path / "other"):
        await rig.settle(60)
        assert len(rig.found()) == 95


@virtual_test
async def test_a_rolling_update_either_way_round_counts_for_nothing(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running() as engine:
        await started(rig)
        left = list(NAMES)
        for n in range(100):  # a new one first, then an old one goes
            left.append(f"n{n:03}")
            rig.memory["mem"].set(service("web", *left))
            await asyncio.sleep(0.1)
            left.pop(0)
            rig.memory["mem"].set(service("web", *left))
            await asyncio.sleep(0.1)
        for n in range(100):  # an old one goes first, then a new one comes
            left.pop(0)
            rig.memory["mem"].set(service("web", *left))
            await asyncio.sleep(0.1)
            left.append(f"m{n:03}")
            rig.memory["mem"].set(service("web", *left))
            await asyncio.sleep(0.1)
        await rig.settle(2)
        assert rig.found() == sorted(f"web/m{n:03}" for n in range(100))
        assert not engine.holds.holds


@virtual_test
async def test_a_mass_change_waits(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running() as engine:
        await started(rig)
        rig.memory["mem"].set(service("web", *(instance(name, host="10.9.9.9") for name in NAMES)))
        await rig.settle(15)
        changed = [r for r in rig.records().values() if r["addresses"][0][0] == "10.9.9.9"]
        assert len(changed) == 60
        (hold,) = engine.holds.holds.values()
        assert (hold.cause, hold.changes, hold.removals) == ("MassChange", 40, 0)


@virtual_test
async def test_an_edit_of_the_registration_may_change_everything(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running() as engine:
        await started(rig)
        rig.declare(registration("web", metadata={"team": "shop"}))
        await rig.settle(5)
        assert all(r["metadata"] == {"team": "shop"} for r in rig.records().values())
        assert not engine.holds.holds


@virtual_test
async def test_a_rejected_hold_stays(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running() as engine:
        await started(rig)
        rig.memory["mem"].set(service("web", *NAMES[60:]))
        await rig.settle(3)
        (name,) = engine.holds.holds
        engine.orders.decide(name, "Reject", "not yet")
        await rig.settle(600)
        assert len(rig.found()) == 70


@virtual_test
async def test_a_minimum_of_ready_instances_guards_what_is_inferred_but_not_facts(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b", "c"))
    rig.declare(registration("web", minReadyInstances=2))
    async with rig.running() as engine:
        await rig.settle()
        rig.memory["mem"].set_quietly(service("web", "c"))
        rig.memory["mem"].snapshot_now()
        await rig.settle(3)
        assert len(rig.found()) == 2
        (hold,) = engine.holds.holds.values()
        assert hold.cause == "MinReady"
        rig.memory["mem"].set(service("web"))
        await rig.settle(3)
        assert rig.found() == []


@virtual_test
async def test_after_a_first_sync_the_budget_holds_at_once(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running():
        await rig.settle(1)
        rig.memory["mem"].set(service("web", *NAMES[90:]))
        await rig.settle(30)
        assert len(rig.found()) == 70


@pytest.mark.parametrize("how", ["switched", "rolled"])
@virtual_test
async def test_a_replacement_right_after_a_first_sync_counts_for_nothing(tmp_path: Path, how: str) -> None:
    rig = full(tmp_path)
    async with rig.running() as engine:
        await rig.settle(1)
        green = [f"n{name}" for name in NAMES]
        for n in range(100) if how == "rolled" else ():
            rig.memory["mem"].set(service("web", *green[: n + 1], *NAMES[n:]))
            await asyncio.sleep(0.1)
            rig.memory["mem"].set(service("web", *green[: n + 1], *NAMES[n + 1 :]))
            await asyncio.sleep(0.1)
        rig.memory["mem"].set(service("web", *green, *NAMES))
        await rig.settle(1)
        rig.memory["mem"].set(service("web", *green))
        await rig.settle(1)
        assert rig.found() == sorted(f"web/{name}" for name in green)
        assert not engine.reconciler.targets["out"].policy.budgets[()].used
        assert not engine.holds.waiting("out")


async def redeclared(rig: Rig) -> None:
    rig.declare(sink(safety={"maxRemovalPercent": 29}))


async def cut_off(rig: Rig) -> None:
    rig.sinks["out"].faults.append(Fault("error", NotClaimed("the stamp is gone")))


async def paused(rig: Rig) -> None:
    rig.engine.orders.set_paused("out", paused=True)
    await asyncio.sleep(5)
    rig.engine.orders.set_paused("out", paused=False)


@pytest.mark.parametrize("interrupt", [redeclared, cut_off, paused])
@pytest.mark.parametrize("seconds", [0.3, 0.7, 1.3, 1.7])
@virtual_test
async def test_a_replacement_in_whose_middle_a_session_begins_anew_counts_for_nothing(
    tmp_path: Path, seconds: float, interrupt: Callable[[Rig], Awaitable[None]]
) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *NAMES[:30]))
    rig.declare(registration("web"))
    rig.on_sink = lambda made: setattr(made, "latency", 1.0)
    async with rig.running() as engine:
        await rig.settle(100)
        rig.memory["mem"].set(service("web", *NAMES[20:50]))
        await asyncio.sleep(seconds)
        await interrupt(rig)
        await rig.settle(60)
        assert rig.found() == [f"web/{name}" for name in NAMES[20:50]]
        assert not engine.reconciler.targets["out"].policy.budgets[()].used
        assert not engine.holds.holds


@virtual_test
async def test_what_was_counted_stays_counted_when_a_sink_is_declared_anew(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running():
        await started(rig)
        rig.memory["mem"].set(service("web", *NAMES[25:]))
        await rig.settle(3)
        rig.declare(sink(safety={"maxRemovalPercent": 28}))
        await rig.settle(3)
        rig.memory["mem"].set(service("web", *NAMES[60:]))
        await rig.settle(30)
        assert len(rig.found()) == 72


@virtual_test
async def test_a_record_that_passes_to_another_registration_is_owned_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *NAMES))
    rig.declare(registration("web", names=["shop"]))
    async with rig.running() as engine:
        await started(rig)
        rig.declare(registration("web2", services="web", names=["shop"]))
        rig.withdraw("registrations", "default/web")
        await rig.settle(5)
        assert all("default/web2" in r["ownership"]["waypost-registration"] for r in rig.records().values())
        policy = engine.reconciler.targets["out"].policy
        assert policy.budgets[()].most(rig.clock.monotonic()) == 100


def moved(*names: str) -> list[Instance]:
    return [instance(name, port=9999) for name in names]


def on_new_port(rig: Rig) -> int:
    return sum("9999" in str(record) for record in rig.records().values())


@virtual_test
async def test_who_approved_a_change_did_not_approve_a_withdrawal(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running() as engine:
        await started(rig)
        rig.memory["mem"].set(service("web", *moved(*NAMES)))
        await rig.settle(15)
        (hold,) = engine.holds.holds.values()
        assert (hold.cause, hold.removals, hold.changes) == ("MassChange", 0, 40)
        engine.orders.decide(hold.name, "Approve", "CHG-1")
        await rig.settle()
        assert on_new_port(rig) == 100
        rig.memory["mem"].set(service("web"))
        await rig.settle(30)
        assert len(rig.found()) == 70


@virtual_test
async def test_an_approval_is_used_up_by_what_it_let_pass(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running() as engine:
        await started(rig)
        rig.memory["mem"].set(service("web"))
        await rig.settle(15)
        (hold,) = engine.holds.holds.values()
        assert hold.removals == 70
        engine.orders.decide(hold.name, "Approve", "CHG-1", 3600)
        await rig.settle()
        assert not rig.found()
        rig.memory["mem"].set(service("web", *NAMES))
        await rig.settle(700)  # they stand for longer than the window, and within the approval's time
        assert len(rig.found()) == 100
        rig.memory["mem"].set(service("web"))
        await rig.settle(30)
        assert len(rig.found()) == 70
        (waiting,) = [hold for hold in engine.holds.holds.values() if not hold.decision]
        engine.orders.decide(waiting.name, "Approve", "CHG-2")
        await rig.settle()
        assert not rig.found()


@virtual_test
async def test_a_restart_does_not_let_the_rest_of_a_mass_change_pass(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running():
        await started(rig)
        rig.memory["mem"].set(service("web", *moved(*NAMES)))
        await rig.settle(15)
        assert on_new_port(rig) == 60
    async with rig.running() as engine:
        await rig.settle(60)
        assert on_new_port(rig) == 60
        assert [hold.cause for hold in engine.holds.holds.values()] == ["MassChange"]
        await rig.settle(700)
        assert on_new_port(rig) == 100
    rig.memory["mem"].set(service("web", *NAMES))
    async with rig.running(folder=tmp_path / "other"):  # nothing is known of what was rewritten before
        await rig.settle(60)
        assert on_new_port(rig) == 95


@pytest.mark.parametrize("session", ["goes on", "ends"])
@virtual_test
async def test_withdrawals_whose_outcome_is_unknown_and_that_were_not_done_cost_once(
    tmp_path: Path, session: str
) -> None:
    rig = full(tmp_path)
    async with rig.running() as engine:
        await started(rig)
        sink = rig.sinks["out"]
        sink.faults.extend([Fault("lost")] * 6)
        rig.memory["mem"].set(service("web", *NAMES[20:]))
        if session == "ends":
            await asyncio.sleep(0.006)
            sink.down = AdapterError("503")
            await asyncio.sleep(3)
            sink.down = None
        await rig.settle(40)
        assert len(rig.found()) == 80
        rig.memory["mem"].set(service("web", *NAMES[30:]))
        await rig.settle(5)
        assert len(rig.found()) == 70
        assert not engine.holds.holds


@virtual_test
async def test_an_approval_of_the_future_is_none(tmp_path: Path) -> None:
    rig = full(tmp_path)
    async with rig.running() as engine:
        await started(rig)
        rig.memory["mem"].set(service("web", *NAMES[40:]))
        await rig.settle(15)
        (hold,) = engine.holds.holds.values()
        rig.memory["mem"].set(service("web", *NAMES))
        rig.clock.jump(1e8)  # a clock that is wrong, while a person decides
        engine.orders.decide(hold.name, "Approve", "CHG-1")
        await rig.settle(5)
        rig.clock.jump(-1e8)
        await rig.settle(2000)
        rig.memory["mem"].set(service("web", *NAMES[40:]))
        await rig.settle(30)
        assert len(rig.found()) == 70


def two_shares() -> dict[str, Any]:
    return {
        "sources": [
            {"name": "blue", "sourceRef": {"name": "mem"}, "service": {"name": "blue"}, "weight": 90},
            {"name": "green", "sourceRef": {"name": "mem"}, "service": {"name": "green"}, "weight": 10},
        ],
        "names": ["web"],
    }


@virtual_test
async def test_weights_that_follow_a_count_are_no_mass_change_and_hide_none(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("blue", *NAMES[:50]), service("green", *NAMES[50:55]))
    rig.declare(registration("web", **two_shares()))
    async with rig.running() as engine:
        await rig.settle()
        assert {r["weight"] for key, r in rig.records().items() if key < "web/i050"} == {180}
        rig.memory["mem"].set(service("blue", *NAMES[:50], "one-more"))
        await rig.settle()
        assert {r["weight"] for r in rig.records().values()} == {round(9000 / 51), 200}
        assert not engine.holds.holds
        moved = [instance(name, host="10.9.9.9") for name in NAMES[:50]]
        rig.memory["mem"].set(service("blue", *moved, "one-more", "another"))
        await rig.settle(15)
        assert len([r for r in rig.records().values() if r["addresses"][0][0] == "10.9.9.9"]) < 50
        assert {hold.cause for hold in engine.holds.holds.values()} == {"MassChange"}
