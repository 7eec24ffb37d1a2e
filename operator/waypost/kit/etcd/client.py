"""The client: one connection at a time to one of several members, followed by the next where that one fails.

What is guaranteed: every call ends within its time-out (connecting included: `connect_seconds` a member); reads are
asked again at another member; a transaction is sent once, and again only where the member said that it did nothing (a
stale token). Credentials are compared at each call, so rotated ones make a new connection; calls under way end on the
old one. After a cancellation the request may have taken effect. Nothing runs in the background.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Self, TypeVar

import grpc.aio

from waypost.adapter import AdapterError, Credentials, PermanentError
from waypost.kit.etcd import rpc_pb2 as rpc
from waypost.kit.etcd.channel import Keys, keys, open_channel
from waypost.kit.etcd.endpoint import Endpoint
from waypost.kit.etcd.faults import Denied, Refused, StaleToken, Uncertain, Unreached, fault

__all__ = ["Client", "Link"]

T = TypeVar("T")
END_SECONDS = 0.5
# A member cut off from its cluster then refuses at once, and ends its watches.
REQUIRE_LEADER: tuple[tuple[str, str], ...] = (("hasleader", "true"),)


class Link:
    """A connection to one member that has answered: its calls, its token, and how many use it."""

    def __init__(self, endpoint: Endpoint, keys: Keys, channel: grpc.aio.Channel) -> None:
        """Make the calls of the channel; nothing is sent yet."""
        self.endpoint = endpoint
        self.keys = keys
        self.metadata = REQUIRE_LEADER
        self.users = 0
        self.retired = False
        self._channel = channel
        unary: Callable[..., Callable[..., Any]] = channel.unary_unary
        self.txn = unary("/etcdserverpb.KV/Txn", None, rpc.TxnResponse.FromString)
        self.range = unary("/etcdserverpb.KV/Range", rpc.RangeRequest.SerializeToString, rpc.RangeResponse.FromString)
        self.watch = channel.stream_stream(
            "/etcdserverpb.Watch/Watch", rpc.WatchRequest.SerializeToString, rpc.WatchResponse.FromString
        )
        self.grant = unary(
            "/etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantRequest.SerializeToString, rpc.LeaseGrantResponse.FromString
        )
        self.revoke = unary(
            "/etcdserverpb.Lease/LeaseRevoke",
            rpc.LeaseRevokeRequest.SerializeToString,
            rpc.LeaseRevokeResponse.FromString,
        )
        self._keep_alive = channel.stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            rpc.LeaseKeepAliveRequest.SerializeToString,
            rpc.LeaseKeepAliveResponse.FromString,
        )
        self._status = unary(
            "/etcdserverpb.Maintenance/Status", rpc.StatusRequest.SerializeToString, rpc.StatusResponse.FromString
        )
        self._authenticate = unary(
            "/etcdserverpb.Auth/Authenticate",
            rpc.AuthenticateRequest.SerializeToString,
            rpc.AuthenticateResponse.FromString,
        )

    async def ask(self, call: Callable[..., Any], request: object, seconds: float) -> Any:
        """Return the answer to one request. Raises what `faults` names."""
        try:
            return await call(request, timeout=seconds, metadata=self.metadata)
        except grpc.aio.AioRpcError as error:
            raise fault(error.code(), error.details(), self.endpoint.url) from None

    async def keep_alive(self, lease: int, seconds: float) -> rpc.LeaseKeepAliveResponse:
        """Prolong a lease: the call is a stream in etcd, of which one question and one answer are used."""
        call: Any = self._keep_alive(timeout=seconds, metadata=self.metadata)
        try:
            await call.write(rpc.LeaseKeepAliveRequest(ID=lease))
            answer = await call.read()
            if answer is grpc.aio.EOF:
                raise fault(await call.code(), await call.details(), self.endpoint.url)
            with suppress(
                TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError
            ):  # it is prolonged all the same
                async with asyncio.timeout(END_SECONDS):
                    await call.done_writing()
                    await call.read()  # the end: what is cancelled leaves a task of gRPC's for a while
        except asyncio.InvalidStateError:  # it has ended already
            raise fault(await call.code(), await call.details(), self.endpoint.url) from None
        except grpc.aio.AioRpcError as error:
            raise fault(error.code(), error.details(), self.endpoint.url) from None
        finally:
            call.cancel()
        prolonged: rpc.LeaseKeepAliveResponse = answer
        return prolonged

    async def greet(self, connect_seconds: float, seconds: float) -> None:
        """Connect, and see that the member can serve; then authenticate where a user is given."""
        try:
            status = await self.ask(self._status, rpc.StatusRequest(), connect_seconds)
        except Denied:
            pass  # it is there; with authentication on, only root may ask more
        else:
            if status.isLearner:
                raise Unreached(f"etcd {self.endpoint.url}: is a learner, which serves no clients yet")
        await self.authenticate(seconds)

    async def authenticate(self, seconds: float) -> None:
        """Get a token, where a user is given. A cluster with authentication off is served without."""
        if self.keys.username is None or self.keys.password is None:
            return
        self.metadata = REQUIRE_LEADER
        request = rpc.AuthenticateRequest(name=self.keys.username, password=self.keys.password)
        try:
            answer = await self.ask(self._authenticate, request, seconds)
        except Refused as refused:
            if "authentication is not enabled" in str(refused):
                return
            raise
        self.metadata = (*REQUIRE_LEADER, ("token", answer.token))

    async def close_if_idle(self) -> None:
        """Close the connection once it is retired and its last user has gone."""
        if self.retired and not self.users:
            await self._channel.close()


class Client:
    """A cluster. Use as an async context manager; connects at the first call. Many tasks may call at once."""

    def __init__(
        self,
        members: Sequence[Endpoint],
        credentials: Credentials,
        *,
        server_name: str | None = None,
        connect_seconds: float = 3.0,
        call_seconds: float = 10.0,
    ) -> None:
        """Keep what is needed to connect; nothing is sent yet."""
        self.call_seconds = call_seconds
        self._members = tuple(members)
        self._credentials = credentials
        self._server_name = server_name
        self._connect_seconds = connect_seconds
        self._first = 0  # the member to try first
        self._link: Link | None = None
        self._turn = asyncio.Lock()  # one task connects or authenticates at a time

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection; calls under way are cancelled by who made them."""
        if self._link is not None:
            await self.retire(self._link)

    async def range(self, request: rpc.RangeRequest) -> rpc.RangeResponse:
        """Read, at another member where one fails."""

        async def ask(link: Link) -> rpc.RangeResponse:
            answer: rpc.RangeResponse = await link.ask(link.range, request, self.call_seconds)
            return answer

        return await self._ask(ask, (Unreached, Uncertain))

    async def reads(self, request: bytes) -> rpc.TxnResponse:
        """Send a transaction that only reads (see `wire`), at another member where one fails."""

        async def ask(link: Link) -> rpc.TxnResponse:
            answer: rpc.TxnResponse = await link.ask(link.txn, request, self.call_seconds)
            return answer

        return await self._ask(ask, (Unreached, Uncertain))

    async def txn(self, request: bytes) -> rpc.TxnResponse:
        """Send a transaction (see `wire`), again only where nothing of it was sent or the member did nothing.

        Raises Uncertain where it may have taken effect; TooLarge(answer=True) where it was done and its answer not
        taken; any other AdapterError where it took no effect.
        """

        async def ask(link: Link) -> rpc.TxnResponse:
            answer: rpc.TxnResponse = await link.ask(link.txn, request, self.call_seconds)
            return answer

        return await self._ask(ask, (Unreached,))

    async def grant(self, seconds: int) -> rpc.LeaseGrantResponse:
        """Make a lease, at another member where one fails; one whose answer was lost runs out by itself."""

        async def ask(link: Link) -> rpc.LeaseGrantResponse:
            request = rpc.LeaseGrantRequest(TTL=seconds)
            answer: rpc.LeaseGrantResponse = await link.ask(link.grant, request, self.call_seconds)
            return answer

        return await self._ask(ask, (Unreached, Uncertain))

    async def keep_alive(self, lease: int) -> int:
        """Prolong a lease to its whole length, at another member where one fails; return its seconds, 0 where gone."""

        async def ask(link: Link) -> int:
            return int((await link.keep_alive(lease, self.call_seconds)).TTL)

        return await self._ask(ask, (Unreached, Uncertain))

    async def revoke(self, lease: int) -> None:
        """End a lease, and with it the keys it holds; one that is gone is no error."""

        async def ask(link: Link) -> None:
            try:
                await link.ask(link.revoke, rpc.LeaseRevokeRequest(ID=lease), self.call_seconds)
            except AdapterError as error:
                if "lease not found" not in str(error):
                    raise

        await self._ask(ask, (Unreached, Uncertain))

    @asynccontextmanager
    async def link(self) -> AsyncIterator[Link]:
        """Lend the present connection, made if need be. A failure of the connection within retires it."""
        link = await self._connected()
        link.users += 1
        try:
            yield link
        except (Unreached, Uncertain):
            await self.retire(link)
            raise
        finally:
            link.users -= 1
            await link.close_if_idle()

    async def retire(self, link: Link) -> None:
        """Use this connection for no new call; the next one begins with the member after it."""
        if not link.retired:
            link.retired = True
            if self._link is link:
                self._link = None
                self._first = (self._members.index(link.endpoint) + 1) % len(self._members)
        await link.close_if_idle()

    async def renew(self, link: Link) -> None:
        """Get a new token, unless another task has just done so."""
        stale = link.metadata
        async with self._turn:
            if link.metadata is stale:
                await link.authenticate(self.call_seconds)

    async def _ask(self, ask: Callable[[Link], Awaitable[T]], again: tuple[type[AdapterError], ...]) -> T:
        """Ask once a member, and once more for a connection cut unnoticed, while the failures are of `again`."""
        left = len(self._members)
        while True:
            async with self.link() as link:
                try:
                    try:
                        return await ask(link)
                    except StaleToken:
                        await self.renew(link)
                        return await ask(link)
                except again:
                    if not left:
                        raise
                    await self.retire(link)
            left -= 1

    async def _connected(self) -> Link:
        now = keys(self._credentials)
        if (link := self._link) is not None and link.keys == now:
            return link
        async with self._turn:
            now = keys(self._credentials)
            if (link := self._link) is not None and link.keys != now:
                self._link, link.retired = None, True
                await link.close_if_idle()
            if self._link is None:
                self._link = await self._connect(now)
            return self._link

    async def _connect(self, now: Keys) -> Link:
        """Return a connection to the first member that serves. Raises Unreached with what each one said."""
        said: list[str] = []
        for offset in range(len(self._members)):
            at = (self._first + offset) % len(self._members)
            endpoint = self._members[at]
            link = Link(endpoint, now, open_channel(endpoint, now, self._server_name))
            try:
                await link.greet(self._connect_seconds, self.call_seconds)
            except BaseException as error:
                link.retired = True
                await link.close_if_idle()
                if isinstance(error, PermanentError) or not isinstance(error, AdapterError):
                    raise
                said.append(str(error))
            else:
                self._first = at
                return link
        raise Unreached("; ".join(said))
