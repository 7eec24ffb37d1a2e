"""Faults on the wire: a TCP proxy to place before any server, and a Mesos master that is not the leader.

`Proxy` passes bytes on until it is told to fail; `heal` makes it well again. It also ends TLS before a backend that has
none.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

from testbed.ports import free_port

CHUNK = 1 << 16


def parse(target: str) -> tuple[str, int]:
    """HOST:PORT, or a URL, as host and port."""
    parts = urlsplit(target if "//" in target else f"//{target}")
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"{target!r}: a host and a port are needed")
    return parts.hostname, parts.port


class Listener:
    """A TCP server on a port that it keeps over `close` and `open`; subclasses serve a connection in `handle`."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.host, self.port = host, free_port(host)
        self.address = f"{self.host}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"
        self.accepted = 0  # connections, ever
        self._counted = asyncio.Condition()
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def connections(self) -> int:
        """Those that are open now."""
        return len(self._open)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def open(self) -> None:
        """Listen."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, self.host, self.port, ssl=self._tls)

    async def close(self) -> None:
        """Refuse new connections; those that are open stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def drop(self) -> None:
        """Reset every open connection."""
        for writer in list(self._open.values()):
            reset(writer)
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def wait_accepted(self, count: int, *, timeout: float = 10) -> None:
        """Wait until so many connections have been accepted, ever."""
        async with asyncio.timeout(timeout), self._counted:
            await self._counted.wait_for(lambda: self.accepted >= count)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        await self.drop()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        self.accepted += 1
        try:
            async with self._counted:
                self._counted.notify_all()
            await self.handle(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # the peer, or `drop`
        finally:
            del self._open[task]
            writer.close()


class Proxy(Listener):
    """Passes a TCP port on.

    `target`: HOST:PORT or URL of the backend; `tls`: what clients speak; `backend_tls`: what it speaks.

    What it does with connections is said by `refuse`, `hang`, `cut`, `delay`, `garbage`, `answer`; each replaces the
    one before. `hang` and `delay` hold for open connections at once; the others for new ones: call `drop` to end those
    that are open.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: ssl.SSLContext | None = None,
        backend_tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(tls=tls, host=host)
        self.target = target
        self._backend_tls = backend_tls
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay = 0.0
        self._cut: int | None = None
        self._rst = False
        self._canned: bytes | None = None

    async def heal(self) -> None:
        """Pass everything on; what `hang` held back goes on too."""
        self._delay, self._cut, self._canned = 0.0, None, None
        self._flowing.set()
        await self.open()

    async def refuse(self) -> None:
        """Refuse connections and reset those that are open, as when nothing runs there."""
        await self.heal()
        await self.close()
        await self.drop()

    async def hang(self) -> None:
        """Accept, and pass nothing on in either direction, as when packets are lost."""
        await self.heal()
        self._flowing.clear()

    async def delay(self, seconds: float) -> None:
        """Hold every piece of data back so long, in either direction."""
        await self.heal()
        self._delay = seconds

    async def cut(self, after: int, *, rst: bool = False) -> None:
        """End a connection once the backend has sent so many bytes over it: closed, or reset (`rst`)."""
        await self.heal()
        self._cut, self._rst = after, rst

    async def garbage(self, content: bytes = b"\x00\xff not a protocol \r\n\r\n") -> None:
        """Send this to whoever says something, and close."""
        await self.heal()
        self._canned = content

    async def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Answer each HTTP request with this status."""
        await self.garbage(http_answer(status, body, headers))

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._canned is not None:
            await reader.read(CHUNK)
            await self._flowing.wait()
            writer.write(self._canned)
            await writer.drain()
            return
        host, port = parse(self.target)
        name = host if self._backend_tls else None
        behind, before = await asyncio.open_connection(host, port, ssl=self._backend_tls, server_hostname=name)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, before, None))
                group.create_task(self._pass(behind, writer, self._cut))
        except* EOFError:
            writer.close()  # what was written is sent first
        except* OSError:
            reset(writer)
        finally:
            before.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None) -> None:
        """Pass one direction on to its end, and tell the other side that it ended."""
        while data := await reader.read(CHUNK):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._flowing.wait()
            writer.write(data if left is None else data[:left])
            await writer.drain()
            if left is not None:
                left -= len(data)
                if left <= 0:
                    raise ConnectionResetError if self._rst else EOFError
        if self._backend_tls is None and self._tls is None and writer.can_write_eof():
            writer.write_eof()
        else:
            raise EOFError  # TLS knows no half-open connection


class Follower(Listener):
    """A Mesos master that is not the leader: answers every request with a 307 to `leader`, or 503 while that is None.

    The location has no scheme (`//host:port/path`), as Mesos writes it; `scheme="http"` writes one.
    """

    def __init__(
        self, leader: str | None, *, scheme: str = "", tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        super().__init__(tls=tls, host=host)
        self.leader = leader
        self.scheme = scheme
        self.requests: list[str] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
        _, path, *_ = head.split()
        self.requests.append(path)
        if self.leader is None:
            writer.write(http_answer(503, b"No leader elected"))
        else:
            host, port = parse(self.leader)
            where = f"{self.scheme}:" if self.scheme else ""
            writer.write(http_answer(307, headers={"Location": f"{where}//{host}:{port}{path}"}))
        await writer.drain()


def http_answer(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole HTTP answer, after which the connection closes."""
    lines = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
    head = "".join(f"{key}: {value}\r\n" for key, value in lines.items())
    return f"HTTP/1.1 {status} Testbed\r\n{head}\r\n".encode() + body


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a RST, as a machine does that lost its memory of it."""
    found = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
