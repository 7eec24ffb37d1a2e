"""The checks themselves: the only part of health that has sockets.

Only what the caller's `refusal` allows is contacted. A host name is resolved once a check, each answer is asked about,
and the connection goes to the very address that was allowed. There is no proxy and no redirect here, and nothing that
an instance sends is kept. What fails on our own side (no descriptor, no source port, no route) is no finding.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
from collections.abc import Awaitable, Callable, Sequence

from waypost.health.check import PASSED, Outcome, Target, TcpSocket, failed, unknown
from waypost.model import family

__all__ = ["Probes", "Resolve", "connect", "most_at_once"]

Refusal = Callable[[str, str], "str | None"]  # source, IP literal → why it may not be contacted
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]  # host name, port → IP literals; raises OSError

MOST_ADDRESSES = 4  # of a host name that are tried
RESOLVE_SHARE = 0.9  # of a check's time that the name may take; what then fails is the resolver

_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR})
_OURS = frozenset(
    {
        errno.EADDRNOTAVAIL,  # no source port is free
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.ENETUNREACH,  # no route; a host that does not answer is EHOSTUNREACH
        errno.ENETDOWN,
        errno.EAFNOSUPPORT,  # no IPv6 here
        errno.EACCES,  # a firewall of this machine
        errno.EPERM,
    }
)
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


def most_at_once() -> int:
    """Return how many checks may run at once: a quarter of the files that this process may open, 16 to 1024."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1024 if soft == resource.RLIM_INFINITY else min(1024, max(16, soft // 4))


async def resolve(name: str, port: int) -> Sequence[str]:
    """Return the addresses of a host name, as the machine's resolver has them. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


class Probes:
    """Makes a check of any kind; see checker.Probe."""

    def __init__(self, refusal: Refusal, resolve: Resolve = resolve) -> None:
        """`refusal(source, address)` says why an address may not be contacted, None where it may."""
        self._refusal = refusal
        self._resolve = resolve

    async def __call__(self, target: Target) -> Outcome:
        """Check once. The caller bounds the time; cancelled, it leaves nothing open."""
        assert isinstance(target.check.kind, TcpSocket)
        if family(target.address) != "Hostname":
            return await self._at(target, target.address)
        try:
            async with asyncio.timeout(target.check.timeout * RESOLVE_SHARE):
                found = await self._resolve(target.address, target.port)
        except socket.gaierror as error:
            if error.errno in _NO_SUCH_NAME:
                return failed("its host name does not resolve")
            return unknown(f"its host name cannot be resolved now: {error.strerror}")
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
            return unknown(f"its host name cannot be resolved now: {type(error).__name__}")
        outcome = failed("its host name has no address")
        for address in found[:MOST_ADDRESSES]:
            outcome = await self._at(target, address)
            if outcome.ok:
                break
        return outcome

    async def _at(self, target: Target, address: str) -> Outcome:
        if (reason := self._refusal(target.source, address)) is not None:
            return unknown(f"not contacted: {reason}")
        return await connect(address, target.port)


async def connect(address: str, port: int) -> Outcome:
    """Open a connection to an IP literal and close it again.

    It is closed in order, not reset: a server that reads at once sees an end, not an error in its log.
    """
    version = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        sock = socket.socket(version, socket.SOCK_STREAM)
    except OSError as error:
        return _found(error.errno or errno.EIO)
    with sock:
        sock.setblocking(False)
        number = sock.connect_ex((address, port))
        if number in _UNDER_WAY:
            await _writable(sock)
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not number and sock.getsockname()[:2] == (address, port):
            number = errno.ECONNREFUSED  # nobody listens: it met itself, on a port of this machine
    return _found(number)


async def _writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(sock, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_writer(sock)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _found(number: int) -> Outcome:
    if not number:
        return PASSED
    name = errno.errorcode.get(number, str(number))
    if number in _OURS:
        return unknown(f"no connection can be made from here: {name}")
    return failed(f"no connection: {name}")
