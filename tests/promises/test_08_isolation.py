"""Promise 8: one bad record, service, registration, adapter or sink fails alone, says so, and delays no other."""

from pathlib import Path

from tests.rig import Rig, instance, registration, service, sink, source
from waypost.adapter import AdapterError
from waypost.model import Address, Instance
from waypost.testing.memory import Fault, MemorySink
from waypost.testing.virtual import virtual_test


@virtual_test
async def test_a_dead_sink_delays_no_other(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.declare(sink("dead"), sink("hanging"))
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web", sinks=["dead", "hanging", "out"]))

    def break_it(made: MemorySink) -> None:
        if made.context.name == "dead":
            made.down = AdapterError("down")
        if made.context.name == "hanging":
            made.faults.extend([Fault("hang")] * 100)

    rig.on_sink = break_it
    async with rig.running() as engine:
        for n in range(20):
            rig.memory["mem"].set(service("web", "a", f"n{n}"))
            await rig.settle(0.1)
            assert f"web/n{n}" in rig.found()
        assert not engine.reconciler.targets["dead"].condition.ok


@virtual_test
async def test_a_dead_source_delays_no_other(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.declare(source("dead"), source("hanging"))
    rig.memory["dead"].fail(RuntimeError("a bug in the adapter"))
    rig.memory["hanging"].hang()
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"), registration("x", source="dead"), registration("y", source="hanging"))
    async with rig.running() as engine:
        await rig.settle(1)
        assert rig.found() == ["web/a"]
        assert "RuntimeError" in engine.sources["dead"].condition.message


@virtual_test
async def test_a_label_that_is_no_name_is_refused_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(
        service("web", "a", labels={"team": "shop"}),
        service("bad", "b", labels={"team": "../../etc; rm -rf"}),
        service("none", "c"),
    )
    rig.declare(registration("all", services=["*"], names=["{label:team}"]))
    async with rig.running():
        await rig.settle()
        assert rig.found() == ["shop/a"]
        problems = rig.problems()
        assert any("../../etc" in problem for problem in problems)
        assert any("label `team` is absent" in problem for problem in problems)


@virtual_test
async def test_an_instance_without_a_usable_address_is_refused_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    loop, none = Instance("loop", (Address("127.0.0.1"),)), Instance("none")
    rig.memory["mem"].set(service("web", "a", loop, none, Instance("meta", (Address("169.254.169.254"),))))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        assert rig.found() == ["web/a"]
        assert len(rig.problems()) == 3


@virtual_test
async def test_an_adapter_whose_render_fails_for_one_instance_fails_for_it_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b", "c"))
    rig.declare(registration("web"))

    def break_it(made: object) -> None:
        whole = made.render  # type: ignore[attr-defined]

        def render(publication: object, instances: list[Instance]) -> object:
            if any(i.id == "b" for i in instances):
                raise ZeroDivisionError
            return whole(publication, instances)

        made.render = render  # type: ignore[attr-defined]

    rig.on_sink = break_it
    async with rig.running():
        await rig.settle()
        assert rig.found() == ["web/a", "web/c"]
        assert rig.problems() == ["the sink cannot render it: ZeroDivisionError()"]


@virtual_test
async def test_a_name_has_one_holder_and_the_other_says_conflicted(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("one", "a"), service("two", "b"))
    rig.declare(registration("one", names=["web"]))
    async with rig.running():
        await rig.settle()
        rig.declare(registration("two", names=["web"]))
        await rig.settle()
        assert rig.found() == ["web/a"]
        assert rig.problems() == ["the name `web` is held by registration default/one"]
        rig.withdraw("registrations", "default/one")
        await rig.settle()
        assert rig.found() == ["web/b"]
        assert rig.problems() == []
    async with rig.running():  # the incumbent keeps it, whichever name sorts first
        rig.declare(registration("a-first", services="one", names=["web"]))
        await rig.settle(60)
        assert rig.found() == ["web/b"]


@virtual_test
async def test_two_services_of_one_registration_may_share_a_name_but_not_a_record(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("one", "a", "same"), service("two", "b", instance("same", host="10.9.9.9")))
    rig.declare(registration("all", services=["*"], names=["web"]))
    async with rig.running():
        await rig.settle(700)
        assert rig.found() == ["web/a", "web/b", "web/same"]
        assert len(rig.target().log) == 3
        (problem,) = rig.problems()
        assert "would be the same as that of" in problem


@virtual_test
async def test_a_full_disk_stops_nothing_but_what_must_be_kept_on_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    names = [f"i{n:02}" for n in range(20)]
    rig.memory["mem"].set(service("web", *names))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        for folder in ("holds", "budgets"):  # a file in a folder's place: nothing can be written there, even by root
            path = tmp_path / "state" / folder
            path.rename(tmp_path / f"was-{folder}")
            path.write_text("")
        rig.memory["mem"].set(service("web", *names[12:]))
        await rig.settle(15)
        assert len(rig.found()) == 14
        assert engine.holds.holds
