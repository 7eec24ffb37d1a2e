"""Whether a place can be reached: its name, a connection, its certificate. For `waypost doctor`; nothing is sent."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from collections.abc import Awaitable, Sequence
from contextlib import suppress

from yarl import URL

from waypost.adapter import AdapterError, Credentials, Finding, PermanentError, Place
from waypost.kit.tls import CREDENTIALS, client_context

__all__ = ["place_of", "reach", "tried"]

SOON_DAYS = 14
DAY = 86_400.0


async def tried(what: str, asking: Awaitable[str]) -> Finding:
    """Return what an adapter found: the text where it is well, else the error's."""
    try:
        return Finding(what, "ok", await asking)
    except AdapterError as error:
        return Finding(what, "failed", str(error))


def place_of(url: URL, server_name: str = "") -> Place:
    """Return the place that a base URL of the kit means."""
    if url.scheme == "unix":
        return Place(socket=url.path)
    return Place(url.host or "", url.port or 0, url.scheme == "https", server_name)


async def reach(place: Place, credentials: Credentials, now: float, seconds: float = 5.0) -> Sequence[Finding]:
    """Try name, connection and TLS, each within so many seconds; the last finding failed where it ended there.

    `now` is in seconds since 1970.
    """
    found: list[Finding] = []
    if not place.socket and not _is_address(place.host):
        found.append(await _within(seconds, _resolve(place), "name", place))
    if not found or found[-1].status != "failed":
        found.append(await _within(seconds, _connect(place), "connect", place))
    if place.tls and found[-1].status != "failed":
        found.append(await _within(seconds, _handshake(place, credentials, now), "tls", place))
    return found


async def _within(seconds: float, trying: Awaitable[Finding], what: str, place: Place) -> Finding:
    try:
        async with asyncio.timeout(seconds):
            return await trying
    except TimeoutError:
        return Finding(
            what, "failed", f"{place}: no answer within {seconds:g} s", "look at firewalls between, and at the address"
        )


async def _resolve(place: Place) -> Finding:
    try:
        rows = await asyncio.get_running_loop().getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or str(error)
        return Finding("name", "failed", f"{place.host}: {said}", "correct the name, or the resolver of this machine")
    addresses = sorted({str(row[4][0]) for row in rows})
    return Finding("name", "ok", f"{place.host} is {', '.join(addresses[:8])}")


async def _connect(place: Place) -> Finding:
    try:
        if place.socket:
            _, writer = await asyncio.open_unix_connection(place.socket)
        else:
            _, writer = await asyncio.open_connection(place.host, place.port)
    except OSError as error:
        remedy = (
            "let the user that Waypost runs as use the socket; is the server running?"
            if place.socket
            else "is the server running, and the port right? A firewall may refuse it"
        )
        return Finding("connect", "failed", f"{place}: {_said(error)}", remedy)
    await _end(writer)
    return Finding("connect", "ok", str(place))


async def _end(writer: asyncio.StreamWriter) -> None:
    """Close at once: nothing was said, and TLS would wait for the other side's word."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


def _said(error: OSError) -> str:
    """Return the system's word; asyncio has several in one text where a name has several addresses."""
    return os.strerror(error.errno) if error.errno else str(error)


async def _handshake(place: Place, credentials: Credentials, now: float) -> Finding:
    try:
        context = client_context(*(credentials.get(name) for name in CREDENTIALS))
        _, writer = await asyncio.open_connection(
            place.host, place.port, ssl=context, server_hostname=place.server_name or place.host
        )
    except PermanentError as error:
        return Finding("tls", "failed", str(error))
    except ssl.SSLCertVerificationError as error:
        return Finding(
            "tls",
            "failed",
            f"{place}: {error.verify_message}",
            "give the credential `ca` that signed it, `tls.serverName` where the name differs, or renew it",
        )
    except ssl.SSLError as error:
        return Finding(
            "tls",
            "failed",
            f"{place}: {error.reason or error}",
            "does the server speak TLS on this port, and does it want a client certificate (clientCert, clientKey)?",
        )
    except OSError as error:
        return Finding("tls", "failed", f"{place}: {_said(error)}", "does the server speak TLS on this port?")
    certificate = writer.get_extra_info("peercert") or {}
    await _end(writer)
    ends = certificate.get("notAfter")
    if ends is None:
        return Finding("tls", "ok", f"{place}: valid")
    days = int((ssl.cert_time_to_seconds(ends) - now) / DAY)
    if days < SOON_DAYS:
        return Finding("tls", "warning", f"{place}: its certificate ends in {days} days", "renew the certificate")
    return Finding("tls", "ok", f"{place}: valid for {days} days")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
