"""`whois`: ours, another installation's, or by hand."""

from pathlib import Path

import msgspec
import pytest

from tests.rig import Rig, registration, service, sink
from waypost.adapter import AdapterError
from waypost.engine.whois import whois
from waypost.testing.virtual import virtual_test


@virtual_test
async def test_each_record_under_a_name_says_whose_it_is(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web", names=["web", "www"]))
    async with rig.running() as engine:
        await rig.settle()
        ours = msgspec.json.decode(rig.target().records["web/a"])
        rig.target().set("web/hand", b'{"address": "10.9.9.9"}')
        rig.target().set("web/far", msgspec.json.encode({"ownership": ours["ownership"] | {"waypost-owner": "them"}}))
        found = await whois(engine, "web")
        told = {each.key: (each.whose, each.owner) for each in found.records}
        assert told == {
            "web/a": ("ours", "me"),
            "web/hand": ("by hand", ""),
            "web/far": ("another installation's", "them"),
        }
        mine = next(each for each in found.records if each.whose == "ours")
        told_of = (mine.registration, mine.entry, mine.service, mine.instance, mine.path)
        assert told_of == ("default/web", "out", "mem//web", "a", "test/me")
        assert not (await whois(engine, "elsewhere")).records


@virtual_test
async def test_a_sink_that_does_not_answer_is_said(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web", sinks=["out", "other"]), sink("other"))
    async with rig.running() as engine:
        await rig.settle()
        rig.sinks["other"].down = AdapterError("away")
        found = await whois(engine, "web")
        assert found.unread == {"other": "away"}
        assert [each.sink for each in found.records] == ["other", "out"]
        assert [each.sink for each in (await whois(engine, "web", "out")).records] == ["out"]


@pytest.mark.parametrize("gone", ["registration", "instance"])
@virtual_test
async def test_what_is_left_of_somebody_says_so_too(tmp_path: Path, gone: str) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
    if gone == "registration":
        rig.withdraw("registrations", "default/web")
    else:
        rig.memory["mem"].fail()
    async with rig.running() as engine:
        await rig.settle()
        (mine,) = (await whois(engine, "web")).records
        assert (mine.whose, mine.registration, mine.instance) == ("ours", "default/web", "a")
