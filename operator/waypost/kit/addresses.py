"""Where a system is reached, as a manifest writes it, and how an error names the place: by host and port, or path."""

from __future__ import annotations

import ipaddress

from yarl import URL

from waypost.adapter import PermanentError

__all__ = ["base_url", "is_loopback", "place"]

LONGEST_SOCKET = 107  # bytes; unix(7)


def base_url(address: str, *, port: int | None = None, scheme: str = "http", sockets: bool = False) -> URL:
    """Return the base URL that a manifest means by `address`: a URL, or host:port; `port` is the default.

    `sockets`: `unix:///absolute/path` is an address as well; returned as it is. Raises PermanentError, which never
    shows a password.
    """
    if sockets and address.startswith("unix:"):
        return _socket(address)
    text = address if "://" in address else f"{scheme}://{address}"
    try:
        url = URL(text)
        explicit = url.explicit_port
    except ValueError:
        raise PermanentError("an address is neither a URL nor host:port") from None
    if url.user is not None or url.password is not None:
        raise PermanentError(f"address of {url.host}: a URL holds no user or password; give them as credentials")
    if url.scheme not in {"http", "https"} or not url.host or explicit == 0:
        raise PermanentError(f"address `{address[:200]}`: expected http://host:port, https://host:port or host:port")
    if url.query_string or url.fragment:
        raise PermanentError(f"address of {url.host}: a base URL has no query and no fragment")
    return url.with_port(port) if port is not None and explicit is None else url


def _socket(address: str) -> URL:
    path = address.removeprefix("unix://")
    if not path.startswith("/") or path.startswith("//") or "\0" in path or len(path.encode()) > LONGEST_SOCKET:
        raise PermanentError(
            f"address `{address[:200]}`: expected unix:///absolute/path, of at most {LONGEST_SOCKET} bytes"
        )
    return URL.build(scheme="unix", path=path)


def place(url: URL) -> str:
    """Return `host:port`, or the path of a Unix socket."""
    if url.scheme == "unix":
        return url.path
    host = url.host or "?"
    return f"[{host}]:{url.port}" if ":" in host else f"{host}:{url.port}"


def is_loopback(host: str) -> bool:
    """Return whether what is sent to that host stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
