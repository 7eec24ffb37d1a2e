"""Where a server listens: the text of an address, and the bound sockets made from it."""

from __future__ import annotations

import errno
import ipaddress
import socket

import msgspec

from waypost.adapter import AdapterError, PermanentError

__all__ = ["Listen", "bind_stream", "bind_stream_and_datagram", "bound", "parse_listen"]

_TRIES = 32  # to find a port that is free for TCP and UDP alike
_RECEIVE_BUFFER = 4_194_304


class Listen(msgspec.Struct, frozen=True):
    """An IP address and a port; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return the form that `parse_listen` reads."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def wildcard(self) -> bool:
        """Whether it stands for all addresses of the machine."""
        return ipaddress.ip_address(self.host).is_unspecified


def parse_listen(text: str) -> Listen:
    """Read `127.0.0.1:7480`, `[::1]:7480`, `localhost:7480` (127.0.0.1) or `:7480` (all IPv4 addresses).

    Raises PermanentError.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    address = {"": "0.0.0.0", "localhost": "127.0.0.1"}.get(host, host[1:-1] if bracketed else host)  # noqa: S104 - `:7480` asks for it
    try:
        parsed = ipaddress.ip_address(address)
        if not colon or (parsed.version == 6) != bracketed or not port.isascii() or not port.isdigit():
            raise ValueError(text)
        if int(port) > 65_535:
            raise ValueError(port)
    except ValueError:
        raise PermanentError(
            f"`{text}` is no address to listen on: expected ADDRESS:PORT with an IP address, as 127.0.0.1:7480 or "
            "[::1]:7480, and a port of 0 to 65535"
        ) from None
    return Listen(str(parsed), int(port))


def bind_stream(listen: Listen) -> socket.socket:
    """Return a bound TCP socket, not yet listening. Raises AdapterError (taken), PermanentError (not allowed)."""
    return _bind(listen, socket.SOCK_STREAM)


def bind_stream_and_datagram(listen: Listen) -> tuple[socket.socket, socket.socket]:
    """Return a TCP and a UDP socket on the same port, also when the system chooses it. Raises as `bind_stream`."""
    for _ in range(_TRIES):
        stream = _bind(listen, socket.SOCK_STREAM)
        try:
            return stream, _bind(bound(stream), socket.SOCK_DGRAM)
        except AdapterError:
            stream.close()
            if listen.port:
                raise
        except BaseException:
            stream.close()
            raise
    raise AdapterError(
        f"no port of {listen.host} is free for both TCP and UDP ({_TRIES} were tried); tried again later"
    )


def bound(sock: socket.socket) -> Listen:
    """Return where a socket is bound."""
    host, port = sock.getsockname()[:2]
    return Listen(host, port)


def _bind(listen: Listen, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in listen.host else socket.AF_INET, kind)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind((listen.host, listen.port))
    except OSError as error:
        sock.close()
        raise _refusal(listen, kind, error) from error
    return sock


def _refusal(listen: Listen, kind: socket.SocketKind, error: OSError) -> AdapterError:
    what = f"cannot listen on {listen} ({'TCP' if kind == socket.SOCK_STREAM else 'UDP'})"
    if error.errno == errno.EADDRINUSE:
        return AdapterError(
            f"{what}: another process, or another resource of this one, listens there; stop it or change `listen`. "
            "Tried again"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return AdapterError(
            f"{what}: this machine has no such address; change `listen` or add the address. Tried again"
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return PermanentError(
            f"{what}: not allowed; a port below 1024 needs CAP_NET_BIND_SERVICE: give it, or change `listen`"
        )
    return AdapterError(f"{what}: {error.strerror or error}. Tried again")
