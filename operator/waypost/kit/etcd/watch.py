"""Following what is written under a range of keys, without losing an event.

The stream is resumed at the last event's revision + 1 (never at a header's: events of that revision may still be on
their way), over cut connections and from member to member. A hung member is noticed by gRPC's keepalive, one without a
leader by etcd's own check (REQUIRE_LEADER), and progress notifications move an idle watch on, so that it is not resumed
at a revision long compacted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Any

import grpc.aio
import msgspec

from waypost.kit.etcd import rpc_pb2 as rpc
from waypost.kit.etcd.client import Client, Link
from waypost.kit.etcd.faults import Compacted, Refused, StaleToken, Uncertain, Unreached, fault, refusal, spoken

__all__ = ["Events", "watch"]


END_SECONDS = 1.0


class Events(msgspec.Struct, frozen=True):
    """What was written, in order (may be nothing); `next` is the revision with which to take up the watch again."""

    events: Sequence[rpc.Event]
    next: int


async def watch(client: Client, key: bytes, end: bytes, revision: int = 0) -> AsyncGenerator[Events, None]:
    """Yield what is written from `key` to before `end`, from that revision on (0: now); the first tells where it began.

    Runs until closed (`contextlib.aclosing`). Raises Compacted where the revision is no longer kept, or is one that
    this cluster has not reached (it was restored or made anew): read everything again. Raises another AdapterError
    where no member can be had, or a stream ends at once; nothing is lost when it is called again with the last `next`.
    """
    renewed = False
    while True:
        heard = False
        try:
            async with client.link() as link:
                stream = _Stream(link)
                try:
                    revision = await _begin(client, stream, key, end, revision)
                    yield Events((), revision)
                    while True:
                        answer = await stream.read()
                        heard, renewed = True, False
                        revision = _next(answer, revision)
                        yield Events(answer.events, revision)
                finally:
                    await stream.end()
        except StaleToken:
            if renewed:
                raise
            renewed = True
            async with client.link() as link:
                await client.renew(link)
        except (Unreached, Uncertain, Refused):
            if not heard:
                raise


class _Stream:
    """One call of Watch.

    gRPC cancels a call whose read is cancelled, and leaves a task of its own for a while. So no read is cancelled,
    and at the end the member is asked to end the watch, which is answered; to the end of what is sent, it says nothing.
    """

    def __init__(self, link: Link) -> None:
        """Begin the call."""
        self.url = link.endpoint.url
        self.call: Any = link.watch(metadata=link.metadata)
        self._reading: asyncio.Future[Any] | None = None

    async def read(self) -> rpc.WatchResponse:
        """Return the next message. Raises what the stream or the message says went wrong."""
        try:
            answer = await self._next()
            if answer is grpc.aio.EOF:
                raise fault(await self.call.code(), await self.call.details(), self.url)
        except grpc.aio.AioRpcError as error:
            raise fault(error.code(), error.details(), self.url) from None
        if answer.canceled:
            said = spoken(answer.cancel_reason)
            if answer.compact_revision:
                message = f"etcd {self.url}: the watch's revision is compacted up to {answer.compact_revision}"
                raise Compacted(message, answer.compact_revision)
            raise refusal(said, self.url) or Refused(f"etcd {self.url}: the watch was ended: {said}")
        message_: rpc.WatchResponse = answer
        return message_

    async def _next(self) -> Any:
        if self._reading is None:
            self._reading = asyncio.ensure_future(self.call.read())
        await asyncio.wait([self._reading])
        reading, self._reading = self._reading, None
        return reading.result()

    async def end(self) -> None:
        """End the call, in a second at most."""
        try:
            async with asyncio.timeout(END_SECONDS):
                await self.call.write(rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest()))
                while (answer := await self._next()) is not grpc.aio.EOF and not answer.canceled:
                    pass
        except (TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # it has ended already, or does not answer
        finally:
            self.call.cancel()
            if self._reading is not None:
                await asyncio.gather(self._reading, return_exceptions=True)


async def _begin(client: Client, stream: _Stream, key: bytes, end: bytes, revision: int) -> int:
    """Ask for the watch and wait for its beginning; return the revision that comes next."""
    create = rpc.WatchCreateRequest(
        key=key, range_end=end, start_revision=revision, progress_notify=True, fragment=True
    )
    try:
        async with asyncio.timeout(client.call_seconds):
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it has ended: reading tells why
                await stream.call.write(rpc.WatchRequest(create_request=create))
            answer = await stream.read()
    except TimeoutError:
        raise Uncertain(f"etcd {stream.url}: a watch was not begun in time") from None
    if not answer.created:
        raise Uncertain(f"etcd {stream.url}: a watch began with something else")
    present = int(answer.header.revision)
    if revision > present + 1:
        raise Compacted(
            f"etcd {stream.url}: is at revision {present}, before {revision}: restored, made anew, or it lags"
        )
    return revision or present + 1


def _next(answer: rpc.WatchResponse, revision: int) -> int:
    """Return where to resume after this message."""
    if not answer.events:  # progress: everything up to the header's revision has been sent
        return max(revision, answer.header.revision + 1)
    last = answer.events[-1].kv.mod_revision
    return last if answer.fragment else last + 1  # more of the same revision may follow a fragment
