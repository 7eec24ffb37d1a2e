"""Why something is, or is not, in a sink: each situation is told with the step where it ends, and what to do."""

from __future__ import annotations

from pathlib import Path

from tests.rig import Rig, instance, registration, service, sink
from waypost.adapter import AdapterError
from waypost.engine.explain import Explanation, Question, explain
from waypost.engine.trace import Line
from waypost.testing.virtual import virtual_test


async def ask(rig: Rig, registration: str = "default/web", **more: str) -> Explanation:
    return await explain(rig.engine, Question(registration, **more), rig.clock.monotonic())


def wrong(found: Explanation) -> list[Line]:
    return [line for trace in found.traces for line in trace.lines if line.ok is False]


def steps(found: Explanation) -> set[str]:
    return {line.step for line in wrong(found)}


@virtual_test
async def test_what_is_well_is_told_from_the_source_to_the_record(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        found = await ask(rig, instance="a")
        assert found.ok
        assert not wrong(found)
        of_it = next(trace for trace in found.traces if trace.subject.startswith("instance a"))
        assert [line.step for line in of_it.lines] == [
            *("service", "instance", "published", "name", "record", "sink", "ledger"),
        ]
        assert "web/a" in of_it.answer


@virtual_test
async def test_a_registration_may_be_asked_for_by_service_instance_name_or_half_its_key(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"), service("api", "b"))
    rig.declare(registration("web", names=["www"]), registration("api"))
    async with rig.running():
        await rig.settle()
        for question in ({"service": "web"}, {"instance": "a"}, {"name": "www"}):
            found = await ask(rig, "", **question)
            assert found.ok, question
            assert found.traces[0].subject == "registration default/web"
            assert not any("api" in trace.subject for trace in found.traces)
        assert (await ask(rig, "web")).ok


@virtual_test
async def test_nothing_known_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("lonely", "z"))
    async with rig.running():
        await rig.settle()
        assert steps(await ask(rig, "default/none")) == {"registration"}
        assert "no registration" in wrong(await ask(rig, "", service="lonely"))[0].text
        assert "no registration" in wrong(await ask(rig, "", instance="z"))[0].text
        assert steps(await ask(rig, "", service="nothing")) == {"found"}


@virtual_test
async def test_a_source_that_is_missing_down_or_not_read_whole(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].fail(AdapterError("no route to host"))
    rig.declare(registration("web", sinks=["out"]), registration("lost", source="nowhere"))
    async with rig.running():
        await rig.settle()
        assert "ServiceSource `nowhere`" in wrong(await ask(rig, "default/lost"))[0].text
        down = wrong(await ask(rig))
        assert "no route to host" in down[0].text
        assert {"source", "view"} <= {line.step for line in down}
        assert all(line.do for line in down)


@virtual_test
async def test_a_service_or_instance_that_is_not_there(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", namespace="shop"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        (line,) = wrong(await ask(rig))
        assert line.step == "service"
        assert "mem/shop/web" in line.text  # what may have been meant
        rig.memory["mem"].set(service("web", "a"))
        await rig.settle()
        assert steps(await ask(rig, instance="zz")) == {"found"}


@virtual_test
async def test_not_ready_and_an_address_that_is_not_allowed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(
        service("web", instance("a", readiness="not-ready"), instance("b", host="127.0.0.1"), instance("c"))
    )
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        told = {trace.subject.split()[1]: trace for trace in (await ask(rig)).traces if trace.subject[:8] == "instance"}
        assert "not ready" in told["a"].answer
        assert "loopback" in told["b"].answer
        assert "allowedCIDRs" in next(line.do for line in told["b"].lines if line.do)
        assert told["c"].ok
        assert list(told)[-1] == "c"  # what is well comes last


@virtual_test
async def test_a_name_held_by_another_and_a_record_of_somebody_else(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.target().set("web/a", b"not ours")
    rig.memory["mem"].set(service("web", "a"), service("api", "b"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        found = await ask(rig)
        assert "conflict" in str(wrong(found))
        others = next(trace for trace in found.traces if trace.subject.startswith("what others keep"))
        assert "web/a" in others.lines[0].text
        rig.declare(registration("api", names=["web"]))
        await rig.settle()
        late = await ask(rig, "default/api")
        assert "name" in steps(late)
        assert "default/web" in wrong(late)[0].text


@virtual_test
async def test_a_name_that_the_sink_cannot_hold(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("Not A Name", "a"))
    rig.declare(registration("web", services=["*"]))
    async with rig.running():
        await rig.settle()
        found = await ask(rig)
        assert "record" in steps(found)
        assert "cannot hold" in wrong(found)[0].text


@virtual_test
async def test_a_sink_that_is_down_paused_dry_or_not_declared(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.declare(sink("dry", mode="DryRun"))
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web", sinks=["out", "dry", "lost"]))
    async with rig.running() as engine:
        await rig.settle()
        assert "DryRun" in wrong(await ask(rig, sink="dry"))[0].text
        assert "ServiceSink `lost`" in wrong(await ask(rig, sink="lost"))[0].text
        rig.sinks["out"].down = AdapterError("refused")
        rig.memory["mem"].set(service("web", "a", "b"))
        await rig.settle(2)
        assert "refused" in wrong(await ask(rig, sink="out"))[0].text
        engine.orders.set_paused("out", True)
        await rig.settle()
        assert "waypost resume out" in wrong(await ask(rig, sink="out"))[0].do


@virtual_test
async def test_what_waits_for_a_person_says_how_to_let_it_pass(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    names = [f"i{n:02}" for n in range(20)]
    rig.memory["mem"].set(service("web", *names))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].set(service("web", *names[15:]))
        await rig.settle(3)
        held = next(key.partition("/")[2] for key in rig.found() if key.partition("/")[2] not in names[15:])
        found = await ask(rig, instance=held)
        assert "BudgetExceeded" in str(wrong(found))
        assert any("waypost approve" in line.do for line in wrong(found))


@virtual_test
async def test_a_record_that_stays_because_its_source_is_doubted(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].delete_quietly(service("web").key)
        rig.memory["mem"].snapshot_now()
        await rig.settle(5)
        found = await ask(rig, instance="a")
        assert "doubted" in str(found.traces)


@virtual_test
async def test_an_answer_is_bounded_and_what_is_not_well_comes_first(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    names = [f"i{n:03}" for n in range(300)]
    rig.memory["mem"].set(service("web", *names, instance("zz", host="127.0.0.1")))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        found = await ask(rig)
        told = [trace.subject.split()[1] for trace in found.traces if trace.subject.startswith("instance")]
        assert len(told) == 20
        assert told[0] == "zz"
        assert found.omitted == 281


@virtual_test
async def test_a_sink_that_hangs_when_asked_what_others_keep_does_not_hang_the_answer(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()

        async def hang(_names: object) -> list[object]:
            await rig.clock.sleep(1e6)
            return []

        rig.sinks["out"].inspect = hang  # type: ignore[method-assign,assignment]
        before = rig.clock.monotonic()
        found = await ask(rig)
        assert rig.clock.monotonic() - before < 10
        assert "no answer in time" in str(found.traces)
