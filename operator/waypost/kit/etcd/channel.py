"""How a gRPC channel to one member is made: TLS from credentials, no proxy, a hung peer noticed, sizes bounded."""

from __future__ import annotations

import grpc
import grpc.aio
import msgspec

from waypost.adapter import Credentials, PermanentError
from waypost.kit.etcd.endpoint import Endpoint

__all__ = ["LARGEST_ANSWER", "Keys", "keys", "open_channel"]

LARGEST_ANSWER = 8 * 2**20  # bytes; etcd's own bound on a value is 1.5 MiB by default
PING_EVERY = 10  # seconds; etcd calls more than one in 5 s an attack
PING_ANSWER = 5  # seconds

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.enable_http_proxy", 0),  # the process' proxy variables are for others
    ("grpc.use_local_subchannel_pool", 1),  # a new channel is a new connection, never the hung one of the old
    ("grpc.enable_retries", 0),  # whether a request may be sent twice is for the caller to say
    ("grpc.keepalive_time_ms", PING_EVERY * 1000),
    ("grpc.keepalive_timeout_ms", PING_ANSWER * 1000),
    ("grpc.http2.ping_timeout_ms", PING_ANSWER * 1000),  # else a minute, whatever the line above says
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", LARGEST_ANSWER),
    ("grpc.max_send_message_length", LARGEST_ANSWER),
)


class Keys(msgspec.Struct, frozen=True):
    """The credentials' values as they are now; shown as nothing."""

    ca: str | None
    certificate: str | None
    key: str | None
    username: str | None
    password: str | None

    def __repr__(self) -> str:
        """Return nothing of what it holds."""
        return "Keys(…)"


def keys(credentials: Credentials) -> Keys:
    """Read `ca`, `clientCert`, `clientKey` (PEM), `username`, `password`. Raises PermanentError where half is given."""
    get = credentials.get
    found = Keys(get("ca"), get("clientCert"), get("clientKey"), get("username"), get("password"))
    _both("clientCert", found.certificate, "clientKey", found.key)
    _both("username", found.username, "password", found.password)
    for name, pem in (("ca", found.ca), ("clientCert", found.certificate), ("clientKey", found.key)):
        if pem is not None and "-----BEGIN " not in pem:
            raise PermanentError(f"the credential `{name}` is no PEM text (it lacks a line `-----BEGIN …-----`)")
    return found


def _both(one: str, first: str | None, other: str, second: str | None) -> None:
    if (first is None) != (second is None):
        given, missing = (one, other) if second is None else (other, one)
        raise PermanentError(f"the credential `{given}` is given without `{missing}`; both are needed")


def open_channel(endpoint: Endpoint, keys: Keys, server_name: str | None) -> grpc.aio.Channel:
    """Return a channel, not connected yet; it is the caller's to close.

    `server_name` replaces the endpoint's host in TLS: what is asked for (SNI) and what the certificate must be for.
    Raises PermanentError where certificates are given for an endpoint that would not use them.
    """
    options: list[tuple[str, int | str]] = list(_OPTIONS)
    if not endpoint.secure:
        if keys.ca is not None or keys.certificate is not None or server_name is not None:
            raise PermanentError(f"TLS is configured and {endpoint.url} does not use it; write https://")
        return grpc.aio.insecure_channel(endpoint.target, options=options)
    if server_name is not None:
        options.append(("grpc.ssl_target_name_override", server_name))
    tls = grpc.ssl_channel_credentials(_bytes(keys.ca), _bytes(keys.key), _bytes(keys.certificate))
    return grpc.aio.secure_channel(endpoint.target, tls, options=options)


def _bytes(pem: str | None) -> bytes | None:
    return None if pem is None else pem.encode()
