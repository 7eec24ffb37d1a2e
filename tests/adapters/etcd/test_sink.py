"""The sink beyond what every sink promises: batches, faults of the server, races, and what etcd3 reads back."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.ports import free_port
from testbed.servers import Etcd, EtcdCluster
from testbed.witness import etcd_prefix
from waypost.adapter import AdapterError, Change, Fence, Fenced, NotClaimed, Outcome, PermanentError, Record
from waypost.kit.etcd import rpc_pb2 as rpc
from waypost.kit.etcd.client import Client
from waypost.kit.etcd.faults import TooLarge, Uncertain
from waypost.testing import rendering
from waypost.testing.context import TestContext
from waypost_adapters.etcd import SINK, EtcdConfig
from waypost_adapters.etcd.sink import EtcdSink
from waypost_adapters.etcd.stamp import Stamp
from waypost_adapters.etcd.transaction import MOST_TRIES, Terms, write

pytestmark = pytest.mark.server("etcd")
prefixes = itertools.count()


class Bench:
    """Opens sinks on one prefix of one etcd."""

    def __init__(self, folder: Path, endpoints: Sequence[str]) -> None:
        self.folder, self.endpoints = folder, endpoints
        self.prefix = f"/waypost/sink-{next(prefixes)}"
        self.context = TestContext(folder, environment="test", owner="owner-a")

    @asynccontextmanager
    async def sink(self, owner: str = "owner-a", environment: str = "test") -> AsyncIterator[EtcdSink]:
        self.context = TestContext(self.folder, environment=environment, owner=owner)
        config = EtcdConfig(endpoints=tuple(self.endpoints), prefix=self.prefix)
        async with SINK.open(config, self.context) as sink:
            assert isinstance(sink, EtcdSink)
            yield sink

    @asynccontextmanager
    async def claimed(self, owner: str = "owner-a") -> AsyncIterator[tuple[EtcdSink, Fence]]:
        async with self.sink(owner) as sink:
            fence = await sink.claim("test", owner)
            assert fence is not None
            yield sink, fence


@pytest.fixture
def bench(etcd: Etcd, tmp_path: Path) -> Bench:
    return Bench(tmp_path, etcd.endpoints)


def records(sink: EtcdSink, count: int, owner: str = "owner-a", number: int = 0, **fields: Any) -> list[Record]:
    instances = [rendering.instance(f"i-{each:05}", number or each, **fields) for each in range(count)]
    return rendering.records(sink, rendering.publication(["web"], owner=owner), instances)


def creates(records: Iterable[Record]) -> list[Change]:
    return [Change(record.key, record, create=True) for record in records]


def statuses(outcomes: Any) -> set[str]:
    return {outcome.status for outcome in outcomes.values()}


async def observed(sink: EtcdSink) -> set[str]:
    return {seen.key async for seen in sink.observe()}


# --- what is written


async def test_etcd3_reads_back_what_was_rendered_and_nothing_else(bench: Bench, etcd: Etcd) -> None:
    async with bench.claimed() as (sink, fence):
        written = records(sink, 5)
        assert statuses(await sink.apply(creates(written), fence)) == {"applied"}
        assert statuses(await sink.apply([Change(written[0].key)], fence)) == {"applied"}
    found = await etcd_prefix(etcd.endpoint, bench.prefix + "/")
    stamp = found.pop(f"{bench.prefix}/.waypost/owners/owner-a")
    assert json.loads(stamp) == {"environment": "test", "epoch": 1, "generation": 0}
    assert found == {record.key: record.content.decode() for record in written[1:]}
    assert json.loads(next(iter(found.values())))["host"] == "10.0.0.1"


async def test_records_have_no_lease(bench: Bench, etcd: Etcd) -> None:
    async with bench.claimed() as (sink, fence):
        (record,) = records(sink, 1)
        await sink.apply(creates([record]), fence)
    import base64

    answer = await etcd.call("kv/range", {"key": base64.b64encode(record.key.encode()).decode()})
    assert answer["kvs"][0].get("lease", "0") == "0"


async def test_a_batch_of_all_kinds_larger_than_a_transaction_is_written_in_one_call(bench: Bench, etcd: Etcd) -> None:
    async with bench.claimed() as (sink, fence), bench.claimed("owner-b") as (other, other_fence):
        all_ = records(sink, 126)
        kept, fresh, foreign, theirs = all_[:50], all_[50:100], all_[100:110], all_[110:126]
        await sink.apply(creates(kept), fence)
        for record in foreign:
            await etcd.put(record.key, "{}")
        for record, mine in zip(records(other, 126, "owner-b")[110:], theirs, strict=True):
            same_key = Record(mine.key, record.instance, record.content, record.name)
            assert statuses(await other.apply(creates([same_key]), other_fence)) == {"applied"}
        changed = {record.key: record for record in records(sink, 126, number=7)}
        batch = [Change(record.key, changed[record.key], create=True) for record in kept[:40]]  # a wrong hint
        batch += [Change(record.key) for record in kept[40:]]
        batch += [Change(record.key, record, create=False) for record in fresh[:40]]  # another wrong hint
        batch += [Change(record.key) for record in fresh[40:]]  # absent
        batch += [Change(record.key, record) for record in foreign[:5]] + [Change(record.key) for record in foreign[5:]]
        batch += creates(theirs)
        outcomes = await sink.apply(batch, fence)
        assert outcomes.keys() == {change.key for change in batch}
        conflicts = {key for key, outcome in outcomes.items() if outcome.status == "conflict"}
        assert conflicts == {record.key for record in foreign + theirs}
        assert statuses(outcomes) == {"applied", "conflict"}
        there = await etcd.read(bench.prefix)
        assert {key for key in there if "owner-a" in there[key] and ".waypost" not in key} == {
            record.key for record in kept[:40] + fresh[:40]
        }
        assert all(there[record.key] == changed[record.key].content.decode() for record in kept[:40])
        assert all(there[record.key] == "{}" for record in foreign)
        assert await observed(other) == {record.key for record in theirs}


async def test_large_records_go_in_several_requests(bench: Bench) -> None:
    async with bench.claimed() as (sink, fence):
        large = records(sink, 30, metadata={"k": "x" * 200_000})
        assert statuses(await sink.apply(creates(large), fence)) == {"applied"}
        assert await observed(sink) == {record.key for record in large}


async def test_what_this_etcd_finds_too_large_is_invalid_alone(tmp_path: Path) -> None:
    flags = ("--max-request-bytes=20000",)
    async with (
        Etcd(tmp_path / "e", unsafe_no_fsync=True, flags=flags) as etcd,
        Bench(tmp_path, etcd.endpoints).claimed() as (sink, fence),
    ):
        small, (large,) = records(sink, 40), records(sink, 1, metadata={"k": "x" * 50_000})
        outcomes = await sink.apply(creates([*small[1:], large]), fence)
        assert outcomes[large.key].status == "invalid"
        assert "larger than this etcd takes" in outcomes[large.key].reason
        assert await observed(sink) == {record.key for record in small[1:]}


async def test_a_record_of_another_owners_mark_is_not_sent(bench: Bench) -> None:
    async with bench.claimed() as (sink, fence):
        theirs, mine = records(sink, 1, "owner-b")[0], records(sink, 2)[1]
        outcomes = await sink.apply(creates([theirs, mine]), fence)
        assert outcomes[theirs.key].status == "invalid"
        assert outcomes[mine.key].status == "applied"
        with pytest.raises(AdapterError, match="claim it first"):
            await sink.apply(creates([mine]), None)


# --- who may write


async def test_a_sibling_owner_whose_name_begins_alike_is_another(bench: Bench) -> None:
    async with bench.claimed("prod") as (short, one), bench.claimed("prod-eu") as (long, other):
        (first,), (second,) = records(short, 1, "prod"), records(long, 1, "prod-eu")
        await long.apply(creates([second]), other)
        assert first.key == second.key
        assert statuses(await short.apply([Change(first.key, first)], one)) == {"conflict"}
        assert statuses(await short.apply([Change(first.key)], one)) == {"conflict"}
        assert await observed(short) == set()


async def test_of_two_installations_with_one_owner_the_later_claim_writes(bench: Bench) -> None:
    async with bench.claimed() as (old, past), bench.claimed() as (new, present):
        assert present.epoch == past.epoch + 1
        batch = creates(records(old, 100))
        with pytest.raises(Fenced, match="epoch 2, ours is 1"):
            await old.apply(batch, past)
        with pytest.raises(Fenced):
            await old.advance(past)
        assert await observed(new) == set()


async def test_claims_that_race_get_different_epochs(bench: Bench) -> None:
    async with bench.sink() as sink, bench.sink() as other:
        claims = [each.claim("test", "owner-a") for each in (sink, other) for _ in range(3)]
        fences = await asyncio.gather(*claims, return_exceptions=True)
        won = [fence.epoch for fence in fences if isinstance(fence, Fence)]
        assert len(set(won)) == len(won) >= 1
        assert all(isinstance(fence, Fence | AdapterError) for fence in fences)


async def test_of_two_environments_that_race_for_a_new_prefix_one_is_refused(bench: Bench) -> None:
    async with bench.sink("a", "prod") as prod, bench.sink("b", "staging") as staging:
        for _ in range(5):
            both = await asyncio.gather(prod.claim("prod", "a"), staging.claim("staging", "b"), return_exceptions=True)
            assert sum(isinstance(each, Fence) for each in both) == 1
            assert sum(isinstance(each, PermanentError) for each in both) == 1


async def test_a_stamp_that_cannot_be_read_stops_claims_and_says_which(bench: Bench, etcd: Etcd) -> None:
    await etcd.put(f"{bench.prefix}/.waypost/owners/x", "nonsense")
    async with bench.sink() as sink:
        with pytest.raises(PermanentError, match=f"{bench.prefix}/.waypost/owners/x cannot be read"):
            await sink.claim("test", "owner-a")


async def test_an_advance_whose_answer_was_lost_goes_on_from_where_it_got(bench: Bench) -> None:
    async with bench.claimed() as (sink, fence):
        assert await sink.advance(fence) == Fence(1, 1)
        assert await sink.advance(fence) == Fence(1, 2), "asked again with the fence it had"


async def test_a_late_write_of_an_older_generation_does_nothing(bench: Bench) -> None:
    async with bench.claimed() as (sink, fence):
        late = creates(records(sink, 10))
        await sink.advance(fence)
        outcomes = await sink.apply(late, fence)
        assert statuses(outcomes) == {"superseded"}
        assert await observed(sink) == set()


async def test_an_environment_that_hides_among_our_own_keys_is_refused(bench: Bench) -> None:
    with pytest.raises(PermanentError, match="begins with a dot"):
        async with bench.sink(environment=".waypost"):
            pass


# --- what others do meanwhile


class Scripted:
    """Answers transactions from a script: counts them, and tells what was asked."""

    def __init__(self, *answers: rpc.TxnResponse | Exception) -> None:
        self.answers = list(answers)
        self.sent = 0

    async def __call__(self, request: bytes) -> rpc.TxnResponse:
        self.sent += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


TERMS = Terms(b"/w/.waypost/owners/o", "test", Fence(1), b'{"owner":"o",')
STAMP = Stamp("test", 1, 0).encode()
DONE = rpc.TxnResponse(succeeded=True)


def refused(stamp: bytes | None, *values: bytes | None) -> rpc.TxnResponse:
    readings = [
        rpc.RangeResponse(kvs=[rpc.KeyValue(value=each)] if each is not None else []) for each in (stamp, *values)
    ]
    return rpc.TxnResponse(succeeded=False, responses=[rpc.ResponseOp(response_range=each) for each in readings])


def ours(number: int) -> Change:
    return Change(f"/w/{number}", Record(f"/w/{number}", str(number), b'{"owner":"o","n":%d}' % number), create=True)


async def test_a_record_that_others_change_all_the_time_is_left_for_later() -> None:
    send = Scripted(refused(STAMP, b'{"owner":"o","n":2}'))
    outcomes = await write(send, [ours(1)], TERMS)
    assert statuses(outcomes) == {"superseded"}
    assert send.sent == MOST_TRIES


@pytest.mark.parametrize(
    ("then", "status", "sent"),
    [
        (Fenced("past"), "superseded", 2),
        (AdapterError("refused"), "superseded", 2),
        (Uncertain("no answer"), "unknown", 2),
        (refused(Stamp("test", 2, 0).encode(), *[None] * 127), "superseded", 2),
        (refused(Stamp("test", 1, 1).encode(), *[None] * 63), "superseded", 2),
        (refused(None, *[None] * 63), "superseded", 2),
    ],
)
async def test_once_something_is_written_the_rest_has_outcomes_and_nothing_raises(
    then: Any, status: str, sent: int
) -> None:
    batch = [Change(f"/w/{number}") for number in range(126)]  # two transactions
    send = Scripted(DONE, then)
    outcomes = await write(send, batch, TERMS)
    assert [outcomes[change.key].status for change in batch] == ["applied"] * 63 + [status] * 63
    assert send.sent == sent


async def test_after_an_uncertain_transaction_nothing_more_is_sent() -> None:
    batch = [Change(f"/w/{number}") for number in range(126)]
    send = Scripted(Uncertain("no answer"))
    outcomes = await write(send, batch, TERMS)
    assert [outcomes[change.key].status for change in batch] == ["unknown"] * 63 + ["superseded"] * 63
    assert send.sent == 1


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (refused(None, None), NotClaimed),
        (refused(Stamp("test", 9, 0).encode(), None), Fenced),
        (refused(Stamp("other", 1, 0).encode(), None), PermanentError),
        (AdapterError("nowhere"), AdapterError),
    ],
)
async def test_where_nothing_was_written_the_reason_is_raised(first: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await write(Scripted(first), [ours(1)], TERMS)


async def test_answers_too_large_are_asked_for_in_halves_down_to_the_culprit() -> None:
    class Large(Scripted):
        async def __call__(self, request: bytes) -> rpc.TxnResponse:
            self.sent += 1
            if b"/w/5" in request:
                raise TooLarge("answer", answer=True)
            return DONE

    send = Large(DONE)
    outcomes = await write(send, [ours(number) for number in range(9)], TERMS)
    assert outcomes.pop("/w/5").status == "conflict"
    assert statuses(outcomes) == {"applied"}
    assert send.sent < 10


# --- faults of the server


async def test_a_batch_cut_by_kill_9_is_written_as_a_whole_or_not_and_told_unknown(tmp_path: Path) -> None:
    async with Etcd(tmp_path / "e") as etcd:
        bench = Bench(tmp_path, etcd.endpoints)
        async with bench.claimed() as (sink, fence):
            all_ = records(sink, 60 * 100, metadata={"k": "x" * 500})
            batches = [all_[start : start + 100] for start in range(0, len(all_), 100)]
            tasks = [asyncio.create_task(sink.apply(creates(batch), fence)) for batch in batches]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await etcd.kill9()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert not [
                each for each in results if isinstance(each, BaseException) and not isinstance(each, AdapterError)
            ]
            told = [each if isinstance(each, AdapterError) else statuses(each) for each in results]
            assert {"applied"} in told
            assert {"unknown"} in told
            await etcd.start()
            there = await observed(sink)
            for batch, result in zip(batches, told, strict=True):
                found = {record.key for record in batch} & there
                assert len(found) in (0, 100), "a transaction is whole"
                if result == {"applied"}:
                    assert found, "acknowledged and lost"
                if isinstance(result, AdapterError):
                    assert not found, "said to be unsent, and written"


async def test_a_hung_server_makes_outcomes_unknown_and_the_late_write_is_fenced_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Etcd(tmp_path / "e", unsafe_no_fsync=True) as etcd,
        Bench(tmp_path, etcd.endpoints).claimed() as (sink, fence),
    ):
        sink._client.call_seconds = 1.0
        (record,) = records(sink, 1)
        assert await observed(sink) == set()
        await etcd.pause()
        try:
            outcomes = await sink.apply(creates([record]), fence)
            assert statuses(outcomes) == {"unknown"}
        finally:
            await etcd.resume()
        higher = await sink.advance(fence)
        assert higher.generation == 1
        before = await observed(sink)  # the late write came before the new generation, or never
        await asyncio.sleep(0.5)
        assert await observed(sink) == before
        assert statuses(await sink.apply([Change(record.key, record)], higher)) == {"applied"}


async def test_a_dead_member_among_several_is_no_matter(tmp_path: Path) -> None:
    async with EtcdCluster(tmp_path / "c", unsafe_no_fsync=True) as cluster:
        dead = f"http://127.0.0.1:{free_port()}"
        async with Bench(tmp_path, [dead, *cluster.endpoints]).claimed() as (sink, fence):
            first, second = records(sink, 2)
            assert statuses(await sink.apply(creates([first]), fence)) == {"applied"}
            await cluster.members[0].kill9()
            async with asyncio.timeout(30):
                while True:
                    try:
                        done = statuses(await sink.apply([Change(second.key, second)], fence))
                    except AdapterError:
                        continue
                    if done == {"applied"}:
                        break
            assert await observed(sink) == {first.key, second.key}


async def test_a_target_that_lost_everything_is_claimed_again_above_the_old_epoch(tmp_path: Path) -> None:
    async with (
        Etcd(tmp_path / "e", unsafe_no_fsync=True) as etcd,
        Bench(tmp_path, etcd.endpoints).claimed() as (sink, fence),
    ):
        await sink.apply(creates(records(sink, 10)), fence)
        await etcd.restart(keep_state=False, kill=True)
        with pytest.raises(NotClaimed, match="lost its data"):
            await sink.apply(creates(records(sink, 10)), fence)
        with pytest.raises(NotClaimed):
            await sink.advance(fence)
        again = await sink.claim("test", "owner-a", past=fence.epoch)
        assert again == Fence(fence.epoch + 1)
        assert statuses(await sink.apply(creates(records(sink, 10)), again)) == {"applied"}


async def test_with_nobody_there_it_opens_and_each_call_names_the_endpoint(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with Bench(tmp_path, [url]).sink() as sink:
        calls: list[Callable[[], Any]] = [
            lambda: sink.claim("test", "owner-a"),
            lambda: sink.advance(Fence(1)),
            lambda: sink.apply(creates(records(sink, 1)), Fence(1)),
            lambda: sink.inspect(["web"]),
            lambda: observed(sink),
            lambda: sink.drift(lambda _: None),
        ]
        for call in calls:
            with pytest.raises(AdapterError, match=url):
                await call()


# --- what is there


async def test_inspect_finds_a_name_in_every_namespace_and_stops_at_a_hundred(bench: Bench, etcd: Etcd) -> None:
    async with bench.claimed() as (sink, fence):
        await sink.apply(creates(records(sink, 100)), fence)
        base = f"{bench.prefix}/test"
        for namespace in ("a", "shop", "z%2Fz"):
            await etcd.put(f"{base}/{namespace}/web/x", "{}")
            await etcd.put(f"{base}/{namespace}/web2/x", "{}")
            await etcd.put(f"{base}/{namespace}/we%2Fb/x", "{}")
        await etcd.put(f"{base}/odd", "{}")
        found = [(each.key, each.name) for each in await sink.inspect(["web", "we/b"])]
        assert found == [
            (f"{base}/{namespace}/{part}/x", name)
            for namespace in ("a", "shop", "z%2Fz")
            for part, name in (("web", "web"), ("we%2Fb", "we/b"))
        ]
        for number in range(150):
            await etcd.put(f"{base}/shop/web/many-{number}", "{}")
        assert len(await sink.inspect(["web"])) == 100


async def test_damaged_records_of_ours_are_left_alone_and_told(bench: Bench, etcd: Etcd) -> None:
    async with bench.claimed() as (sink, fence):
        good, bad = records(sink, 2)
        await sink.apply(creates([good]), fence)
        await etcd.put(bad.key, '{"owner":"owner-a","registration":')
        assert await observed(sink) == {good.key}
        assert [reason for reason, _ in bench.context.warnings] == ["DamagedRecords"]
        assert statuses(await sink.apply(creates([bad]), fence)) == {"applied"}, (
            "a registration that writes it heals it"
        )
        assert await observed(sink) == {good.key, bad.key}


@pytest.mark.parametrize(
    ("endpoint", "warned"),
    [
        ("http://192.0.2.1:2379", ["PlainTextPassword"]),
        ("http://etcd.example:2379", ["PlainTextPassword"]),
        ("https://192.0.2.1:2379", []),
        ("http://127.0.0.2:2379", []),
        ("http://[::1]:2379", []),
        ("http://localhost:2379", []),
    ],
)
async def test_a_password_over_plain_http_to_another_machine_is_warned_of(
    endpoint: str, warned: list[str], tmp_path: Path
) -> None:
    context = TestContext(
        tmp_path, environment="test", owner="o", credentials={"username": "u", "password": "open-word"}
    )
    async with SINK.open(EtcdConfig(endpoints=(endpoint,)), context):
        assert [reason for reason, _ in context.warnings] == warned
    assert "open-word" not in repr(context.warnings)


# --- drift


class Marks:
    def __init__(self) -> None:
        self.keys: list[str | None] = []
        self._changed = asyncio.Event()

    def __call__(self, keys: Iterable[str] | None) -> None:
        self.keys += [None] if keys is None else sorted(keys)
        self._changed.set()

    async def has(self, key: str | None) -> None:
        async with asyncio.timeout(20):
            while key not in self.keys:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def drifting(sink: EtcdSink, marks: Marks) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(sink.drift(marks))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_drift_marks_what_others_do_and_not_our_own_writes(bench: Bench, etcd: Etcd) -> None:
    marks = Marks()
    async with bench.claimed() as (sink, fence):
        await observed(sink)
        async with drifting(sink, marks):
            await etcd.put(f"{bench.prefix}/begin", "{}")
            await marks.has(f"{bench.prefix}/begin")
            all_ = records(sink, 500)
            for start in range(0, 500, 100):
                await sink.apply(creates(all_[start : start + 100]), fence)
            await sink.advance(fence)
            await etcd.delete(all_[7].key)
            await etcd.put(all_[8].key, all_[9].content.decode())
            await marks.has(all_[8].key)
    assert marks.keys == [f"{bench.prefix}/begin", all_[7].key, all_[8].key]


async def test_drift_goes_on_where_it_was_when_it_is_called_again(bench: Bench, etcd: Etcd) -> None:
    marks = Marks()
    async with bench.claimed() as (sink, fence):
        (record,) = records(sink, 1)
        await observed(sink)
        await sink.apply(creates([record]), fence)
        await etcd.put(f"{bench.prefix}/between-view-and-watch", "{}")
        async with drifting(sink, marks):
            await marks.has(f"{bench.prefix}/between-view-and-watch")
        await etcd.put(f"{bench.prefix}/while-away", "{}")
        async with drifting(sink, marks):
            await marks.has(f"{bench.prefix}/while-away")
    assert None not in marks.keys


@pytest.mark.parametrize("kept", [True, False])
async def test_drift_says_that_anything_may_differ_where_it_cannot_know(tmp_path: Path, kept: bool) -> None:
    marks = Marks()
    async with Etcd(tmp_path / "e", unsafe_no_fsync=True) as etcd:
        bench = Bench(tmp_path, etcd.endpoints)
        async with bench.claimed() as (sink, _):
            for number in range(5):
                await etcd.put(f"/elsewhere/{number}", "x")
            await observed(sink)
            async with drifting(sink, marks):
                await etcd.put(f"{bench.prefix}/a", "{}")
                await marks.has(f"{bench.prefix}/a")
            if kept:
                for number in range(10):
                    await etcd.put(f"{bench.prefix}/b", str(number))
                revision = (await etcd.call("maintenance/status", {}))["header"]["revision"]
                await etcd.call("kv/compaction", {"revision": revision, "physical": True})
            else:
                await etcd.restart(keep_state=False, kill=True)
            async with drifting(sink, marks):
                await marks.has(None)
                await etcd.put(f"{bench.prefix}/after", "{}")
                await marks.has(f"{bench.prefix}/after")


async def test_outcomes_are_for_names_and_the_client_is_closed_with_the_sink(bench: Bench) -> None:
    async with bench.claimed() as (sink, fence):
        (record,) = records(sink, 1)
        assert await sink.apply(creates([record]), fence) == {record.key: Outcome("applied")}
        client: Client = sink._client
        async with client.link() as link:
            pass
    assert link.retired
    assert sink.above("web") == ()
