"""Who may ask what: the Host header against DNS rebinding; the token for what acts, and for reading from elsewhere."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Collection
from typing import Literal

from aiohttp import web

from waypost.kit.listen import Listen
from waypost.kit.serve import error

__all__ = ["Gate", "Handler", "Reads"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Reads = Literal["auto", "open", "token"]


class Gate:
    """Wraps handlers. `reads` auto: open to all on a loopback listener, with the token elsewhere."""

    def __init__(self, token: str, listen: Listen, *, reads: Reads = "auto", hosts: Collection[str] = ()) -> None:
        """`hosts` are names, beside `localhost` and IP addresses, under which this server may be asked."""
        self._token = token.encode()
        self._open = reads == "open" or (reads == "auto" and listen.loopback)
        self._hosts = {"localhost", *(host.lower() for host in hosts)}

    def reading(self, handler: Handler) -> Handler:
        """Let a handler that changes nothing be asked."""

        async def gated(request: web.Request) -> web.StreamResponse:
            refusal = self._host(request) or (None if self._open else self._authorization(request))
            return refusal or await handler(request)

        return gated

    def acting(self, handler: Handler) -> Handler:
        """Let a handler that acts be asked, with the token and a body of JSON."""

        async def gated(request: web.Request) -> web.StreamResponse:
            refusal = self._host(request) or self._authorization(request)
            if refusal is None and request.content_type != "application/json":
                refusal = error(415, "expected Content-Type: application/json")
            return refusal or await handler(request)

        return gated

    def _host(self, request: web.Request) -> web.Response | None:
        """Refuse a host name that is not ours: a browser was led here by a page of that name."""
        given = request.headers.getall("Host", [])
        host = given[0].lower() if len(given) == 1 else ""
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdigit():
            name = host
        bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
        if bare in self._hosts:
            return None
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            return error(
                421, "this server is not asked under that name; use its IP address, or run it with --admin-host NAME"
            )
        return None

    def _authorization(self, request: web.Request) -> web.Response | None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)
        if scheme.lower() == "bearer" and same:
            return None
        text = "this needs the header `Authorization: Bearer TOKEN`; the token is in admin.token in the state folder"
        return error(401, text, WWW_Authenticate="Bearer")
