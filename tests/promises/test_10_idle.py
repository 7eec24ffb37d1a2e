"""Promise 10: idle costs nothing; work grows with the change, not with what is stored."""

from pathlib import Path

from tests.rig import Rig, instance, registration, service
from waypost.testing.virtual import virtual_test


@virtual_test
async def test_a_day_of_nothing_writes_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(*(service(f"s{n}", f"i{n}") for n in range(50)))
    rig.declare(registration("all", services=["*"]))
    async with rig.running():
        await rig.settle()
        written, calls = len(rig.target().log), dict(rig.sinks["out"].calls)
        await rig.settle(86_400)
        assert len(rig.target().log) == written == 50
        assert rig.sinks["out"].calls["apply"] == calls["apply"]


@virtual_test
async def test_one_change_renders_one_instance_however_many_there_are(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    many = [instance(f"i{n:04}") for n in range(2000)]
    rig.memory["mem"].set(service("web", *many))
    rig.declare(registration("web"))
    rendered: list[str] = []

    def count(made: object) -> None:
        whole = made.render  # type: ignore[attr-defined]

        def render(publication: object, instances: list[object]) -> object:
            rendered.extend(i.id for i in instances)  # type: ignore[attr-defined]
            return whole(publication, instances)

        made.render = render  # type: ignore[attr-defined]

    rig.on_sink = count
    async with rig.running():
        await rig.settle()
        rendered.clear()
        many[7] = instance("i0007", port=9999)
        rig.memory["mem"].set(service("web", *many))
        await rig.settle()
        assert set(rendered) == {"i0007"}
        assert len(rendered) <= 2
