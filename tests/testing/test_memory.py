"""What the adapters in memory do beyond the contract: the faults and the proof."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from waypost.adapter import APPLIED, AdapterError, Change, Fenced, Limits, Lost, NotClaimed, Outcome, Term
from waypost.model import Instance, Service, ServiceKey
from waypost.testing import rendering
from waypost.testing.changes import Recorder
from waypost.testing.context import TestContext
from waypost.testing.memory import Fault, MemorySink, MemorySource, ScriptedElector, SharedTarget
from waypost.testing.sink_bench import Claimed
from waypost.testing.virtual import VirtualClock, virtual_test

WEB, API = ServiceKey("s", "", "web"), ServiceKey("s", "", "api")


def service(key: ServiceKey, *ids: str, node: str = "") -> Service:
    return Service(key, {}, tuple(Instance(each, node=node) for each in ids))


@pytest.fixture
def context(tmp_path: Path) -> TestContext:
    return TestContext(tmp_path, owner="owner-a", clock=VirtualClock())


async def claimed(target: SharedTarget, context: TestContext) -> tuple[MemorySink, Claimed]:
    sink = MemorySink(target, context)
    return sink, Claimed(sink, await sink.claim("test", context.owner))


def change(sink: MemorySink, id: str = "i-1", number: int = 1) -> Change:
    (record,) = rendering.records(sink, rendering.publication(["web"]), [rendering.instance(id, number)])
    return Change(record.key, record)


@asynccontextmanager
async def watched(source: MemorySource, snapshots: int = 1) -> AsyncIterator[tuple[Recorder, asyncio.Task[None]]]:
    recorder = Recorder()
    task = asyncio.create_task(source.watch(recorder))
    await recorder.until(lambda _: recorder.count("snapshot") >= snapshots or task.done(), 1000)
    yield recorder, task
    task.cancel()
    await asyncio.wait([task])


# --- the sink


@virtual_test
async def test_each_write_is_in_the_log_with_time_and_fence(context: TestContext) -> None:
    target = SharedTarget()
    sink, ours = await claimed(target, context)
    await asyncio.sleep(7)
    await ours.apply(change(sink))
    await ours.apply(change(sink, number=2))
    await ours.apply(Change("web/i-1"))
    await ours.apply(Change("web/i-1"))
    assert [(each.time, each.by, each.key, each.epoch) for each in target.log] == [(7.0, "owner-a", "web/i-1", 1)] * 3
    assert [(each.old is None, each.new is None) for each in target.log] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert target.log[1].old == target.log[0].new


@virtual_test
@pytest.mark.parametrize(("kind", "there"), [("written", True), ("lost", False)])
async def test_an_unknown_outcome_was_written_or_not(kind: str, there: bool, context: TestContext) -> None:
    target = SharedTarget()
    sink, ours = await claimed(target, context)
    sink.faults.append(Fault("written" if kind == "written" else "lost"))
    assert (await ours.apply(change(sink)))["web/i-1"].status == "unknown"
    assert ("web/i-1" in target.records) == there
    assert (await ours.apply(change(sink)))["web/i-1"].status == "applied"


@virtual_test
async def test_a_late_write_arrives_unless_the_generation_is_past(context: TestContext) -> None:
    target = SharedTarget()
    sink, ours = await claimed(target, context)
    assert ours.fence is not None
    sink.faults.extend([Fault("late", seconds=5), Fault("late", seconds=5)])
    await ours.apply(change(sink, "first"))
    await asyncio.sleep(6)
    assert set(target.records) == {"web/first"}
    await ours.apply(change(sink, "second"))
    await sink.advance(ours.fence)
    await asyncio.sleep(6)
    assert set(target.records) == {"web/first"}
    assert target.refused == 1


@virtual_test
async def test_faults_before_sending_raise_and_write_nothing(context: TestContext) -> None:
    target = SharedTarget()
    sink, ours = await claimed(target, context)
    sink.faults.extend([Fault("error"), Fault("error", error=NotClaimed("gone")), Fault("hang")])
    with pytest.raises(AdapterError):
        await ours.apply(change(sink))
    with pytest.raises(NotClaimed):
        await ours.apply(change(sink))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await ours.apply(change(sink))
    assert (target.records, target.log, sink.in_flight) == ({}, [], 0)


@virtual_test
async def test_records_can_be_refused_one_by_one(context: TestContext) -> None:
    target = SharedTarget()
    sink, ours = await claimed(target, context)
    sink.refuse = lambda change: Outcome("invalid", "too long") if change.key == "web/bad" else None
    outcomes = await ours.apply(change(sink, "bad"), change(sink, "good"))
    assert {key: outcome.status for key, outcome in outcomes.items()} == {"web/bad": "invalid", "web/good": "applied"}


@virtual_test
async def test_a_caller_beyond_the_limits_is_told_so(context: TestContext) -> None:
    sink = MemorySink(SharedTarget(), context, limits=Limits(records=2, bytes=1000, in_flight=1))
    ours = Claimed(sink, await sink.claim("test", "owner-a"))
    with pytest.raises(ValueError, match="batch of 3 records"):
        await ours.apply(*(change(sink, f"i-{number}") for number in range(3)))
    sink.latency = 1.0
    both = (ours.apply(change(sink, each)) for each in ("a", "b"))
    written, refused = await asyncio.gather(*both, return_exceptions=True)
    assert written == {"web/a": APPLIED}
    assert "in flight" in str(refused)
    with pytest.raises(ValueError, match="twice"):
        await ours.apply(change(sink), change(sink))


@virtual_test
async def test_lost_and_restored_data_is_told_by_drift_and_by_the_stamp(context: TestContext) -> None:
    target = SharedTarget()
    sink, ours = await claimed(target, context)
    marks: list[list[str] | None] = []

    def mark(keys: Iterable[str] | None) -> None:
        marks.append(None if keys is None else list(keys))

    task = asyncio.create_task(sink.drift(mark))
    await asyncio.sleep(1)
    backup = target.save()
    await ours.apply(change(sink))
    await sink.claim("test", "owner-a")
    with pytest.raises(Fenced):
        await ours.apply(change(sink))
    target.restore(backup)
    assert (await ours.apply(change(sink)))["web/i-1"].status == "applied"
    target.lose()
    with pytest.raises(NotClaimed):
        await ours.apply(change(sink))
    assert marks == [["web/i-1"], None, ["web/i-1"], None]
    sink.cut_drift()
    with pytest.raises(AdapterError):
        await task


# --- the source


@virtual_test
async def test_a_fact_beside_an_open_snapshot_wins_over_it() -> None:
    source = MemorySource()
    source.set_quietly(service(WEB, "a"), service(API, "x"))
    source.read_seconds = 10
    recorder = Recorder()
    task = asyncio.create_task(source.watch(recorder))
    await asyncio.sleep(5)
    source.set(service(WEB, "a", "b"))
    source.delete(API)
    await recorder.until(lambda _: recorder.count("snapshot") == 1, 20)
    assert recorder.view == {WEB: service(WEB, "a", "b")}
    task.cancel()


@virtual_test
async def test_a_partial_answer_takes_no_effect() -> None:
    source = MemorySource()
    source.set_quietly(service(WEB, "a"), service(API, "x"))
    async with watched(source) as (recorder, task):
        source.partial(1)
        source.snapshot_now()
        with pytest.raises(AdapterError, match="broke off"):
            await task
        assert recorder.view.keys() == {WEB, API}
        assert recorder.events[-1].kind == "dropped"


@virtual_test
async def test_a_silent_source_tells_with_its_next_snapshot() -> None:
    source = MemorySource()
    source.set_quietly(service(WEB, "a"))
    async with watched(source) as (recorder, _):
        source.silent = True
        source.set(service(API, "x"))
        await asyncio.sleep(100)
        assert recorder.view.keys() == {WEB}
        source.recover()
        source.snapshot_now()
        await recorder.until(lambda view: API in view)


@virtual_test
async def test_a_hanging_source_says_nothing_until_it_recovers() -> None:
    source = MemorySource()
    source.set_quietly(service(WEB, "a"))
    source.hang()
    recorder = Recorder()
    task = asyncio.create_task(source.watch(recorder))
    await asyncio.sleep(1000)
    assert [event.kind for event in recorder.events] == ["begun"]
    source.recover()
    await recorder.until(lambda view: WEB in view)
    task.cancel()


@virtual_test
async def test_what_is_on_an_unknown_node_is_kept_until_a_snapshot_no_longer_names_it() -> None:
    source = MemorySource()
    source.set_quietly(service(WEB, "a", node="n1"), service(API, "x", node="n1"))
    async with watched(source) as (recorder, _):
        source.unknown_nodes("n1")
        source.delete_quietly(WEB)
        source.set_quietly(service(API, "y", node="n2"))
        source.snapshot_now()
        await recorder.until(lambda _: recorder.count("snapshot") == 2)
        assert [each.id for each in recorder.view[WEB].instances] == ["a"]
        assert [each.id for each in recorder.view[API].instances] == ["y", "x"]
        source.set(service(API, "z", node="n2"))
        assert [each.id for each in recorder.view[API].instances] == ["z", "x"]
        source.unknown_nodes()
        source.snapshot_now()
        await recorder.until(lambda _: recorder.count("snapshot") == 3)
        assert recorder.view == {API: service(API, "z", node="n2")}


# --- the elector


@virtual_test
async def test_terms_come_as_scripted_and_late_while_paused() -> None:
    elector = ScriptedElector(VirtualClock())
    seen: list[tuple[float, Term | Lost]] = []

    async def follow() -> None:
        async for term in elector.terms():
            seen.append((asyncio.get_running_loop().time(), term))  # noqa: PERF401 - looked at while it runs

    task = asyncio.create_task(follow())
    elector.win(15)
    await asyncio.sleep(10)
    elector.prolong(15)
    await asyncio.sleep(1)
    elector.pause()
    elector.lose("cut off")
    await asyncio.sleep(100)
    assert seen == [(0.0, Term(1, 15.0)), (10.0, Term(1, 25.0))]
    elector.go_on()
    await asyncio.sleep(1)
    assert seen[2:] == [(111.0, Lost("cut off"))]
    assert elector.win().number == 2
    task.cancel()
