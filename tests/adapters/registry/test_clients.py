"""What clients register themselves."""

from __future__ import annotations

import asyncio

import pytest

from tests.adapters.registry.asking import Answer, Opened, Server, ask, instance, publication
from waypost.adapter import PermanentError
from waypost.model import ServiceKey
from waypost.testing.changes import Recorder
from waypost_adapters.registry.config import Config
from waypost_adapters.registry.source import open_source

BODY = {"Host": "10.0.0.7", "Port": "8080", "Endpoint": "/api", "Metadata": {"version": "2"}}


async def _post(server: Server, body: object, path: str = "/services/web", token: str | None = "tok") -> Answer:
    return await ask(server.url, "POST", path, body, token)


async def test_what_is_registered_is_shown_and_told_and_there_after_a_restart(opened: Opened) -> None:
    async with opened(source=True) as server:
        answer = await _post(server, BODY)
        assert answer.status == 201
        id = answer.json["ID"]
        recorder = Recorder()
        assert server.source is not None
        watching = asyncio.create_task(server.source.watch(recorder))
        key = ServiceKey("registry", "", "web")
        await recorder.until(lambda view: key in view)
        (told,) = recorder.view[key].instances
        assert (told.id, told.addresses[0].value, told.ports[0].number) == (id, "10.0.0.7", 8080)
        assert told.labels == {"version": "2", "endpoint": "/api"}
        watching.cancel()
        await asyncio.wait([watching])
        before = (await server.get("/services/web")).json["Instances"]
        assert before[0]["Endpoint"] == "/api"
    async with opened(source=True, claim=False) as server:
        assert server.source is not None
        await server.source._clients.loaded.wait()
        assert (await server.get("/services/web")).json["Instances"] == before


async def test_field_names_may_be_in_lower_case(opened: Opened) -> None:
    async with opened(source=True) as server:
        answer = await _post(server, {key.lower(): value for key, value in BODY.items()})
        assert answer.status == 201


async def test_put_merges_and_delete_removes(opened: Opened) -> None:
    async with opened(source=True) as server:
        path = f"/services/web/{(await _post(server, BODY)).json['ID']}"
        change = {"Weight": 5, "Readiness": "draining", "Metadata": {"tier": "gold", "version": None}}
        assert (await ask(server.url, "PUT", path, change, "tok")).status == 200
        (shown,) = (await server.get("/services/web")).json["Instances"]
        assert (shown["Weight"], shown["Readiness"], shown["Metadata"]) == (5, "draining", {"tier": "gold"})
        assert (await ask(server.url, "DELETE", path, token="tok")).status == 204
        assert (await ask(server.url, "PUT", path, change, "tok")).status == 404
        assert (await server.get("/services/web")).status == 503, "nothing was published yet"


async def test_a_ttl_is_kept_alive_by_heartbeats_and_brought_back_by_them(opened: Opened) -> None:
    async with opened(source=True) as server:
        recorder = Recorder()
        assert server.source is not None
        watching = asyncio.create_task(server.source.watch(recorder))
        path = f"/services/web/{(await _post(server, {**BODY, 'TTL': 1})).json['ID']}"
        key = ServiceKey("registry", "", "web")

        def readiness(is_: str) -> object:
            return recorder.until(lambda view: key in view and view[key].instances[0].readiness == is_)

        await readiness("ready")  # type: ignore[misc]  # a coroutine
        await readiness("not-ready")  # type: ignore[misc]  # as above
        assert await server.ids("/services/web?ready=true") == []
        assert len(await server.ids("/services/web")) == 1, "silence is no order to remove"
        assert (await ask(server.url, "PUT", f"{path}/heartbeat", token="tok")).status == 200
        await readiness("ready")  # type: ignore[misc]  # as above
        assert len(await server.ids("/services/web?ready=true")) == 1
        watching.cancel()
        await asyncio.wait([watching])


