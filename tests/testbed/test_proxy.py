"""The proxy fails as it is told to, and heals."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from testbed.proxy import Follower, Listener, Proxy
from testbed.tls import Authority
from testbed.web import request


class Greeter(Listener):
    """Answers each HTTP request with 1000 bytes."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n" + b"x" * 1000)
        await writer.drain()


@pytest.fixture
async def backend() -> AsyncIterator[Greeter]:
    async with Greeter() as greeter:
        yield greeter


async def get(url: str) -> int:
    return len((await request("GET", url, timeout=1)).expect().body)


async def test_it_fails_in_each_way_and_heals(backend: Greeter) -> None:
    async with Proxy(backend.url) as proxy:
        assert await get(proxy.url) == 1000
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await get(proxy.url)
        await proxy.hang()
        with pytest.raises(TimeoutError):
            await get(proxy.url)
        await proxy.cut(500)
        with pytest.raises(ConnectionError, match="IncompleteRead"):
            await get(proxy.url)
        await proxy.cut(500, rst=True)
        with pytest.raises(ConnectionResetError):
            await get(proxy.url)
        await proxy.garbage()
        with pytest.raises(ConnectionError, match="BadStatusLine"):
            await get(proxy.url)
        await proxy.answer(503, b"not now")
        with pytest.raises(ValueError, match="503: not now"):
            await get(proxy.url)
        await proxy.delay(0.05)
        began = asyncio.get_running_loop().time()
        assert await get(proxy.url) == 1000
        assert asyncio.get_running_loop().time() - began >= 0.1
        await proxy.heal()
        assert await get(proxy.url) == 1000
        assert proxy.accepted == 8


async def test_dropping_resets_open_connections(backend: Greeter) -> None:
    async with Proxy(backend.url) as proxy:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"GET / HTTP/1.1\r\n")
        await proxy.wait_accepted(1)
        await proxy.drop()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        assert proxy.connections == 0


async def test_it_ends_tls_before_a_backend_without(backend: Greeter, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = authority.server_context(authority.issue("server"), client_certificates=True)
    async with Proxy(backend.url, tls=context) as proxy:
        mine = authority.client_context(authority.issue("me"))
        answer = await request("GET", proxy.url, tls=mine, timeout=2)
        assert len(answer.body) == 1000
        with pytest.raises(OSError, match=r"(?i)certificate.required|reset|Remote end closed"):
            await request("GET", proxy.url, tls=authority.client_context(), timeout=2)


async def test_a_follower_points_to_the_leader_or_says_there_is_none() -> None:
    async with Follower(None) as follower:
        assert (await request("POST", f"{follower.url}/api/v1", b"{}")).status == 503
        follower.leader = "127.0.0.1:5050"
        answer = await request("POST", f"{follower.url}/api/v1?x=1", b"{}")
        assert (answer.status, answer.headers["Location"]) == (307, "//127.0.0.1:5050/api/v1?x=1")
