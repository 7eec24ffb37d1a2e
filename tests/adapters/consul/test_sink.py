"""What the consul sink does beyond what every sink does: on real servers, read back by other people's clients."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from testbed import witness
from testbed.proxy import Proxy
from testbed.servers import Consul
from waypost.adapter import AdapterError, Change, Fence, Fenced, Observed, Outcome, PermanentError, Record, fingerprint
from waypost.model import Address, PublishedInstance
from waypost.testing import rendering
from waypost.testing.context import TestContext
from waypost_adapters.consul import SINK
from waypost_adapters.consul.config import Config, Options
from waypost_adapters.consul.sink import ConsulSink

OWNER = "owner-a"
STAMP = f"waypost/{OWNER}/stamp"


class Opened(msgspec.Struct):
    """A sink on a server, claimed."""

    sink: ConsulSink
    context: TestContext
    fence: Fence

    async def apply(self, *changes: Change) -> dict[str, Outcome]:
        return dict(await self.sink.apply(changes, self.fence))

    async def put(self, *records: Record, create: bool = True) -> None:
        size = self.sink.limits.records
        for at in range(0, len(records), size):
            outcomes = await self.apply(*(Change(record.key, record, create) for record in records[at : at + size]))
            assert {outcome.status for outcome in outcomes.values()} == {"applied"}, outcomes

    async def observed(self) -> dict[str, Observed]:
        return {each.key: each async for each in self.sink.observe()}


def records(
    sink: ConsulSink, instances: Iterable[PublishedInstance], stem: str = "web", options: Options | None = None
) -> list[Record]:
    return rendering.records(sink, rendering.publication([stem], options=options), instances)


def some(sink: ConsulSink, count: int, stem: str = "web") -> list[Record]:
    return records(sink, (rendering.instance(f"i-{number}", number) for number in range(count)), stem)


@asynccontextmanager
async def unclaimed(
    address: str, folder: Path, *, environment: str = "test", owner: str = OWNER, token: str = "", **config: Any
) -> AsyncIterator[tuple[ConsulSink, TestContext]]:
    credentials = {"token": token} if token else {}
    context = TestContext(folder, environment=environment, owner=owner, credentials=credentials)
    made = msgspec.convert({"address": address, "nodes": 4, **config}, Config)
    async with SINK.open(made, context) as sink:
        yield sink, context


@asynccontextmanager
async def claimed(address: str, folder: Path, **arguments: Any) -> AsyncIterator[Opened]:
    async with unclaimed(address, folder, **arguments) as (sink, context):
        fence = await sink.claim(context.environment, context.owner)
        assert fence is not None
        yield Opened(sink, context, fence)


@pytest.fixture
async def server(consul: Consul) -> Consul:
    """The shared server, wiped."""
    for node in await consul.call("GET", "/v1/catalog/nodes?consistent"):
        if node["Node"] != "testbed":
            await consul.call("PUT", "/v1/catalog/deregister", {"Node": node["Node"]})
    await consul.call("DELETE", "/v1/kv/waypost/?recurse")
    return consul


async def catalog(server: Consul, name: str = "web") -> dict[str, dict[str, Any]]:
    found = await server.call("GET", f"/v1/catalog/service/{name}?consistent")
    return {f"{each['Node']}/{each['ServiceID']}": each for each in found}


async def nodes(server: Consul) -> dict[str, Any]:
    found = await server.call("GET", "/v1/catalog/nodes?consistent")
    return {node["Node"]: node for node in found if node["Node"] != "testbed"}


async def deregister(server: Consul, key: str) -> None:
    node, _, ident = key.partition("/")
    await server.call("PUT", "/v1/catalog/deregister", {"Node": node, "ServiceID": ident})


# --- what others see


async def test_consuls_dns_and_another_client_show_what_was_published(server: Consul, tmp_path: Path) -> None:
    options = Options(tags=("v{label:version}",), tags_from_labels=("app",))
    down = rendering.instance("down", 3, ready=False)
    six = rendering.instance("six", 4, addresses=(Address("2001:db8::7"), Address("10.9.9.9")))
    async with claimed(server.address, tmp_path) as ours:
        shown = [rendering.instance("one", 1), rendering.instance("two", 2), down, six]
        await ours.put(*records(ours.sink, shown, options=options))
    seen = {each["id"]: each for each in (await witness.consul_services(server.address, name="web"))["web"]}
    assert seen.keys() == {f"web:source:{name}" for name in ("one", "two", "down", "six")}
    one = seen["web:source:one"]
    assert (one["address"], one["port"], one["tags"]) == ("10.0.0.1", 8001, ["app=web", "v1"])
    assert one["node"].startswith("waypost-owner-a-")
    assert one["node_meta"]["external-node"] == "true"
    assert one["weights"] == {"Passing": 2, "Warning": 1}
    assert one["meta"]["version"] == "1"
    assert one["meta"]["waypost-registration"] == "shop/web"
    statuses = {ident: [check["status"] for check in each["checks"].values()] for ident, each in seen.items()}
    assert statuses.pop("web:source:down") == ["critical"]
    assert set(map(tuple, statuses.values())) == {("passing",)}
    assert seen["web:source:six"]["meta"]["waypost-addresses"] == "10.9.9.9"
    dns = server.dns_port
    assert (await witness.dig("127.0.0.1", dns, "web.service.consul")).data == ["10.0.0.1", "10.0.0.2"]
    assert (await witness.dig("127.0.0.1", dns, "web.service.consul", "AAAA")).data == ["2001:db8::7"]
    assert (await witness.dig("127.0.0.1", dns, "v2.web.service.consul")).data == ["10.0.0.2"]
    srv = (await witness.dig("127.0.0.1", dns, "web.service.consul", "SRV", tcp=True)).data
    assert sorted(line.rsplit(" ", 1)[0] for line in srv) == ["1 2 8001", "1 3 8002", "1 5 8004"]
    missing = await witness.dig("127.0.0.1", dns, "gone.service.consul")
    assert missing.status == "NXDOMAIN"


async def test_the_stamp_says_whose_this_consul_is(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path) as ours:
        await ours.sink.advance(ours.fence)
    (item,) = await server.call("GET", f"/v1/kv/{STAMP}")
    stamp = {"environment": "test", "owner": OWNER, "epoch": 1, "generation": 1, "nodes": 4}
    assert json.loads(base64.b64decode(item["Value"])) == stamp


async def test_a_restart_writes_nothing_but_the_stamp(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path) as ours:
        written = some(ours.sink, 30)
        await ours.put(*written)
    before = (await catalog(server), await nodes(server), await server.call("GET", "/v1/health/checks/web"))
    async with claimed(server.address, tmp_path) as again:
        observed = await again.observed()
        same = some(again.sink, 30)
        assert {key: each.fingerprint for key, each in observed.items()} == {
            record.key: fingerprint(record.content) for record in same
        }
        await again.put(*same, create=False)  # even written again, nothing changes
    after = (await catalog(server), await nodes(server), await server.call("GET", "/v1/health/checks/web"))
    assert after == before, "an index or a content has changed"


# --- what stops it


async def test_another_number_of_nodes_is_refused(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path):
        pass
    async with unclaimed(server.address, tmp_path, nodes=5) as (sink, _):
        with pytest.raises(
            PermanentError, match=r"`nodes` is immutable: .* spread over 4 nodes, and the manifest says 5"
        ):
            await sink.claim("test", OWNER)


@pytest.mark.parametrize("key", [STAMP, "waypost/other/stamp"])
async def test_a_stamp_that_cannot_be_read_stops_the_claim(server: Consul, tmp_path: Path, key: str) -> None:
    await server.call("PUT", f"/v1/kv/{key}", {"not": "a stamp"})
    async with unclaimed(server.address, tmp_path) as (sink, _):
        with pytest.raises(PermanentError, match=f"{key} is not a stamp"):
            await sink.claim("test", OWNER)


async def test_of_two_environments_that_claim_at_once_exactly_one_stays(server: Consul, tmp_path: Path) -> None:
    async with (
        unclaimed(server.address, tmp_path) as (one, _),
        unclaimed(server.address, tmp_path, owner="owner-b", environment="staging") as (two, _),
    ):
        for _ in range(20):
            await server.call("DELETE", "/v1/kv/waypost/?recurse")
            claims = one.claim("test", OWNER), two.claim("staging", "owner-b")
            results = await asyncio.gather(*claims, return_exceptions=True)
            stamps = await server.call("GET", "/v1/kv/waypost/?recurse&keys")
            assert sorted(type(result).__name__ for result in results) == ["Fence", "PermanentError"]
            assert stamps == [STAMP if isinstance(results[0], Fence) else "waypost/owner-b/stamp"]


async def test_a_node_of_somebody_elses_is_never_written_to(server: Consul, tmp_path: Path) -> None:
    agent = {"Node": "waypost-owner-a-02", "Address": "10.0.0.9"}
    await server.call("PUT", "/v1/catalog/register", agent)
    async with unclaimed(server.address, tmp_path) as (sink, _):
        with pytest.raises(PermanentError, match="`waypost-owner-a-02` that is not ours"):
            await sink.claim("test", OWNER)


async def test_a_node_that_appears_later_is_not_written_to_either(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path) as ours:
        for number in range(4):
            agent = {"Node": f"waypost-owner-a-0{number}", "Address": "10.0.0.9"}
            await server.call("PUT", "/v1/catalog/register", agent)
        with pytest.raises(PermanentError, match="that is not ours"):
            await ours.apply(*(Change(record.key, record, True) for record in some(ours.sink, 8)))
    assert await catalog(server) == {}


@pytest.mark.server("consul")
async def test_without_a_leader_nothing_is_empty(tmp_path: Path) -> None:
    lonely = Consul(tmp_path / "lonely", settings={"bootstrap_expect": 3, "performance": {"rpc_hold_timeout": "200ms"}})
    lonely.launch()
    try:
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(OSError, ValueError):
                    await lonely.call("GET", "/v1/agent/metrics")
                    break
                await asyncio.sleep(0.05)
        async with unclaimed(lonely.address, tmp_path) as (sink, _):
            for call in (sink.claim("test", OWNER), sink.inspect(["web"]), anext(aiter(sink.observe()))):
                with pytest.raises(AdapterError, match=r"[Nn]o cluster leader"):
                    await call
    finally:
        await lonely.kill9()


@pytest.mark.parametrize(
    ("address", "token", "warned"),
    [
        ("http://192.0.2.1:8500", "t", ["PlainTextToken"]),
        ("192.0.2.1", "t", ["PlainTextToken"]),
        ("https://192.0.2.1:8501", "t", []),
        ("http://192.0.2.1:8500", "", []),
        ("http://127.0.0.1:8500", "t", []),
    ],
)
async def test_a_token_in_plain_text_is_warned_of(
    address: str, token: str, warned: Sequence[str], tmp_path: Path
) -> None:
    async with unclaimed(address, tmp_path, token=token) as (_, context):
        assert [reason for reason, _ in context.warnings] == warned


@pytest.mark.parametrize("owner", ["", "Prod", "a/b", "a b", "-a", "x" * 49])
async def test_an_owner_that_makes_no_node_name_is_refused(owner: str, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="ownerID"):
        async with unclaimed("127.0.0.1", tmp_path, owner=owner):
            pass


# --- refusals in a batch


async def test_a_node_that_others_removed_is_made_again_in_the_same_call(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path) as ours:
        await ours.put(*some(ours.sink, 20))
        for node in await nodes(server):
            await server.call("PUT", "/v1/catalog/deregister", {"Node": node})
        again = some(ours.sink, 20)
        await ours.put(*again)
        assert (await ours.observed()).keys() == {record.key for record in again}
    assert {node["Meta"]["waypost-owner"] for node in (await nodes(server)).values()} == {OWNER}


async def test_a_transaction_that_is_too_large_is_split(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path) as ours:
        assert ours.sink.limits.records == 63
        ours.sink._catalog.operations = 1024  # as if this server took as many
        written = some(ours.sink, 300)
        outcomes = await ours.apply(*(Change(record.key, record, True) for record in written))
        assert {outcome.status for outcome in outcomes.values()} == {"applied"}
        assert (await ours.observed()).keys() == {record.key for record in written}


@pytest.mark.server("consul")
async def test_a_record_that_this_server_finds_too_large_fails_alone(tmp_path: Path) -> None:
    limits = {"txn_max_req_len": 4096, "kv_max_value_size": 4096}
    async with (
        Consul(tmp_path / "small", settings={"limits": limits}) as server,
        claimed(server.address, tmp_path) as ours,
    ):
        large = rendering.instance("large", metadata={f"k{number}": "x" * 500 for number in range(10)})
        written = records(ours.sink, [*(rendering.instance(f"i-{number}", number) for number in range(20)), large])
        outcomes = await ours.apply(*(Change(record.key, record, True) for record in written))
        assert [outcomes[record.key].status for record in written] == ["applied"] * 20 + ["invalid"]
        assert "too large" in outcomes[written[-1].key].reason
        assert len(await catalog(server)) == 20


async def test_a_record_that_changes_while_it_is_written_is_read_again(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path) as ours:
        mine, taken = some(ours.sink, 2)
        await ours.put(mine, taken)
        meddled: list[bool] = []
        send = ours.sink._writing._client.transact

        async def meddle(body: bytes) -> Any:
            if b'"cas"' in body and not meddled:
                meddled.append(True)
                for record, meta in ((mine, (await catalog(server))[mine.key]["ServiceMeta"]), (taken, {})):
                    node, _, ident = record.key.partition("/")
                    service: dict[str, Any] = {"ID": ident, "Service": "web", "Port": 1, "Meta": meta}
                    change = {"Node": node, "SkipNodeUpdate": True, "Service": service}
                    await server.call("PUT", "/v1/catalog/register", change)
            return await send(body)

        ours.sink._writing._client.transact = meddle  # type: ignore[method-assign]
        changed = records(ours.sink, [rendering.instance(f"i-{number}", number + 50) for number in range(2)])
        outcomes = await ours.apply(*(Change(record.key, record) for record in changed))
        assert meddled
        assert [outcomes[record.key].status for record in changed] == ["applied", "conflict"]
        found = await catalog(server)
        assert (found[mine.key]["ServicePort"], found[taken.key]["ServicePort"]) == (8050, 1)


async def test_what_others_altered_is_seen_and_restored(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path) as ours:
        written = some(ours.sink, 6)
        await ours.put(*written)
        original = await catalog(server)

        async def alter(record: Record, **fields: object) -> None:
            node, _, ident = record.key.partition("/")
            entry = original[record.key]
            keep = {"Address": entry["ServiceAddress"], "Port": entry["ServicePort"], "Meta": entry["ServiceMeta"]}
            weights = entry["ServiceWeights"]
            service = {"ID": ident, "Service": "web", "Weights": weights, **keep, **fields}
            await server.call("PUT", "/v1/catalog/register", {"Node": node, "SkipNodeUpdate": True, "Service": service})

        meta = original[written[5].key]["ServiceMeta"]
        await alter(written[0], Tags=["added"])
        await alter(written[1], TaggedAddresses={"wan": {"Address": "192.0.2.1", "Port": 1}})
        await alter(written[2], EnableTagOverride=True)
        node, _, ident = written[3].key.partition("/")
        await server.call("PUT", "/v1/catalog/deregister", {"Node": node, "CheckID": f"waypost:{ident}"})
        node, _, ident = written[4].key.partition("/")
        check = {"CheckID": f"waypost:{ident}", "Name": "x", "Status": "critical", "ServiceID": ident}
        await server.call("PUT", "/v1/catalog/register", {"Node": node, "SkipNodeUpdate": True, "Check": check})
        await alter(written[5], Meta={key: value for key, value in meta.items() if key != "waypost-instance"})
        observed = await ours.observed()
        assert written[5].key not in observed, "it no longer says which instance it is"
        wrong = [observed[record.key].fingerprint == fingerprint(record.content) for record in written[:5]]
        assert wrong == [False] * 5
        assert [observed[record.key].ready for record in written[:5]] == [True, True, True, False, False]
        await ours.put(*written[:5], create=False)
        await ours.put(written[5], create=True)
        healed = await ours.observed()
        assert all(healed[record.key].fingerprint == fingerprint(record.content) for record in written)


# --- faults


@pytest.mark.server("consul")
async def test_a_server_that_is_killed_keeps_all_that_was_acknowledged(tmp_path: Path) -> None:
    async with Consul(tmp_path / "consul") as server:
        async with claimed(server.address, tmp_path) as ours:
            written = some(ours.sink, 2000)
            told: dict[str, str] = {}
            some_done = asyncio.Event()

            async def write(part: list[Record]) -> None:
                try:
                    outcomes = await ours.apply(*(Change(record.key, record, True) for record in part))
                except AdapterError:
                    outcomes = {}
                told.update({key: outcome.status for key, outcome in outcomes.items()})
                if len(told) > 400:
                    some_done.set()

            async def four(parts: list[list[Record]]) -> None:
                for part in parts:
                    await write(part)

            parts = [written[at : at + 40] for at in range(0, len(written), 40)]
            async with asyncio.TaskGroup() as group:
                for first in range(4):
                    group.create_task(four(parts[first::4]))
                await some_done.wait()
                await server.kill9()
        applied = {key for key, status in told.items() if status == "applied"}
        assert set(told.values()) <= {"applied", "unknown"}
        assert 400 < len(applied) < len(written)
        await server.start()
        async with claimed(server.address, tmp_path) as again:
            assert again.fence.epoch == 2
            found = (await again.observed()).keys()
            assert applied <= found
            assert found <= told.keys(), "what was refused before it was sent is there"
            await again.put(*written)
            assert (await again.observed()).keys() == {record.key for record in written}


async def test_a_write_that_arrives_late_is_refused_by_consul_itself(server: Consul, tmp_path: Path) -> None:
    async with Proxy(server.address) as proxy, claimed(f"http://{proxy.address}", tmp_path) as ours:
        kept, late = some(ours.sink, 2)
        await ours.put(kept, create=True)
        before = await catalog(server)
        for change in (Change(late.key, late, True), Change(kept.key)):
            if change.record is None:
                ours.sink._catalog.look = found_before(await ours.sink._catalog.look([kept.key]))  # type: ignore[method-assign]
            await proxy.hang()
            writing = asyncio.create_task(ours.apply(change))
            await asyncio.sleep(0.2)
            assert not writing.done()
            async with claimed(server.address, tmp_path) as other:
                assert other.fence > ours.fence
            await proxy.heal()  # what was held back arrives now
            with pytest.raises(Fenced):
                await writing
            assert await catalog(server) == before
            ours.fence = await reclaimed(ours)


def found_before(seen: dict[str, Any]) -> Any:
    async def look(_: object) -> dict[str, Any]:
        return seen

    return look


async def reclaimed(ours: Opened) -> Fence:
    fence = await ours.sink.claim("test", OWNER)
    assert fence is not None
    return fence


async def test_a_check_of_somebody_elses_in_our_checks_place_stays(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path) as ours:
        first, *others = some(ours.sink, 8)
        await ours.put(*others)
        node, _, ident = first.key.partition("/")
        check = {"CheckID": f"waypost:{ident}", "Name": "theirs", "Status": "warning"}
        await server.call("PUT", "/v1/catalog/register", {"Node": node, "SkipNodeUpdate": True, "Check": check})
        outcome = (await ours.apply(Change(first.key, first, True)))[first.key]
        assert outcome == Outcome("conflict", "a check of that id is there, and it is not ours")
        found = await server.call("GET", f"/v1/health/node/{node}")
        assert [each["Name"] for each in found if each["CheckID"] == check["CheckID"]] == ["theirs"]
    assert first.key not in await catalog(server)


# --- tokens


@pytest.fixture(scope="module")
def rules() -> str:
    return (
        'node_prefix "waypost-owner-a-" {policy = "write"} service_prefix "web" {policy = "write"} '
        'key_prefix "waypost/" {policy = "read"} key "waypost/owner-a/stamp" {policy = "write"}'
    )


async def claim_and_write(sink: ConsulSink) -> None:
    fence = await sink.claim("test", OWNER)
    fresh = some(sink, 5, "web-2")
    await sink.apply([Change(record.key, record, True) for record in fresh], fence)


@pytest.mark.server("consul")
async def test_tokens_that_are_wrong_or_lack_something_are_told_and_never_shown(tmp_path: Path, rules: str) -> None:
    async with Consul(tmp_path / "consul", acl=True) as server:
        token = await server.limited_token(rules)
        wrong = "11111111-2222-3333-4444-555555555555"
        async with unclaimed(server.address, tmp_path, token=wrong) as (sink, context):
            with pytest.raises(PermanentError, match="the token is unknown or lacks a permission") as raised:
                await sink.claim("test", OWNER)
            assert wrong not in str(raised.value)
            context.credentials.set("token", token)
            fence = await sink.claim("test", OWNER)
            assert fence is not None
            ours = Opened(sink, context, fence)
            allowed, denied = some(sink, 1, "web-1")[0], some(sink, 1, "other")[0]
            outcomes = await ours.apply(Change(allowed.key, allowed, True), Change(denied.key, denied, True))
            assert outcomes[allowed.key].status == "applied", outcomes
            assert outcomes[denied.key].status == "invalid"
            assert "the token lacks a permission for it" in outcomes[denied.key].reason
            context.credentials.set("token", wrong)
            for call in (ours.apply(Change(allowed.key)), ours.observed(), sink.advance(fence)):
                with pytest.raises(PermanentError, match="token"):
                    await call
        for line, told in (
            ('key_prefix "waypost/" {policy = "read"}', "waypost/"),
            ('key "waypost/owner-a/stamp" {policy = "write"}', "waypost/owner-a/stamp"),
            ('node_prefix "waypost-owner-a-" {policy = "write"}', "node"),
        ):
            less = await server.limited_token(rules.replace(line, ""))
            async with unclaimed(server.address, tmp_path, token=less) as (sink, context):
                with pytest.raises(PermanentError, match="token") as raised:
                    await claim_and_write(sink)
                assert told in str(raised.value), f"without {line}: {raised.value}"


@pytest.mark.server("consul")
async def test_a_token_that_may_not_see_all_of_our_records_observes_nothing(tmp_path: Path, rules: str) -> None:
    async with Consul(tmp_path / "consul", acl=True) as server:
        assert server.token is not None
        async with claimed(server.address, tmp_path, token=server.token) as ours:
            await ours.put(*some(ours.sink, 5), *some(ours.sink, 5, "other"))
            ours.context.credentials.set("token", await server.limited_token(rules))
            with pytest.raises(PermanentError, match="may not read all of"):
                await ours.observed()


# --- drift


async def test_drift_marks_exactly_what_others_did(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path) as ours:
        await ours.put(*some(ours.sink, 40))
        removed, altered, away, left, *_ = some(ours.sink, 40)
        await ours.observed()
        marked: set[str] = set()
        heard = asyncio.Event()

        def mark(keys: Iterable[str] | None) -> None:
            assert keys is not None, "it knew what was there, and marks everything"
            marked.update(keys)
            heard.set()

        async def until(*keys: str) -> None:
            async with asyncio.timeout(20):
                while not marked.issuperset(keys):
                    await heard.wait()
                    heard.clear()

        drifting = asyncio.create_task(ours.sink.drift(mark))
        try:
            await deregister(server, removed.key)
            await until(removed.key)
            node, _, ident = altered.key.partition("/")
            change = {"ID": ident, "Service": "web", "Port": 1}
            await server.call("PUT", "/v1/catalog/register", {"Node": node, "SkipNodeUpdate": True, "Service": change})
            await until(altered.key)
            assert marked == {removed.key, altered.key}
            more = some(ours.sink, 80)[40:]
            await ours.put(*more)  # our own: a creation, a change, a deletion
            await ours.put(*records(ours.sink, [rendering.instance("i-3", 77)]), create=False)
            assert (await ours.apply(Change(away.key)))[away.key].status == "applied"
            strange = {"Node": left.key.partition("/")[0], "SkipNodeUpdate": True}
            await server.call("PUT", "/v1/catalog/register", {**strange, "Service": {"ID": "x", "Service": "new"}})
            foreign = f"{strange['Node']}/x"
            await until(foreign)
            assert marked == {removed.key, altered.key, foreign}
        finally:
            drifting.cancel()
            await asyncio.wait([drifting])


@pytest.mark.server("consul")
async def test_drift_ends_with_an_error_when_consul_goes_away(tmp_path: Path) -> None:
    async with Consul(tmp_path / "consul") as server, claimed(server.address, tmp_path) as ours:
        await ours.observed()
        drifting = asyncio.create_task(ours.sink.drift(lambda _: None))
        await asyncio.sleep(0.5)
        await server.kill9()
        with pytest.raises(AdapterError, match=f"127.0.0.1:{server.port}"):
            async with asyncio.timeout(20):
                await drifting
