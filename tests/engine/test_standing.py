"""How sources, sinks and registrations are said to stand, in the situations that people meet."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from tests.rig import Rig, instance, registration, service, sink, source
from waypost.adapter import AdapterError
from waypost.engine import status
from waypost.engine.engine import Engine
from waypost.engine.standing import standing
from waypost.settings import Settings
from waypost.settings.book import Problem
from waypost.settings.status import RegistrationStatus
from waypost.testing.virtual import virtual_test


def stands(rig: Rig, key: str = "default/web") -> RegistrationStatus:
    found = standing(rig.engine, key, rig.clock.monotonic())
    assert found is not None
    return found


def conditions(found: RegistrationStatus) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in found.conditions}


def sink_report(engine: Engine, name: str = "out") -> status.SinkReport:
    found = status.sink(engine, name)
    assert found is not None
    return found


@virtual_test
async def test_a_registration_that_is_well_is_ready_and_counts_what_it_publishes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b", instance("c", readiness="not-ready")))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        found = stands(rig)
        assert conditions(found) == {
            "Accepted": ("True", "Accepted"),
            "ResolvedRefs": ("True", "ResolvedRefs"),
            "Programmed": ("True", "Programmed"),
            "Ready": ("True", "Ready"),
        }
        assert (found.services, found.instances, found.ready_instances) == (1, 3, 2)
        assert [(s.name, s.records, s.pending, s.programmed) for s in found.sinks] == [("out", 2, 0, True)]
        assert found.problems == ()


@virtual_test
async def test_it_says_nothing_that_moves_by_itself(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        before = msgspec.json.encode(stands(rig))
        await rig.settle(60)
        assert msgspec.json.encode(stands(rig)) == before


@virtual_test
async def test_a_source_or_sink_that_is_not_declared_is_named(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.declare(registration("web", source="nowhere", sinks=["out", "lost"]))
    async with rig.running():
        await rig.settle()
        found = stands(rig)
        told = conditions(found)
        assert told["ResolvedRefs"] == ("False", "NotFound")
        assert told["Ready"][0] == "False"
        assert any("ServiceSource `nowhere`" in problem for problem in found.problems)
        assert any("ServiceSink `lost`" in problem for problem in found.problems)


@virtual_test
async def test_no_ready_instance_is_programmed_but_not_ready(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", instance("a", readiness="not-ready")))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        told = conditions(stands(rig))
        assert told["Programmed"] == ("True", "Programmed")
        assert told["Ready"] == ("False", "NoReadyInstances")


@virtual_test
async def test_a_service_that_is_not_there_is_named(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("wbe"))
    async with rig.running():
        await rig.settle()
        found = stands(rig, "default/wbe")
        (ready,) = (each for each in found.conditions if each.type == "Ready")
        assert (ready.status, ready.reason) == ("False", "NoReadyInstances")
        assert ready.message == "sources entry `all`: source `mem` has no service `wbe`"
        assert found.problems == (ready.message,)
        rig.memory["mem"].set(service("web", "a"), service("wbe", "b"))
        await rig.settle()
        assert stands(rig, "default/wbe").problems == ()


@virtual_test
async def test_a_forgotten_namespace_is_named_where_the_own_one_has_the_service(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", namespace="default"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        (problem,) = stands(rig).problems
        assert "no service `web`; there is `default/web`: give `service.namespace`" in problem


@virtual_test
async def test_what_no_grant_lets_it_read_is_told_and_nothing_else_of_it(tmp_path: Path) -> None:
    """Whether it is there or not, and how much of it, is not for whoever may not read it."""
    rig = Rig(tmp_path)
    rig.declare(source(grants=[{"namespaces": ["default"], "serviceNamespaces": ["default"]}]))
    there = {"name": "all", "sourceRef": {"name": "mem"}, "service": {"namespace": "secret", "name": "db"}}
    away = {**there, "service": {"namespace": "secret", "name": "none"}}
    chosen = {"name": "all", "sourceRef": {"name": "mem"}, "selector": {"services": ["*"]}}
    listed = {**chosen, "selector": {"services": ["*"], "namespaces": ["secret"]}}
    cases = {"there": there, "away": away, "chosen": chosen, "listed": listed}
    rig.memory["mem"].set(service("web", "a", namespace="default"), service("db", "b", "c", namespace="secret"))
    rig.declare(*(registration(name, sources=[entry], names=[f"{{service}}-{name}"]) for name, entry in cases.items()))
    async with rig.running():
        await rig.settle()
        stand = {name: stands(rig, f"default/{name}") for name in cases}
        for name in ("there", "away", "listed"):
            found = stand[name]
            told = conditions(found)
            assert told["ResolvedRefs"] == ("False", "RefNotPermitted")
            assert told["Ready"] == ("False", "NotResolved")
            assert "no grant of the source lets namespace `default` read services of `secret`" in found.problems[0]
        assert stand["there"] == stand["away"]
        assert stand["chosen"].problems == ()
        assert (stand["chosen"].services, stand["chosen"].instances) == (1, 1)
        assert conditions(stand["chosen"])["Ready"] == ("True", "Ready")
        assert "secret" not in str(stand["chosen"])


@virtual_test
async def test_what_is_published_when_its_grant_is_taken_back_is_told_to_stay(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.declare(source(grants=[{"namespaces": ["other"]}]))
        await rig.settle()
        found = stands(rig)
        assert (found.sinks[0].records, found.sinks[0].failed) == (1, 1)
        assert conditions(found)["Programmed"][0] == "False"


@virtual_test
async def test_more_adoption_than_the_sink_lets_it_have_is_told_as_that(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web", entry={"adopt": "Identical"}))
    async with rig.running():
        await rig.settle()
        assert conditions(stands(rig))["ResolvedRefs"] == ("False", "AdoptionNotPermitted")


@virtual_test
async def test_what_waits_for_a_person_is_held_and_not_programmed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    names = [f"i{n}" for n in range(20)]
    rig.memory["mem"].set(service("web", *names))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        rig.memory["mem"].set(service("web", *names[15:]))
        await rig.settle(3)
        found = stands(rig)
        waiting = len(rig.found()) - 5
        assert waiting > 0
        assert found.sinks[0].held == waiting
        assert conditions(found)["Held"] == ("True", "Held")
        assert conditions(found)["Programmed"][0] == "False"
        assert sink_report(engine).held == waiting
        (hold,) = status.holds(engine)
        assert (hold.cause, hold.removals) == ("BudgetExceeded", waiting)
        engine.orders.decide(hold.name, "Approve")
        await rig.settle(3)
        assert "Held" not in conditions(stands(rig))


@virtual_test
async def test_a_name_that_another_registration_holds_is_a_conflict_of_the_later_one(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"), service("api", "b"))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        rig.declare(registration("api", names=["web"]))
        await rig.settle()
        late = stands(rig, "default/api")
        assert late.sinks[0].conflicting == 1
        assert late.sinks[0].failed == 0
        assert conditions(late)["Conflicted"][0] == "True"
        assert any("default/web" in problem for problem in late.problems)
        assert conditions(stands(rig))["Conflicted"] == ("True", "Contended")
        assert sink_report(engine).conflicting == 1


@virtual_test
async def test_a_record_of_somebody_else_is_a_conflict(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.target().set("web/a", b"not ours")
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        found = stands(rig).sinks[0]
        assert (found.records, found.conflicting, found.programmed) == (1, 1, False)


@virtual_test
async def test_names_that_cannot_be_are_failed_and_many_alike_are_one_line(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *(f"i{n}" for n in range(30))))
    rig.declare(registration("web", names=["not_-a-/name"]))
    async with rig.running():
        await rig.settle()
        found = stands(rig)
        assert found.sinks[0].failed == 30
        assert len(found.problems) == 1
        assert "29 more" in found.problems[0]
        (ready,) = (each for each in found.conditions if each.type == "Ready")
        assert "sinks entry `out`: 30 cannot be written (" in ready.message
        assert "not_-a-/name" in ready.message


@virtual_test
async def test_problems_are_ten_at_most(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(*(service(f"No_{n}!", f"i{n}") for n in range(30)))
    rig.declare(registration("web", services=["*"]))
    async with rig.running():
        await rig.settle()
        found = stands(rig)
        assert found.sinks[0].failed == 30
        assert len(found.problems) == 10


@virtual_test
async def test_a_sink_that_is_down_is_said_and_what_is_to_be_written_counts_as_pending(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        rig.sinks["out"].down = AdapterError("connection refused")
        rig.memory["mem"].set(service("web", "a", "b"))
        await rig.settle(2)
        found = stands(rig)
        assert "connection refused" in found.sinks[0].reason
        assert found.sinks[0].pending >= 1
        assert not found.sinks[0].programmed
        report = sink_report(engine)
        assert (report.condition.ok, report.condition.reason) == (False, "Unreachable")
        rig.sinks["out"].down = None
        await rig.settle(60)
        assert stands(rig).sinks[0].programmed


@virtual_test
async def test_a_source_not_heard_of_is_stale_after_its_time_and_only_then(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.declare(source(safety={"staleSeconds": 60}))
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle(50)
        assert not stands(rig).sources[0].stale
        await rig.settle(20)
        assert stands(rig).sources[0].stale
        report = status.source(engine, "mem", rig.clock.monotonic())
        assert report is not None
        assert report.stale
        assert report.last_read_seconds is not None
        assert report.last_read_seconds >= 60
        rig.memory["mem"].current()
        assert not stands(rig).sources[0].stale


@virtual_test
async def test_an_edit_that_cannot_be_read_leaves_the_former_version_in_force_and_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        problem = Problem("m.yaml", 7, 3, "ServiceRegistration", "default/web", "spec.sinks", "is required")
        other = Problem("m.yaml", 9, 3, "ServiceRegistration", "default/new", "spec.sinks", "is required")
        engine.put(msgspec.structs.replace(rig.settings, problems=(problem, other), complete=False))
        await rig.settle()
        told = stands(rig)
        assert conditions(told)["Accepted"] == ("False", "Invalid")
        assert told.sinks[0].records == 1
        assert "m.yaml:7" in told.problems[0]
        assert conditions(stands(rig, "default/new")) == {
            "Accepted": ("False", "Invalid"),
            "Ready": ("False", "NotAccepted"),
        }
        assert status.manifests(engine).problem_count == 2
        assert standing(engine, "default/none", 0.0) is None


@virtual_test
async def test_a_paused_or_dry_sink_says_that_nothing_is_written(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.declare(sink(mode="DryRun"))
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        found = stands(rig).sinks[0]
        assert (found.pending, found.programmed) == (2, False)
        assert "DryRun" in found.reason
        engine.orders.set_paused("out", True)
        await rig.settle()
        assert "Paused" in stands(rig).sinks[0].reason


@virtual_test
async def test_everything_is_told_a_page_at_a_time(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(*(service(f"s{n}", f"i{n}") for n in range(7)))
    rig.declare(*(registration(f"s{n}") for n in range(7)))
    async with rig.running() as engine:
        await rig.settle()
        page = await status.overview(engine, rig.clock.monotonic(), most=3)
        seen = [each.key for each in page.registrations]
        while page.after is not None:
            page = await status.overview(engine, rig.clock.monotonic(), after=page.after, most=3)
            assert len(page.registrations) <= 3
            seen += [each.key for each in page.registrations]
        assert seen == [f"default/s{n}" for n in range(7)]
        assert page.registration_count == 7
        assert [s.name for s in page.sources] == ["mem"]
        assert [(s.name, s.records, s.epoch) for s in page.sinks] == [("out", 7, 1)]
        other = await status.overview(engine, rig.clock.monotonic(), namespace="elsewhere")
        assert other.registrations == []


@virtual_test
async def test_before_the_manifests_are_read_it_says_just_that(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.settings = Settings()
    async with rig.running() as engine:
        engine._pending = None
        found = await status.overview(engine, rig.clock.monotonic())
        assert not found.manifests.read
        assert not found.settled


@virtual_test
async def test_one_registration_costs_what_it_has_whatever_else_there_is(tmp_path: Path) -> None:
    async def calls(others: int) -> int:
        rig = Rig(tmp_path / str(others))
        rig.memory["mem"].set(service("web", "a", "b"), *(service(f"s{n}", f"i{n}") for n in range(others)))
        rig.declare(registration("web"), *(registration(f"s{n}") for n in range(others)))
        count = 0

        def profile(frame: object, event: str, arg: object) -> None:
            nonlocal count
            count += 1

        async with rig.running():
            await rig.settle()
            sys.setprofile(profile)
            try:
                stands(rig)
            finally:
                sys.setprofile(None)
        return count

    assert await calls(200) == await calls(2)


@virtual_test
async def test_what_is_named_and_not_declared_may_be_among_what_cannot_be_read(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.declare(registration("web", source="nowhere"))
    async with rig.running():
        for complete, advice in ((True, "declare it or correct the name"), (False, "not everything that is declared")):
            rig.declare(complete=complete)
            await rig.settle()
            (problem,) = (text for text in stands(rig).problems if "ServiceSource `nowhere`" in text)
            assert advice in problem
            assert ("correct the name" in problem) is complete
