"""HTTP for adapters: one session an adapter, several base URLs, TLS that rotates, time-outs and size limits everywhere.

Never: proxy variables, cookies, `.netrc`, automatic redirects, decompression, or sending twice what may have been done.

    AdapterError    nothing was done: no address could be reached, or the request could not be made
    └── Unanswered  the request was sent, and no whole answer came: it may or may not have been done
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import aiohttp
import msgspec
from yarl import URL

from waypost.adapter import AdapterError, Credentials, PermanentError
from waypost.kit.addresses import base_url, is_loopback, place
from waypost.kit.answers import Response, Stream, Unanswered, why
from waypost.kit.tls import ClientTls, Tls

__all__ = ["Http", "Response", "Stream", "Tls", "Unanswered", "base_url"]

NO_HEADERS: Mapping[str, str] = {}
# Before these versions a TLS connection that is closed waits for the other side, and aiohttp has to end it.
ENDS_TLS_LATE = sys.version_info < (3, 12, 7) or (3, 13, 0) <= sys.version_info < (3, 13, 1)
NOT_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ClientConnectorSSLError,
    aiohttp.ConnectionTimeoutError,
)


class _Call(msgspec.Struct, frozen=True):
    """One request, as its caller asked for it."""

    method: str
    target: str
    params: Mapping[str, str] | None
    body: bytes | None
    headers: Mapping[str, str]
    follow: int


class Http:
    """A session to one system, reachable at any of `urls` (as `base_url` gives them); an async context manager.

    The address that answered last is asked first; one that cannot be connected to is passed over for the next. With
    None for `urls` every request names a whole URL. `headers` is called for each request and gives what carries
    credentials (a token): sent only to the origins of `urls`, and to the hosts that `trusted` names. The limits hold
    for each request: connecting (TLS included), the whole of it, the body's bytes. With `sockets`, `unix:///path` is an
    address too; redirects of such a server are not followed.
    """

    def __init__(
        self,
        urls: Sequence[URL | str] | None,
        *,
        credentials: Credentials,
        user_agent: str = "waypost",
        connect_seconds: float = 5,
        total_seconds: float = 30,
        max_body_bytes: int = 16 << 20,
        tls: Tls | None = None,
        headers: Callable[[], Mapping[str, str]] = lambda: NO_HEADERS,
        trusted: Callable[[str, int], bool] = lambda _host, _port: False,
        connections: int = 32,
        sockets: bool = False,
    ) -> None:
        if urls is not None and not urls:
            raise PermanentError("no address is given; expected http://host:port, https://host:port or host:port")
        given = [base_url(str(url), sockets=sockets) for url in urls or ()]
        self._paths = {_stand_in(at): url for at, url in enumerate(given) if url.scheme == "unix"}
        self._urls = [_stand_in(at) if url.scheme == "unix" else url for at, url in enumerate(given)]
        self._origins = {_origin(url) for url in self._urls}
        self._tls = ClientTls(credentials, tls)
        self._agent = user_agent
        self._connect, self._total, self._limit = connect_seconds, total_seconds, max_body_bytes
        self._headers, self._trusted = headers, trusted
        self._connections = connections
        self._first = 0
        self._session: aiohttp.ClientSession | None = None
        self._by_socket: dict[URL, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        """Open the session; connects to nothing yet."""
        self._session = self._with(
            aiohttp.TCPConnector(limit=self._connections, ttl_dns_cache=10, enable_cleanup_closed=ENDS_TLS_LATE)
        )
        for url, path in self._paths.items():
            self._by_socket[url] = self._with(aiohttp.UnixConnector(path.path, limit=self._connections))
        return self

    def _with(self, connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"User-Agent": self._agent, "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=self._connect),
        )
        # aiohttp would send a PUT or DELETE again when a kept connection breaks: it may have been done already.
        session._retry_connection = False  # noqa: SLF001 - there is no public way
        return session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        if self._session is not None:
            for session in (self._session, *self._by_socket.values()):
                await session.close()
            self._session = None
            self._by_socket.clear()
            for _ in range(2):
                await asyncio.sleep(0)  # the transports learn that they are closed

    def is_plaintext_remote(self) -> bool:
        """Return whether any address would carry a token in plain text beyond this machine."""
        remote = [url for url in self._urls if url not in self._paths and not is_loopback(url.host or "")]
        return any(url.scheme == "http" for url in remote)

    async def request(
        self,
        method: str,
        path_or_url: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
        seconds: float | None = None,
        follow: int = 0,
    ) -> Response:
        """Return the whole answer, of any status, within `seconds`. The path is percent-encoded already.

        So many redirects as `follow` are followed (307 and 308; all others for GET and HEAD only), also to other
        hosts, then without credentials. Raises AdapterError (nothing was done) or Unanswered (unknown).
        """
        call = _Call(method, path_or_url, params, body, headers, follow)
        limit = self._total if seconds is None else seconds
        try:
            async with asyncio.timeout(limit):
                try:
                    return await self._whole(call, limit)
                except _Broken:
                    if method not in {"GET", "HEAD"}:
                        raise
                return await self._whole(call, limit)  # a kept connection that the other side had closed meanwhile
        except TimeoutError:
            raise Unanswered(f"{self._told(path_or_url)}: no whole answer within {limit:g} s") from None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path_or_url: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
        seconds: float | None = None,
        idle_seconds: float = 60,
        follow: int = 0,
    ) -> AsyncIterator[Stream]:
        """Give the answer once its head has come, within `seconds`; its body may then pause for `idle_seconds`."""
        call = _Call(method, path_or_url, params, body, headers, follow)
        limit = self._total if seconds is None else seconds
        try:
            async with asyncio.timeout(limit):
                response = await self._open(call)
        except TimeoutError:
            raise Unanswered(f"{self._told(path_or_url)}: no answer began within {limit:g} s") from None
        try:
            yield Stream(response, self._shown(response.url), self._limit, idle_seconds)
        finally:
            response.close()  # never kept: what is unread may have no end

    async def _whole(self, call: _Call, limit: float) -> Response:
        response = await self._open(call)
        try:
            body = await Stream(response, self._shown(response.url), self._limit, limit).read()
        except BaseException:
            response.close()
            raise
        response.release()
        return Response(response.status, response.headers, body, str(self._shown(response.url)))

    async def _open(self, call: _Call) -> aiohttp.ClientResponse:
        response = await self._anywhere(call)
        for _ in range(call.follow if _origin(response.url) not in self._paths else 0):
            target = _redirect(call.method, response)
            if target is None:
                break
            response.close()
            if _origin(target) in self._paths:
                raise AdapterError(f"{place(response.url)}: redirects to a socket, which is not followed")
            response = await self._send(call, target)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            response.close()
            raise Unanswered(f"{self._place(response.url)}: the answer is compressed, which was not asked for")
        return response

    async def _anywhere(self, call: _Call) -> aiohttp.ClientResponse:
        if "://" in call.target:
            return await self._send(call, URL(call.target, encoded=True))
        failures = []
        for at in [*range(self._first, len(self._urls)), *range(self._first)]:
            base = self._urls[at]
            path = f"{base.raw_path.rstrip('/')}/{call.target.lstrip('/')}"
            try:
                response = await self._send(call, URL(f"{base.origin()}{path}", encoded=True))
            except _NotConnected as error:
                failures.append(str(error))
            else:
                self._first = at
                return response
        raise AdapterError("; ".join(failures))

    async def _send(self, call: _Call, url: URL) -> aiohttp.ClientResponse:
        if self._session is None:
            raise AdapterError("the session is closed")
        origin = _origin(url)
        session = self._by_socket.get(origin, self._session)
        known = origin in self._origins or self._trusted(url.host or "", url.port or 0)
        secure = url.scheme == "https"
        headers = {**call.headers, **self._headers()} if known else call.headers
        context = self._tls.context(known=known) if secure else True
        try:
            return await session.request(
                call.method,
                url.update_query(call.params) if call.params else url,
                data=call.body,
                headers=headers,
                allow_redirects=False,
                ssl=context,
                server_hostname=self._tls.server_name if secure else None,
            )
        except NOT_CONNECTED as error:
            raise _NotConnected(f"{self._place(url)}: {why(error)}") from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise _Broken(f"{self._place(url)}: {why(error)}") from None
        except (aiohttp.InvalidURL, ValueError):
            raise AdapterError(
                f"{self._place(url)}: the request's path or a header has a character it may not have"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unanswered(f"{self._place(url)}: {why(error)}") from None

    def _told(self, path_or_url: str) -> str:
        return self._place(URL(path_or_url, encoded=True) if "://" in path_or_url else self._urls[self._first])

    def _shown(self, url: URL) -> URL:
        """Where an answer came from, without its query: a socket under its own address."""
        return self._paths.get(_origin(url)) or url.with_query(None)

    def _place(self, url: URL) -> str:
        return place(self._shown(url))


class _NotConnected(AdapterError):
    """This address was not reached; another may be."""


class _Broken(Unanswered):
    """The connection broke before an answer came."""


def _origin(url: URL) -> URL:
    """Return scheme, host and port; a scheme's own port is as one that is not written (RFC 3986, section 6.2.3)."""
    origin = url.origin()
    return origin.with_port(None) if origin.is_default_port() else origin


def _stand_in(at: int) -> URL:
    """The origin under which a socket is known inside: no host can have such a name (RFC 6761, section 6.4)."""
    return URL(f"http://socket-{at}.invalid")


def _redirect(method: str, response: aiohttp.ClientResponse) -> URL | None:
    location = response.headers.get("Location")
    followed = {301, 302, 303, 307, 308} if method in {"GET", "HEAD"} else {307, 308}
    if response.status not in followed or not location:
        return None
    try:
        target = response.url.join(URL(location, encoded=True)).with_user(None).with_fragment(None)
        port = target.port
    except ValueError:
        raise AdapterError(f"{place(response.url)}: redirects to what is no URL") from None
    if target.scheme not in {"http", "https"} or not target.host or not port:
        raise AdapterError(f"{place(response.url)}: redirects to what is no http URL")
    if response.url.scheme == "https" and target.scheme == "http":
        raise AdapterError(f"{place(response.url)}: redirects from https to plain http, which is not followed")
    return target
