"""Requests to one API server. Bodies are bytes: the caller decodes what it uses of them.

    async with connect() as api:
        body = await api.request("GET", resource.path("web", namespace="shop"))
        async with api.stream(resource.path(), params={"watch": "1"}) as lines:
            async for line in lines: …

`connect()` takes the pod's service account, else $KUBECONFIG or ~/.kube/config; `connect(kubeconfig, context)` a file;
`connect(access=…)` any function that returns an Access.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from waypost.adapter import AdapterError, Clock
from waypost.kit.answers import Stream, Unanswered
from waypost.kit.clock import LoopClock
from waypost.kit.http import Http
from waypost.kit.kubernetes.access import Access, Pass, of_process
from waypost.kit.kubernetes.errors import ApiError, answered
from waypost.kit.tls import Tls

__all__ = ["Api", "connect"]

CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 30.0
MOST_BODY_BYTES = 256 << 20  # a page of 50 objects of the largest kind, pages are then made smaller; or all of a list
MOST_LINE_BYTES = 32 << 20  # of a watch: one object, which etcd bounds to some 2 MB
MOST_ERROR_BYTES = 64 << 10
CONNECTIONS = 64  # each watch takes one

ACCEPT = {"Accept": "application/json"}


class Api:
    """One API server, as `connect` gives it. `clock` and `random` are what waits and retries go by."""

    def __init__(self, http: Http, entry: Pass, opened: Access, clock: Clock, chance: random.Random) -> None:
        self._http, self._pass, self._opened = http, entry, opened
        self.clock, self.random = clock, chance

    @property
    def server(self) -> str:
        """The base URL of the API server."""
        return self._opened.server

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        seconds: float = REQUEST_SECONDS,
    ) -> bytes:
        """Return the body of an answer below 300. The path is percent-encoded already (`Resource.path` gives it).

        Raises ApiError for an answer of 400 or more, `kit.http.Unanswered` where it is not known whether it was done,
        and AdapterError where nothing was sent. Credentials that are refused are read anew, and it is asked once more.
        """
        headers = {**ACCEPT, "Content-Type": content_type} if body is not None else ACCEPT
        access = await self._current()
        answer = await self._http.request(method, path, params=params, body=body, headers=headers, seconds=seconds)
        if answer.status == 401 and await self._current(refused=access) is not access:
            answer = await self._http.request(method, path, params=params, body=body, headers=headers, seconds=seconds)
        if answer.status >= 300:
            raise answered(answer.status, answer.body, f"{method} {path}", answer.headers.get("Retry-After", ""))
        return answer.body

    @asynccontextmanager
    async def stream(
        self, path: str, *, params: Mapping[str, str] | None = None, idle_seconds: float = 75.0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the lines of an answer as they come, each with its end: the events of a watch, the lines of a log.

        Raises as `request` does; the lines raise `Silent` when nothing came for `idle_seconds`, and Unanswered where
        the connection is cut. A last line without its end is not a line.
        """
        async with self._opened_stream(path, params, REQUEST_SECONDS, idle_seconds) as stream:
            yield _lines(stream)

    @asynccontextmanager
    async def pieces(
        self, path: str, *, params: Mapping[str, str] | None = None, seconds: float = REQUEST_SECONDS
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the body of a GET as it comes, in pieces of any length, of which none comes later than `seconds`.

        Raises as `request` does, the pieces too: what came before is then incomplete.
        """
        until = self.clock.monotonic() + seconds
        async with self._opened_stream(path, params, seconds, seconds) as stream:
            yield self._bounded(stream, until, f"GET {path}")

    async def _bounded(self, stream: Stream, until: float, asked: str) -> AsyncIterator[bytes]:
        size = 0
        async for piece in stream.chunks():
            size += len(piece)
            if size > MOST_BODY_BYTES:
                raise Unanswered(f"{asked}: the answer is larger than {MOST_BODY_BYTES} bytes")
            if self.clock.monotonic() > until:
                raise Unanswered(f"{asked}: the answer did not come to its end in time")
            yield piece

    @asynccontextmanager
    async def _opened_stream(
        self, path: str, params: Mapping[str, str] | None, seconds: float, idle_seconds: float
    ) -> AsyncIterator[Stream]:
        access = await self._current()
        for again in (True, False):
            async with self._http.stream(
                "GET", path, params=params, headers=ACCEPT, seconds=seconds, idle_seconds=idle_seconds
            ) as stream:
                if stream.status < 300:
                    yield stream
                    return
                if stream.status != 401 or not again or await self._current(refused=access) is access:
                    said = await _said(stream)
                    raise answered(stream.status, said, f"GET {path}", stream.headers.get("Retry-After", ""))

    async def renew(self) -> None:
        """Read at once what lets one in: something says that it has changed. Raises AdapterError as requests do."""
        await self._current(refused=await self._current())

    async def _current(self, refused: Access | None = None) -> Access:
        access = await self._pass.current(refused)
        if (access.server, access.server_name) != (self._opened.server, self._opened.server_name):
            # Another server may be another cluster, whose versions and objects are not to be mixed with this one's.
            raise AdapterError(f"the kubeconfig names {access.server} now, not {self._opened.server}: connect again")
        return access


@asynccontextmanager
async def connect(
    kubeconfig: Path | None = None,
    context: str | None = None,
    *,
    access: Callable[[], Access] | None = None,
    clock: Clock | None = None,
    chance: random.Random | None = None,
    user_agent: str = "waypost",
) -> AsyncIterator[Api]:
    """Give the API of a server, asking it nothing yet. Raises AdapterError where no way in can be read.

    `access` blocks and may be called in any thread, again and again: what it returns is what lets one in at the time.
    """
    clock = clock or LoopClock()
    entry = Pass(access or (lambda: of_process(kubeconfig, context)), clock)
    opened = await entry.current()
    async with Http(
        [opened.server],
        credentials=entry,
        user_agent=user_agent,
        connect_seconds=CONNECT_SECONDS,
        total_seconds=REQUEST_SECONDS,
        max_body_bytes=MOST_BODY_BYTES,
        tls=Tls(opened.server_name),
        headers=entry.headers,
        connections=CONNECTIONS,
    ) as http:
        yield Api(http, entry, opened, clock, chance or random.Random())


async def _lines(stream: Stream) -> AsyncIterator[bytes]:
    begun: list[bytes] = []
    size = 0
    async for chunk in stream.chunks():
        begin = 0
        while end := chunk.find(b"\n", begin) + 1:
            line = chunk[begin:end]  # where that is all of it, no copy is made
            begin = end
            if begun:
                begun.append(line)
                line = b"".join(begun)
                begun, size = [], 0
            if line != b"\n":
                yield line
        if begin < len(chunk):
            begun.append(chunk[begin:])
            size += len(chunk) - begin
            if size > MOST_LINE_BYTES:
                raise Unanswered(f"a line of more than {MOST_LINE_BYTES} bytes; it is not read any further")


async def _said(stream: Stream) -> bytes:
    said = b""
    try:
        async for chunk in stream.chunks():
            said += chunk
            if len(said) > MOST_ERROR_BYTES:
                break
    except AdapterError:
        pass  # the status says enough
    return said[:MOST_ERROR_BYTES]


__all__ += ["ApiError"]
