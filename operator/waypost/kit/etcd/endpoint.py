"""Where a cluster's members are: URLs, checked and taken apart. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from waypost.adapter import PermanentError
from waypost.kit.addresses import is_loopback

__all__ = ["Endpoint", "endpoints"]

DEFAULT_PORT = 2379


class Endpoint(msgspec.Struct, frozen=True):
    """One member: `url` for people (it never holds a password), `target` for gRPC, and whether TLS is spoken."""

    url: str
    target: str
    secure: bool

    @property
    def is_plaintext_remote(self) -> bool:
        """Whether a password would travel unencrypted beyond this machine."""
        return not self.secure and not is_loopback(urlsplit(self.url).hostname or "")


def endpoints(urls: Sequence[str]) -> tuple[Endpoint, ...]:
    """Take the URLs apart, in their order. Raises PermanentError that says which one is wrong and how."""
    if not urls:
        raise PermanentError("no endpoint is given; expected URLs such as https://etcd-1.example:2379")
    found = tuple(_endpoint(number, url) for number, url in enumerate(urls))
    if len({endpoint.secure for endpoint in found}) > 1:
        raise PermanentError("some endpoints are http:// and some https://; write all of them as one or the other")
    return found


def _endpoint(number: int, url: str) -> Endpoint:
    where = f"endpoints[{number}]"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or DEFAULT_PORT
    except ValueError:  # its text could repeat a password written in the wrong place
        raise PermanentError(f"{where} is no URL; expected https://HOST:PORT with a port of 1..65535") from None
    if parts.username is not None or parts.password is not None:
        raise PermanentError(
            f"{where} holds a user name or password; give them as credentials `username` and `password`"
        )
    if parts.scheme not in {"http", "https"} or not host:
        raise PermanentError(f"{where} is no URL of an etcd member; expected https://HOST:PORT or http://HOST:PORT")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise PermanentError(f"{where} has something after the port; expected https://HOST:PORT and no more")
    shown = f"[{host}]" if ":" in host else host
    return Endpoint(f"{parts.scheme}://{shown}:{port}", f"dns:///{shown}:{port}", parts.scheme == "https")
