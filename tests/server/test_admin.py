"""The admin server over a real socket: what it answers, and to whom."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.rig import Rig, instance, registration, service
from waypost.adapter import AdapterError, PermanentError
from waypost.kit.clock import LoopClock
from waypost.kit.listen import parse_listen
from waypost.server.app import admin
from waypost.server.gate import Gate, Reads
from waypost.server.token import TOKEN_FILE, make_token, read_token

TOKEN = "t" * 43
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Asked:
    def __init__(self, rig: Rig, url: str, session: aiohttp.ClientSession) -> None:
        self.rig = rig
        self.url = url
        self.session = session

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(self.url + path, headers=named) as answer:
            return answer.status, await _body(answer)

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        async with self.session.post(self.url + path, json=body, headers=headers) as answer:
            return answer.status, await _body(answer)


async def _body(answer: aiohttp.ClientResponse) -> Any:
    return await answer.json() if answer.content_type == "application/json" else await answer.text()


@asynccontextmanager
async def asked(tmp_path: Path, *, reads: Reads = "auto", settle: bool = True, **more: Any) -> AsyncIterator[Asked]:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *(f"i{n:02}" for n in range(20))))
    rig.declare(registration("web", namespace="shop"))
    async with (
        rig.running() as engine,
        admin(engine, LoopClock(), TOKEN, listen="127.0.0.1:0", reads=reads, **more) as served,
        aiohttp.ClientSession() as session,
    ):
        if settle:
            await settled(rig)
        yield Asked(rig, served.url, session)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - the engine tells no event of these
            await asyncio.sleep(0.01)


async def settled(rig: Rig) -> None:
    await until(rig.engine.settled)


async def test_the_probes_answer_and_readiness_begins_with_the_manifests(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        assert await ask.get("/healthz") == (200, "ok\n")
        assert await ask.get("/readyz") == (200, "ok\n")
        ask.rig.engine.settings = None
        assert (await ask.get("/readyz"))[0] == 503
        assert (await ask.get("/healthz"))[0] == 200


async def test_a_sink_that_is_down_does_not_make_us_unready(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        ask.rig.sinks["out"].down = AdapterError("refused")
        ask.rig.memory["mem"].set(service("web", "new"))
        await asyncio.sleep(0.1)
        assert (await ask.get("/readyz"))[0] == 200


async def test_metrics_tell_the_state_and_lose_what_is_gone(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        code, text = await ask.get("/metrics")
        assert code == 200
        assert 'waypost_sink_records{kind="sink",name="out"} 20.0' in text
        assert 'waypost_source_up{kind="source",name="mem"} 1.0' in text
        assert "waypost_registrations 1.0" in text
        assert "process_resident_memory_bytes" in text
        ask.rig.withdraw("sinks", "out")
        await asyncio.sleep(0.1)
        assert 'name="out"' not in (await ask.get("/metrics"))[1]


async def test_status_of_everything_and_of_one_registration(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        code, whole = await ask.get("/v1/status")
        assert code == 200
        assert whole["leads"]
        assert whole["manifests"] == {"read": True, "complete": True, "problems": [], "problemCount": 0}
        assert whole["sinks"][0]["records"] == 20
        assert whole["sinks"][0]["ownerID"] == "me"
        assert whole["registrations"][0]["key"] == "shop/web"
        code, one = await ask.get("/v1/status?registration=shop/web")
        assert one["status"]["readyInstances"] == 20
        assert (code, one["status"]["sinks"][0]["programmed"]) == (200, True)
        code, refused = await ask.get("/v1/status?registration=web")
        assert code == 404
        assert "shop/web" in refused["error"]
        assert (await ask.get("/v1/status?limit=0"))[0] == 400
        assert (await ask.get("/v1/status?limit=many"))[0] == 400


async def test_plan_explain_and_changes(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        code, plan = await ask.get("/v1/plan")
        assert (code, plan["known"], plan["sinks"][0]["add"]) == (200, True, 0)
        assert (await ask.get("/v1/plan?sink=none"))[0] == 404
        code, told = await ask.get("/v1/explain?registration=shop/web&instance=i01")
        assert (code, told["ok"]) == (200, True)
        assert (await ask.get("/v1/explain"))[0] == 400
        assert (await ask.get("/v1/explain?nonsense=1"))[0] == 400
        code, page = await ask.get("/v1/changes?limit=15")
        assert [each["number"] for each in page["changes"]] == list(range(1, 16))
        code, rest = await ask.get(f"/v1/changes?since={page['latest']}&run={page['run']}")
        assert [each["number"] for each in rest["changes"]] == list(range(16, 21))
        code, again = await ask.get(f"/v1/changes?since={page['latest']}&run=another")
        assert len(again["changes"]) == 20  # the numbers of another process mean nothing here


async def test_a_waiting_question_is_answered_when_a_change_comes_and_not_before(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        waiting = asyncio.ensure_future(ask.get("/v1/changes?since=20&wait=20"))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done
        ask.rig.memory["mem"].set(service("web", *(f"i{n:02}" for n in range(20)), instance("new")))
        async with asyncio.timeout(5):
            _, page = await waiting
        assert [each["instance"] for each in page["changes"]] == ["new"]
        code, page = await ask.get("/v1/changes?since=21&wait=0.05")
        assert (code, page["changes"], page["latest"]) == (200, [], 21)


async def test_a_hold_is_decided_with_the_token_and_only_so(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        ask.rig.memory["mem"].set(service("web", *(f"i{n:02}" for n in range(15, 20))))
        await until(lambda: bool(ask.rig.engine.holds.holds))
        (hold,) = (await ask.get("/v1/holds"))[1]
        assert "pairs" not in hold
        path = f"/v1/holds/{hold['name']}"
        approve = {"decision": "Approve", "reason": "CHG-1", "expiresSeconds": 60}
        assert (await ask.post(path, approve))[0] == 401
        assert (await ask.post(path, approve, Authorization=f"Bearer {TOKEN}x"))[0] == 401
        assert (await ask.post(path, approve, Authorization=f"Basic {TOKEN}"))[0] == 401
        assert (await ask.get("/v1/holds"))[1][0]["decision"] == ""
        assert (await ask.post(path, {"decision": "Perhaps"}, **BEARER))[0] == 400
        assert (await ask.post(path, {**approve, "expiresSeconds": 10**9}, **BEARER))[0] == 400
        code, missing = await ask.post("/v1/holds/none", approve, **BEARER)
        assert code == 404
        assert hold["name"] in missing["error"]
        code, decided = await ask.post(path, approve, **BEARER)
        assert (code, decided["decision"], decided["reason"]) == (200, "Approve", "CHG-1")
        await until(lambda: len(ask.rig.found()) == 5)


async def test_a_sink_is_paused_and_goes_on_with_the_token_and_only_so(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        assert (await ask.post("/v1/sinks/out", {"mode": "pause"}))[0] == 401
        assert (await ask.post("/v1/sinks/none", {"mode": "pause"}, **BEARER))[0] == 404
        assert (await ask.post("/v1/sinks/out", {"mode": "stop"}, **BEARER))[0] == 400
        code, told = await ask.post("/v1/sinks/out", {"mode": "pause"}, **BEARER)
        assert (code, told) == (200, {"sink": "out", "paused": True, "manifestMode": "Apply"})
        await asyncio.sleep(0.1)
        assert (await ask.get("/v1/status"))[1]["sinks"][0]["mode"] == "Paused"
        assert (await ask.post("/v1/sinks/out", {"mode": "resume"}, **BEARER))[0] == 200
        await settled(ask.rig)
        assert (await ask.get("/v1/status"))[1]["sinks"][0]["mode"] == "Apply"


async def test_a_pause_that_cannot_be_kept_does_not_happen_and_says_why(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        in_the_way = tmp_path / "state" / "paused.tmp"
        in_the_way.mkdir()
        code, told = await ask.post("/v1/sinks/out", {"mode": "pause"}, **BEARER)
        assert code == 507
        assert "nothing was changed" in told["error"]
        await asyncio.sleep(0.1)
        assert (await ask.get("/v1/status"))[1]["sinks"][0]["mode"] == "Apply"
        in_the_way.rmdir()
        assert (await ask.post("/v1/sinks/out", {"mode": "pause"}, **BEARER))[0] == 200, "it is not taken for done"
        await until(lambda: ask.rig.engine.reconciler.targets["out"].mode == "Paused")


async def test_a_page_of_another_host_name_cannot_ask(tmp_path: Path) -> None:
    async with asked(tmp_path, hosts=["Waypost.example"]) as ask:
        for host in ("evil.example", "evil.example:7470", "localhost.evil.example", "", "127.0.0.1.evil.example"):
            assert (await ask.get("/v1/status", Host=host))[0] == 421, host
            assert (await ask.get("/metrics", Host=host))[0] == 421, host
            assert (await ask.post("/v1/sinks/out", {"mode": "pause"}, Host=host, **BEARER))[0] == 421, host
        for host in ("localhost", "LOCALHOST:7470", "127.0.0.1", "[::1]:7470", "10.1.2.3:80", "waypost.example:7470"):
            assert (await ask.get("/v1/status", Host=host))[0] == 200, host


async def test_where_reading_needs_the_token_only_the_probes_are_open(tmp_path: Path) -> None:
    async with asked(tmp_path, reads="token") as ask:
        for path in ("/metrics", "/v1/status", "/v1/plan", "/v1/explain?service=web", "/v1/changes", "/v1/holds"):
            assert (await ask.get(path))[0] == 401, path
            assert (await ask.get(path, **BEARER))[0] == 200, path
        assert (await ask.get("/healthz"))[0] == 200
        assert (await ask.get("/readyz"))[0] == 200


def test_off_loopback_reading_needs_the_token_unless_it_is_opened() -> None:
    assert Gate(TOKEN, parse_listen("127.0.0.1:1"))._open
    assert not Gate(TOKEN, parse_listen("0.0.0.0:1"))._open
    assert not Gate(TOKEN, parse_listen("10.0.0.1:1"))._open
    assert Gate(TOKEN, parse_listen("10.0.0.1:1"), reads="open")._open


async def test_no_other_origin_may_read_and_a_form_cannot_act(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        async with ask.session.get(ask.url + "/v1/status", headers={"Origin": "http://evil.example"}) as answer:
            assert not any(name.lower().startswith("access-control") for name in answer.headers)
        async with ask.session.post(ask.url + "/v1/sinks/out", data={"mode": "pause"}, headers=BEARER) as answer:
            assert answer.status == 415
        async with ask.session.options(ask.url + "/v1/sinks/out") as answer:
            assert answer.status == 405


async def test_a_large_body_is_refused_and_the_token_is_in_no_answer(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        code, told = await ask.post("/v1/sinks/out", {"mode": "x" * 100_000}, **BEARER)
        assert code == 413
        assert TOKEN not in str(told)
        for path in ("/v1/status", "/metrics", "/v1/nothing"):
            assert TOKEN not in str(await ask.get(path, **BEARER))


async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        with pytest.raises(AdapterError, match="another process"):
            async with admin(ask.rig.engine, LoopClock(), TOKEN, listen=ask.url.removeprefix("http://")):
                pass


def test_the_token_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        token = make_token(tmp_path)
    finally:
        os.umask(before)
    path = tmp_path / TOKEN_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) >= 43
    assert make_token(tmp_path) == read_token(path) == token
    assert make_token(tmp_path / ".." / tmp_path.name) == token


def test_a_token_that_others_can_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    token = make_token(tmp_path)
    path = tmp_path / TOKEN_FILE
    path.chmod(0o644)
    with pytest.raises(PermanentError, match="read by others") as refused:
        make_token(tmp_path)
    assert token not in str(refused.value)
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(PermanentError, match="holds no token") as refused:
        make_token(tmp_path)
    assert "short" not in str(refused.value)
    with pytest.raises(PermanentError, match="no token file"):
        read_token(tmp_path / "none")