async def test_a_reported_failure_is_a_suspicion_and_removes_nothing(opened: Opened) -> None:
    async with opened(source=True) as server:
        recorder = Recorder()
        assert server.source is not None
        watching = asyncio.create_task(server.source.watch(recorder))
        id = (await _post(server, BODY)).json["ID"]
        other = (await _post(server, BODY)).json["ID"]
        assert (await ask(server.url, "POST", f"/services/web/{id}/failures", token="tok")).status == 202
        await recorder.until(lambda _: recorder.count("suspect") == 1)
        (event,) = [event for event in recorder.events if event.kind == "suspect"]
        assert event.instance == id
        assert await server.ids("/services/web?strategy=least-failures") == [other, id]
        watching.cancel()
        await asyncio.wait([watching])


async def test_an_instance_that_comes_back_published_is_shown_once_and_does_not_re_enter(opened: Opened) -> None:
    async with opened(source=True) as server:
        id = (await _post(server, BODY, "/services/web?namespace=shop")).json["ID"]
        await server.publish(publication(source="registry"), instance(id, "10.0.0.7", weight=7))
        (shown,) = (await server.get("/services/web")).json["Instances"]
        assert shown["Weight"] == 7, "the published fields are shown"
        recorder = Recorder()
        assert server.source is not None
        watching = asyncio.create_task(server.source.watch(recorder))
        await recorder.until(bool)
        assert [len(service.instances) for service in recorder.view.values()] == [1]
        (told,) = next(iter(recorder.view.values())).instances
        assert told.weight == 1, "what was published re-entered"
        watching.cancel()
        await asyncio.wait([watching])


@pytest.mark.parametrize("token", [None, "", "wrong", "tok2"])
async def test_writing_needs_the_token(opened: Opened, token: str | None) -> None:
    async with opened(source=True) as server:
        answer = await _post(server, BODY, token=token)
        assert answer.status == 401
        assert "tok" not in answer.json["error"].replace("token", "")
        assert (await _post(server, BODY)).status == 201


async def test_where_no_token_is_set_nobody_writes_unless_that_is_asked_for(opened: Opened) -> None:
    async with opened(source=True, token=None) as server:
        answer = await _post(server, BODY, token="anything")
        assert answer.status == 403
        assert "anonymousWrites" in answer.json["error"]
    async with opened(source=True, token=None, anonymous=True) as server:
        assert (await _post(server, BODY, token=None)).status == 201


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "Input data was truncated"),
        (b"[]", "Expected `object`"),
        ({}, "missing required field `host`"),
        ({"Host": "10.0.0.7", "Port": 99999}, "1 to 65535"),
        ({"Host": "10.0.0.7", "Port": "http"}, "1 to 65535"),
        ({"Host": "10.0.0.7", "Prot": 1}, "unknown field `prot`"),
        ({"Host": "0.0.0.0"}, "no address of a machine"),
        ({"Host": "a b"}, "' ' at character 2"),
        ({"Host": "10.0.0.7", "Weight": -1}, "`int` >= 0"),
        ({"Host": "10.0.0.7", "Metadata": {"k": 1}}, "Expected `str`"),
        ({"Host": "10.0.0.7", "ID": "../x"}, "ID:"),
    ],
)
async def test_a_body_that_is_wrong_is_told_where(opened: Opened, body: object, says: str) -> None:
    async with opened(source=True) as server:
        answer = await _post(server, body)
        assert answer.status == 400
        assert says in answer.json["error"]


async def test_localhost_is_taken_from_a_caller_of_this_machine(opened: Opened) -> None:
    async with opened(source=True) as server:
        id = (await _post(server, {"Host": "localhost", "Port": 80})).json["ID"]
        assert (await server.get("/services/web")).json["Endpoints"] == "127.0.0.1:80"
        answer = await _post(server, {"Host": "10.0.0.7", "ID": id}, "/services/other")
        assert answer.status == 409


async def test_a_browsers_form_cannot_write(opened: Opened) -> None:
    async with opened(source=True, anonymous=True) as server:
        answer = await ask(server.url, "POST", "/services/web", headers={"Content-Type": "text/plain"})
        assert answer.status == 415


async def test_a_second_source_at_the_same_address_is_refused(opened: Opened) -> None:
    async with opened(source=True) as server:
        assert server.source is not None
        with pytest.raises(PermanentError, match="another ServiceSource"):
            async with open_source(Config(listen="127.0.0.1:0"), server.source._context):
                pass
