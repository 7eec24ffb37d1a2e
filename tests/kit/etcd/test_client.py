"""The client against real servers: fail-over, TLS, users, hung and cut servers; each call ends in time."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from testbed.ports import free_port
from testbed.servers import Etcd, EtcdCluster
from testbed.tls import Authority
from waypost.adapter import AdapterError, PermanentError
from waypost.kit.etcd import rpc_pb2 as rpc
from waypost.kit.etcd import wire
from waypost.kit.etcd.client import Client
from waypost.kit.etcd.faults import Refused, Uncertain, Unreached
from waypost.testing.context import RotatingCredentials

pytestmark = pytest.mark.server("etcd")


async def put(client: Client, key: str, value: str) -> bool:
    answer = await client.txn(wire.put(key.encode(), value.encode()))
    return answer.succeeded


async def get(client: Client, key: str) -> str | None:
    answer = await client.range(rpc.RangeRequest(key=key.encode()))
    return answer.kvs[0].value.decode() if answer.kvs else None


async def test_a_transaction_writes_and_a_range_reads_it(etcd: Etcd, connect: Any) -> None:
    async with connect(etcd.endpoints) as client:
        assert await put(client, "/client/a", "1")
        assert await get(client, "/client/a") == "1"
        assert await get(client, "/client/b") is None
        refused = await client.txn(
            wire.absent(b"/client/a") + wire.put(b"/client/a", b"2") + wire.read_instead(b"/client/a")
        )
        assert not refused.succeeded
        assert refused.responses[0].response_range.kvs[0].value == b"1"
    assert (await etcd.read("/client/")) == {"/client/a": "1"}


async def test_a_dead_member_is_passed_over_and_the_living_one_is_remembered(etcd: Etcd, connect: Any) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    async with connect([dead, etcd.endpoint]) as client:
        assert await put(client, "/client/failover", "1")
        async with client.link() as first, client.link() as second:
            assert first is second
            assert first.endpoint.url == etcd.endpoint


async def test_with_all_members_dead_nothing_was_sent_and_each_is_named(connect: Any) -> None:
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    async with connect(urls) as client:
        with pytest.raises(Unreached) as raised:
            await put(client, "/a", "1")
    for url in urls:
        assert f"etcd {url}: failed to connect" in str(raised.value)


async def test_a_member_killed_between_calls_is_replaced_by_the_next_without_an_error(
    tmp_path: Path, connect: Any
) -> None:
    async with EtcdCluster(tmp_path / "c", unsafe_no_fsync=True) as cluster, connect(cluster.endpoints) as client:
        assert await put(client, "/a", "1")
        await cluster.members[0].kill9()
        assert await get(client, "/a") == "1"
        async with client.link() as link:
            assert link.endpoint.url != cluster.endpoints[0]


async def test_a_member_without_a_leader_is_passed_over(tmp_path: Path, connect: Any) -> None:
    async with EtcdCluster(tmp_path / "c", unsafe_no_fsync=True) as cluster, connect(cluster.endpoints[:1]) as client:
        assert await put(client, "/a", "1")
        await asyncio.gather(*(member.kill9() for member in cluster.members[1:]))
        async with client.link() as link:
            await client.retire(link)
        deadline = time.monotonic() + 20
        while True:
            with pytest.raises(AdapterError) as raised:
                await put(client, "/a", "2")
            if "no leader" in str(raised.value):
                break
            assert time.monotonic() < deadline, raised.value
        assert isinstance(raised.value, Unreached), "a member that cannot serve did nothing"


async def test_a_hung_server_leaves_a_write_uncertain_in_time_and_reads_go_elsewhere(
    tmp_path: Path, connect: Any
) -> None:
    async with EtcdCluster(tmp_path / "c", unsafe_no_fsync=True) as cluster:
        hung = cluster.members[0]
        async with connect(cluster.endpoints, call_seconds=1.0) as client:
            assert await put(client, "/a", "1")
            await hung.pause()
            try:
                began = time.monotonic()
                with pytest.raises(Uncertain, match="no answer in time") as raised:
                    await put(client, "/a", "2")
                assert time.monotonic() - began < 10
                assert hung.endpoint in str(raised.value)
                # The other two elect a leader of their own, where the hung one led.
                async with asyncio.timeout(20):
                    while True:
                        try:
                            assert await get(client, "/a") in {"1", "2"}
                            break
                        except AdapterError:
                            continue
            finally:
                await hung.resume()


async def test_a_server_killed_while_it_writes_leaves_uncertain_and_nothing_else(tmp_path: Path, connect: Any) -> None:
    async with Etcd(tmp_path / "e") as etcd, connect(etcd.endpoints) as client:
        assert await put(client, "/warm", "1")
        big = "x" * 200_000
        writes = [asyncio.create_task(put(client, f"/k/{number}", big)) for number in range(60)]
        done, _ = await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
        assert all(task.exception() is None for task in done)
        await etcd.kill9()
        await asyncio.wait(writes)
        failed = {number: task.exception() for number, task in enumerate(writes) if task.exception() is not None}
        assert failed
        assert {type(error) for error in failed.values()} <= {Uncertain, Unreached}
        assert Uncertain in {type(error) for error in failed.values()}
        await etcd.start()
        there = await etcd.read("/k/")
        assert all(f"/k/{number}" in there for number in range(60) if number not in failed), "acknowledged and lost"
        unsent = [number for number, error in failed.items() if isinstance(error, Unreached)]
        assert not [number for number in unsent if f"/k/{number}" in there], "written, though said to be unsent"
        assert await put(client, "/after", "1")


async def test_cancelled_calls_leave_the_client_usable(etcd: Etcd, connect: Any) -> None:
    async with connect(etcd.endpoints) as client:
        for pause in (0, 0.001, 0.01):
            call = asyncio.create_task(put(client, "/client/cancelled", "1"))
            await asyncio.sleep(pause)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        assert await put(client, "/client/cancelled", "2")
        async with client.link() as link:
            assert link.users == 1


async def test_proxy_variables_are_not_for_us(etcd: Etcd, connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with connect(etcd.endpoints) as client:
        assert await put(client, "/client/proxy", "1")


async def test_a_request_that_etcd_finds_too_large_is_told_as_that(etcd: Etcd, connect: Any) -> None:
    async with connect(etcd.endpoints) as client:
        for size in (1_700_000, 3_000_000):
            with pytest.raises(AdapterError, match=r"too large|larger than max") as raised:
                await client.txn(wire.put(b"/client/large", b"x" * size))
            assert raised.value.answer is False  # type: ignore[attr-defined]


# --- TLS


async def test_tls_with_a_client_certificate(tmp_path: Path, connect: Any, certificates: Any) -> None:
    authority = Authority(tmp_path / "tls")
    async with Etcd(tmp_path / "e", tls=authority, unsafe_no_fsync=True) as etcd:
        mine = certificates(authority, "waypost")
        async with connect(etcd.endpoints, mine) as client:
            assert await put(client, "/a", "1")
        async with connect(etcd.endpoints, {"ca": mine["ca"]}) as client:
            with pytest.raises(AdapterError, match=etcd.endpoint):
                await put(client, "/a", "2")
        stranger = Authority(tmp_path / "other")
        async with connect(etcd.endpoints, {**mine, "ca": certificates(stranger, "x")["ca"]}) as client:
            with pytest.raises(Unreached, match="CERTIFICATE_VERIFY_FAILED"):
                await put(client, "/a", "3")
        async with connect(etcd.endpoints, mine, server_name="not-the-server.example") as client:
            with pytest.raises(Unreached):
                await put(client, "/a", "4")
        async with connect([etcd.endpoint.replace("https", "http")], {}) as client:
            with pytest.raises(Unreached):
                await put(client, "/a", "5")
        assert await etcd.read("/a") == {"/a": "1"}


async def test_rotated_certificates_make_a_new_connection_while_calls_go_on(
    tmp_path: Path, connect: Any, certificates: Any
) -> None:
    authority = Authority(tmp_path / "tls")
    async with Etcd(tmp_path / "e", tls=authority, unsafe_no_fsync=True) as etcd:
        credentials = RotatingCredentials(certificates(authority, "old"))
        async with connect(etcd.endpoints, credentials) as client:
            async with client.link() as old:
                for name, value in certificates(authority, "new").items():
                    credentials.set(name, value)
                assert await put(client, "/a", "1")
                assert old.retired
                # The old one serves who has it, until he lets go.
                answer = await old.ask(old.range, rpc.RangeRequest(key=b"/a"), 3)
                assert answer.kvs[0].value == b"1"
            async with client.link() as new:
                assert new is not old
            credentials.set("clientCert", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----")
            with pytest.raises(AdapterError) as raised:
                await put(client, "/a", "2")
            assert "nonsense" not in str(raised.value)


@pytest.mark.parametrize(
    ("credentials", "url", "says"),
    [
        ({"clientCert": "-----BEGIN X-----"}, "https://127.0.0.1:1", "`clientCert` is given without `clientKey`"),
        ({"clientKey": "-----BEGIN X-----"}, "https://127.0.0.1:1", "`clientKey` is given without `clientCert`"),
        ({"username": "u"}, "https://127.0.0.1:1", "`username` is given without `password`"),
        ({"ca": "MIIB"}, "https://127.0.0.1:1", "`ca` is no PEM text"),
        ({"ca": "-----BEGIN X-----"}, "http://127.0.0.1:1", "write https://"),
    ],
)
async def test_credentials_that_cannot_work_are_refused_before_anything_is_sent(
    connect: Any, credentials: dict[str, str], url: str, says: str
) -> None:
    async with connect([url], credentials) as client:
        with pytest.raises(PermanentError, match=says):
            await put(client, "/a", "1")


# --- users


async def test_a_user_may_do_what_its_role_grants_and_no_more(tmp_path: Path, connect: Any, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    async with Etcd(tmp_path / "e", auth=True, unsafe_no_fsync=True) as etcd:
        await etcd.add_user("waypost", "s3cr3t-word", "/waypost/")
        async with connect(etcd.endpoints, {"username": "waypost", "password": "s3cr3t-word"}) as client:
            assert await put(client, "/waypost/a", "1")
            with pytest.raises(PermanentError, match=r"grant the user's role readwrite"):
                await put(client, "/other", "1")
            assert "s3cr3t" not in repr(vars(client))
            async with client.link() as link:
                assert "s3cr3t" not in repr(link.keys)
        async with connect(etcd.endpoints, {"username": "waypost", "password": "wr0ng-word"}) as client:
            with pytest.raises(PermanentError, match=r"`username` and `password` are not accepted") as raised:
                await put(client, "/waypost/a", "2")
            assert "wr0ng" not in str(raised.value)
        async with connect(etcd.endpoints) as client:
            with pytest.raises(PermanentError, match="no user was given"):
                await put(client, "/waypost/a", "3")
        assert await etcd.read("/") == {"/waypost/a": "1"}
    assert "s3cr3t" not in caplog.text
    assert "wr0ng" not in caplog.text


async def test_a_token_that_the_server_forgot_is_renewed_once_and_nobody_notices(tmp_path: Path, connect: Any) -> None:
    async with Etcd(tmp_path / "e", auth=True, unsafe_no_fsync=True) as etcd:
        await etcd.add_user("waypost", "word", "/waypost/")
        async with connect(etcd.endpoints, {"username": "waypost", "password": "word"}) as client:
            assert await put(client, "/waypost/a", "1")
            async with client.link() as link:
                link.metadata = (("token", "forgotten.1"),)
                asked: list[float] = []
                authenticate = link.authenticate

                async def counted(seconds: float) -> None:
                    asked.append(seconds)
                    await authenticate(seconds)

                link.authenticate = counted
                done = await asyncio.gather(*(put(client, f"/waypost/{n}", "2") for n in range(8)))
                assert done == [True] * 8
                assert len(asked) == 1, "a password is checked slowly: once for all"
                assert await get(client, "/waypost/7") == "2"
                assert not link.retired
            await etcd.restart(kill=True)  # simple tokens die with the server
            assert await get(client, "/waypost/a") == "1"
            assert await put(client, "/waypost/a", "3")


async def test_rotated_passwords_are_used_from_the_next_call_on(tmp_path: Path, connect: Any) -> None:
    async with Etcd(tmp_path / "e", auth=True, unsafe_no_fsync=True) as etcd:
        await etcd.add_user("waypost", "first", "/waypost/")
        credentials = RotatingCredentials({"username": "waypost", "password": "first"})
        async with connect(etcd.endpoints, credentials) as client:
            assert await put(client, "/waypost/a", "1")
            await etcd.call("auth/user/changepw", {"name": "waypost", "password": "second"})
            credentials.set("password", "second")
            assert await put(client, "/waypost/a", "2")


async def test_a_cluster_without_authentication_is_served_though_a_user_is_given(etcd: Etcd, connect: Any) -> None:
    async with connect(etcd.endpoints, {"username": "waypost", "password": "word"}) as client:
        assert await put(client, "/client/user", "1")


async def test_something_that_is_no_etcd_is_told_as_that(connect: Any) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with connect([f"http://127.0.0.1:{port}"]) as client:
            with pytest.raises(PermanentError, match="no etcd with the API of version 3"):
                await put(client, "/a", "1")
    finally:
        await server.stop(None)


async def test_refusals_keep_the_connection(tmp_path: Path, connect: Any) -> None:
    quota = ("--quota-backend-bytes=200000",)
    async with Etcd(tmp_path / "e", unsafe_no_fsync=True, flags=quota) as etcd, connect(etcd.endpoints) as client:

        async def fill() -> None:
            for number in range(10_000):  # it looks at the size every 100 ms
                await put(client, f"/k/{number}", "x" * 20_000)

        with pytest.raises(Refused, match="takes no writes until it is compacted"):
            await fill()
        async with client.link() as link:
            assert not link.retired
        assert await get(client, "/k/0") is not None
