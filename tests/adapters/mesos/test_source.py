"""What a real master here cannot do: strange events, forbidden calls, agents that come back late, very many tasks."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.mesos.fake_master import FakeMaster, agent, dumps, task
from waypost.adapter import PermanentError
from waypost.kit.clock import LoopClock
from waypost.model import ServiceKey
from waypost.testing.context import TestContext
from waypost.testing.source_bench import Supervised
from waypost_adapters.mesos import SOURCE
from waypost_adapters.mesos.config import Config

KEY = ServiceKey("test", "marathon.prod", "service-0")


class Ahead(LoopClock):
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        super().__init__()
        self.by = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.by


class Rig:
    """A watch of a pretended master."""

    def __init__(self, master: FakeMaster, context: TestContext, watch: Supervised) -> None:
        self.master, self.context, self.watch = master, context, watch

    async def until(self, holds: Any, seconds: float = 20) -> None:
        try:
            await self.watch.recorder.until(lambda _: holds(), seconds)
        except TimeoutError as error:
            raise AssertionError(f"{error}; view: {self.watch.recorder.view}; raised: {self.watch.errors}") from None

    def ready(self) -> dict[str, str]:
        service = self.watch.recorder.view.get(KEY)
        return {each.id[-1]: each.readiness for each in service.instances} if service else {}


@asynccontextmanager
async def watching(directory: Path, master: FakeMaster, seconds: float = 3600) -> AsyncIterator[Rig]:
    context = TestContext(directory, clock=Ahead())
    async with (
        master.serve() as url,
        SOURCE.open(Config(masters=(url,), poll_seconds=seconds), context) as opened,
    ):
        watch = Supervised(opened)
        running = asyncio.create_task(watch.run())
        try:
            yield Rig(master, context, watch)
        finally:
            running.cancel()
            await asyncio.wait([running])


def numbered(number: int) -> dict[str, Any]:
    made = task(number, 1)
    made["task_id"]["value"] = f"t{number}"
    made["agent_id"]["value"] = "agent-0"
    made["statuses"] = []
    return made


def update(number: int, state: str = "TASK_RUNNING", **status: Any) -> dict[str, Any]:
    given = numbered(number)
    about = {"task_id": given["task_id"], "state": state, **status}
    return {
        "type": "TASK_UPDATED",
        "task_updated": {"framework_id": given["framework_id"], "status": about, "state": state},
    }


async def test_an_event_of_unknown_type_or_form_is_told_once_and_leads_to_a_look_at_everything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    master = FakeMaster([numbered(0)])
    async with watching(tmp_path, master, seconds=1) as rig:
        await rig.until(lambda: rig.ready() == {"0": "ready"})
        before = rig.watch.recorder.count("snapshot")
        strange = [{"type": "TASK_TELEPORTED", "task_teleported": {}}, {"type": "TASK_ADDED", "task_added": [1]}]
        ill = numbered(0) | {"statuses": [{"state": "TASK_RUNNING", "healthy": False}]}
        master.tasks = [dumps(ill), dumps(numbered(1))]
        await master.say(*strange, *strange, b"not json", update(0, healthy=False))
        await rig.until(lambda: rig.ready() == {"0": "not-ready"})
        await rig.until(lambda: rig.watch.recorder.count("snapshot") > before)
        assert rig.ready() == {"0": "not-ready", "1": "ready"}
        assert "GET_TASKS" in master.calls
        assert sum("TASK_TELEPORTED" in line for line in caplog.messages) == 1
        assert rig.context.metrics.total("mesos_problems_total") == 5
        assert not rig.watch.errors


async def test_changes_that_come_at_once_are_put_once_for_each_service(tmp_path: Path) -> None:
    master = FakeMaster([numbered(number) for number in range(8)])
    async with watching(tmp_path, master) as rig:
        await rig.until(lambda: len(rig.ready()) == 8)
        before = rig.watch.recorder.count("put")
        await master.say(*(update(number, healthy=False) for number in range(8)))
        await rig.until(lambda: set(rig.ready().values()) == {"not-ready"})
        assert rig.watch.recorder.count("put") - before <= 2


async def test_agents_not_back_after_a_failover_are_waited_for_and_then_no_longer(tmp_path: Path) -> None:
    master = FakeMaster([numbered(0)], agents=1)
    async with watching(tmp_path, master, seconds=1) as rig:
        await rig.until(lambda: rig.ready() == {"0": "ready"})
        master.master, tasks, master.tasks, agents, master.agents = "master-2", master.tasks, [], master.agents, []
        for stream in list(master.streams):
            stream.force_close()
            assert stream._req is not None
            assert stream._req.transport is not None
            stream._req.transport.abort()
        await rig.until(lambda: rig.watch.recorder.unknown_nodes == {"node-0.example"})
        assert rig.ready() == {"0": "ready"}
        assert isinstance(rig.context.clock, Ahead)
        rig.context.clock.by += 590
        await master.asked("GET_AGENTS", 2)
        assert rig.ready() == {"0": "ready"}
        rig.context.clock.by += 20
        await rig.until(lambda: not rig.watch.recorder.unknown_nodes)
        assert rig.ready() == {}
        master.agents, master.tasks = agents, tasks  # it comes all the same
        added = {"type": "AGENT_ADDED", "agent_added": {"agent": agents[0]}}
        await master.say({"type": "TASK_ADDED", "task_added": {"task": numbered(0)}}, added)
        await rig.until(lambda: rig.ready() == {"0": "ready"})


async def test_agents_in_the_registry_that_are_not_back_are_unknown_from_the_start(tmp_path: Path) -> None:
    master = FakeMaster([numbered(0)])
    master.recovered = [agent(7)["agent_info"]]
    async with watching(tmp_path, master) as rig:
        await rig.until(lambda: rig.watch.recorder.count("snapshot") == 1)
        assert rig.watch.recorder.unknown_nodes == {"node-7.example"}
        master.recovered = []
        await master.say({"type": "AGENT_ADDED", "agent_added": {"agent": agent(7)}})
        await rig.until(lambda: not rig.watch.recorder.unknown_nodes)


async def test_while_agents_are_missing_no_service_is_said_to_be_gone(tmp_path: Path) -> None:
    master = FakeMaster([numbered(0)])
    master.recovered = [agent(7)["agent_info"]]
    async with watching(tmp_path, master) as rig:
        await rig.until(lambda: rig.ready() == {"0": "ready"})
        await master.say(update(0, "TASK_KILLED"))
        await rig.until(lambda: rig.ready() == {})
        assert rig.watch.recorder.count("remove") == 0
        assert rig.watch.recorder.events[-1].kind == "put"


async def test_where_flags_may_not_be_read_mesos_own_default_holds(tmp_path: Path) -> None:
    master = FakeMaster([numbered(0)])
    master.flags_status = 403
    async with watching(tmp_path, master) as rig:
        await rig.until(lambda: rig.ready() == {"0": "ready"})
        assert not rig.watch.errors


async def test_another_master_at_the_same_place_does_not_pass_for_the_one_that_is_followed(tmp_path: Path) -> None:
    master = FakeMaster([numbered(0)])
    async with watching(tmp_path, master, seconds=1) as rig:
        await rig.until(lambda: rig.ready() == {"0": "ready"})
        # The stream stays open, as if its end had not been noticed, but a poll is answered by an empty new master.
        master.master, master.tasks, master.agents = "master-2", [], []
        await rig.until(lambda: rig.context.metrics.total("mesos_failed_polls_total") >= 1)
        assert rig.ready() == {"0": "ready"}
        await rig.until(lambda: bool(rig.watch.errors))
        assert "another master leads now" in str(rig.watch.errors[0])
        await rig.until(lambda: rig.watch.recorder.unknown_nodes == {"node-0.example"})
        assert rig.ready() == {"0": "ready"}


async def test_a_stream_without_a_heartbeat_is_dead(tmp_path: Path) -> None:
    master = FakeMaster([numbered(0)])
    master.heartbeat = 1.0
    async with watching(tmp_path, master) as rig:
        await rig.until(lambda: rig.ready() == {"0": "ready"})
        assert "nothing came for 2 s, not even a heartbeat" in str(await rig.watch.error(10))
        await rig.until(lambda: rig.watch.recorder.count("snapshot") == 2)


async def test_zookeeper_is_refused_with_what_to_write_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="expected zk://host:2181,host2:2181/path"):
        async with SOURCE.open(Config(masters="zk://z1:2181"), TestContext(tmp_path)):
            pass


async def test_a_password_over_plain_http_is_warned_of(tmp_path: Path) -> None:
    given = {"username": "u", "password": "p"}
    for url, warned in (("http://m1.example:5050", 1), ("https://m1.example:5050", 0), ("http://127.0.0.1:5050", 0)):
        context = TestContext(tmp_path, credentials=given)
        async with SOURCE.open(Config(masters=(url,)), context):
            assert len(context.warnings) == warned


async def test_many_tasks_are_read_without_holding_up_the_program(tmp_path: Path) -> None:
    """The longest time without a turn for others is the same for 20 times as many tasks, and memory does not peak."""
    longest, peak = {}, {}
    for count in (1000, 20_000):
        program = [sys.executable, "-m", "tests.adapters.mesos.fake_master", str(count), "500", "0"]
        root = Path(__file__).parents[3]
        served = subprocess.Popen(  # noqa: ASYNC220 - a few milliseconds, before anything is measured
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root
        )
        assert served.stdout is not None
        assert served.stdin is not None
        url = (await asyncio.to_thread(served.stdout.readline)).decode().strip()
        try:
            longest[count], peak[count] = await _read(url, count, tmp_path)
        finally:
            served.stdin.close()
            await asyncio.to_thread(served.wait)
            served.stdout.close()
    assert longest[20_000] < 5 * max(longest[1000], 0.002), f"seconds of CPU between two turns: {longest}"
    assert peak[20_000] < 20_000 * 1500, f"bytes more than before: {peak}; one task's JSON alone has 1,600"


async def _read(url: str, count: int, directory: Path) -> tuple[float, int]:
    turns: list[float] = []

    async def ticking() -> None:
        while True:
            await asyncio.sleep(0)
            turns.append(time.thread_time())

    gc.collect()
    before = peak = _resident()
    async with SOURCE.open(Config(masters=(url,), poll_seconds=3600), TestContext(directory)) as opened:
        watch = Supervised(opened)
        running = asyncio.create_task(watch.run())
        ticks = asyncio.create_task(ticking())
        while not watch.recorder.count("snapshot"):
            await asyncio.sleep(0.01)
            peak = max(peak, _resident())
        for each in (ticks, running):
            each.cancel()
        await asyncio.wait([ticks, running])
    assert sum(len(service.instances) for service in watch.recorder.view.values()) == count
    return max(later - earlier for earlier, later in pairwise(turns)), peak - before


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
