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

from waypost.adapter import AdapterError
from waypost.kit.etcd import rpc_pb2 as rpc
from waypost.kit.etcd.client import Client, Link
from waypost.kit.etcd.faults import Compacted, Refused, StaleToken, Uncertain, Unreached, fault, refusal, spoken

__all__ = ["Events", "watch"]


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
                call = link.watch(metadata=link.metadata)
                try:
                    revision = await _begin(client, link, call, key, end, revision)
                    yield Events((), revision)
                    while True:
                        answer = await _read(link, call)
                        heard, renewed = True, False
                        revision = _next(answer, revision)
                        yield Events(answer.events, revision)
                finally:
                    call.cancel()
        except StaleToken:
            if renewed:
                raise
            renewed = True
            async with client.link() as link:
                await client.renew(link)
        except (Unreached, Uncertain, Refused):
            if not heard:
                raise


async def _begin(client: Client, link: Link, call: Any, key: bytes, end: bytes, revision: int) -> int:
    """Ask for the watch and wait for its beginning; return the revision that comes next."""
    create = rpc.WatchCreateRequest(
        key=key, range_end=end, start_revision=revision, progress_notify=True, fragment=True
    )
    try:
        async with asyncio.timeout(client.call_seconds):
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it has ended: reading tells why
                await call.write(rpc.WatchRequest(create_request=create))
            answer = await _read(link, call)
    except TimeoutError:
        raise Uncertain(f"etcd {link.endpoint.url}: a watch was not begun in time") from None
    if not answer.created:
        raise Uncertain(f"etcd {link.endpoint.url}: a watch began with something else")
    present = int(answer.header.revision)
    if revision > present + 1:
        raise Compacted(
            f"etcd {link.endpoint.url}: is at revision {present}, before {revision}: restored, made anew, or it lags"
        )
    return revision or present + 1


async def _read(link: Link, call: Any) -> rpc.WatchResponse:
    """Return the next message. Raises what the stream or the message says went wrong."""
    try:
        answer = await call.read()
        if answer is grpc.aio.EOF:
            raise fault(await call.code(), await call.details(), link.endpoint.url)
    except grpc.aio.AioRpcError as error:
        raise fault(error.code(), error.details(), link.endpoint.url) from None
    if answer.canceled:
        said = spoken(answer.cancel_reason)
        if answer.compact_revision:
            message = f"etcd {link.endpoint.url}: the watch's revision is compacted up to {answer.compact_revision}"
            raise Compacted(message, answer.compact_revision)
        raise refusal(said, link.endpoint.url) or AdapterError(f"etcd {link.endpoint.url}: the watch was ended: {said}")
    message_: rpc.WatchResponse = answer
    return message_


def _next(answer: rpc.WatchResponse, revision: int) -> int:
    """Return where to resume after this message."""
    if not answer.events:  # progress: everything up to the header's revision has been sent
        return max(revision, answer.header.revision + 1)
    last = answer.events[-1].kv.mod_revision
    return last if answer.fragment else last + 1  # more of the same revision may follow a fragment
