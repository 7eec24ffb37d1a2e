"""An HTTP server for adapters that serve.

Bounded in bodies, headers, connections and seconds, and stopped within a bound.

Errors are JSON, `{"error": TEXT}`, whatever raised them. No access log: an address list is not ours to keep.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec
from aiohttp import web

from waypost.adapter import Credentials, PermanentError
from waypost.kit.listen import Listen, bind_stream, bound, parse_listen

__all__ = ["TLS", "ServeLimits", "Serving", "error", "serve", "server_tls", "unbounded"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
    b'Content-Length: 39\r\n\r\n{"error": "too many open connections"}\n'
)


class TLS(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """That a listener speaks TLS; certificate and key are the credentials `tlsCertificate` and `tlsKey` (PEM)."""

    min_version: Literal["1.2", "1.3"] = "1.2"


class ServeLimits(msgspec.Struct, frozen=True):
    """What one server takes at most. `idle_seconds` also bounds how long a client may take to send a request's head."""

    body_bytes: int = 262_144
    line_bytes: int = 8_190
    headers: int = 64
    connections: int = 1_024
    request_seconds: float = 10.0
    idle_seconds: float = 75.0
    stop_seconds: float = 3.0


class Serving(msgspec.Struct, frozen=True):
    """A running server: where it is bound (with the port that the system chose), and that as a URL."""

    listen: Listen
    url: str


@asynccontextmanager
async def serve(
    routes: list[web.RouteDef],
    listen: str,
    *,
    log: logging.LoggerAdapter[logging.Logger],
    tls: ssl.SSLContext | None = None,
    limits: ServeLimits | None = None,
) -> AsyncIterator[Serving]:
    """Serve the routes while the block runs; on its end answers under way get `stop_seconds`, then are cut.

    Raises AdapterError where the port is taken, PermanentError where the address can never be, both saying what to
    change.
    """
    limits = limits or ServeLimits()
    app = web.Application(client_max_size=limits.body_bytes, middlewares=[_guard(log, limits.request_seconds)])
    app.add_routes(routes)
    runner = web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        keepalive_timeout=limits.idle_seconds,
        shutdown_timeout=limits.stop_seconds,
        max_line_size=limits.line_bytes,
        max_field_size=limits.line_bytes,
        max_headers=limits.headers,
        lingering_time=1.0,
        auto_decompress=False,
    )
    await runner.setup()
    try:
        sock = bind_stream(parse_listen(listen))
        where = bound(sock)
        server = await asyncio.get_running_loop().create_server(
            _bounded(runner, limits.connections), sock=sock, ssl=tls, backlog=min(limits.connections, 512)
        )
        try:
            log.info("listening address=%s tls=%s", where, tls is not None)
            yield Serving(where, f"{'https' if tls else 'http'}://{where}")
        finally:
            server.close()
    finally:
        await runner.cleanup()


def error(status: int, text: str, **headers: str) -> web.Response:
    """Return an error answer; header names are given with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(
        status=status, text=json.dumps({"error": text}) + "\n", content_type="application/json", headers=named
    )


def unbounded(handler: Handler) -> Handler:
    """Mark a handler that may take longer than `request_seconds`, as a long poll does; it bounds itself."""
    handler.__waypost_unbounded__ = True  # type: ignore[attr-defined]  # read by the guard alone
    return handler


def server_tls(credentials: Credentials, tls: TLS) -> ssl.SSLContext:
    """Return the context of a listener from its two credentials, as they are now.

    Raises PermanentError that names what is missing.
    """
    certificate, key = credentials.get("tlsCertificate"), credentials.get("tlsKey")
    for name, value in (("tlsCertificate", certificate), ("tlsKey", key)):
        if not value:
            raise PermanentError(f"`tls` is asked for, but the credential `{name}` is missing: add it to `credentials`")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="waypost-") as file:  # made with mode 0600
        file.write(f"{certificate}\n{key}\n")
        file.flush()
        try:
            context.load_cert_chain(file.name, password=_no_password)
        except (ssl.SSLError, ValueError):
            raise PermanentError(
                "credentials `tlsCertificate` and `tlsKey` are not a PEM certificate and its unencrypted key; nothing "
                "is served until they are"
            ) from None
    return context


def _no_password() -> str:
    raise ValueError("an encrypted key")  # without this OpenSSL would ask on the terminal


def _guard(log: logging.LoggerAdapter[logging.Logger], seconds: float) -> Any:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        bound_seconds = None if getattr(handler, "__waypost_unbounded__", False) else seconds
        try:
            async with asyncio.timeout(bound_seconds):
                return await handler(request)
        except web.HTTPException as refusal:
            if refusal.status < 400:
                raise
            allow = refusal.headers.get("Allow")
            return error(refusal.status, _wording(refusal), **({"Allow": allow} if allow else {}))
        except TimeoutError:
            return error(503, f"not done within {seconds:g} seconds", Retry_After="1")
        except Exception:
            log.exception("request failed method=%s path=%.200r", request.method, request.path)
            return error(500, "an error of the server's own; its log says which")

    return guard


def _wording(refusal: web.HTTPException) -> str:
    match refusal.status:
        case 404:
            return "no such path"
        case 405:
            return "this path does not take this method; the header Allow lists those it takes"
        case 413:
            return "the body is too large"
        case _:
            return refusal.reason.lower()


def _bounded(runner: web.AppRunner, connections: int) -> Callable[[], asyncio.Protocol]:
    def accept() -> asyncio.Protocol:
        server = runner.server
        if server is None or len(server._connections) >= connections:  # noqa: SLF001 - `connections` copies the list at each accept
            return _Refuse()
        return server()

    return accept


class _Refuse(asyncio.Protocol):
    """Says that there are too many connections, and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(_FULL)
        transport.close()
