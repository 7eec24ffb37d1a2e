"""Answers of an HTTP server, read within limits, and why there was none, in words that quote nothing of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar

import aiohttp
import msgspec
from yarl import URL

from waypost.adapter import AdapterError
from waypost.kit.addresses import place

__all__ = ["Response", "Silent", "Stream", "Unanswered", "why"]

T = TypeVar("T")


class Unanswered(AdapterError):
    """The request was sent, at least in part, and no whole answer came: it may or may not have been done."""


class Silent(Unanswered):
    """Nothing more came for the idle time: the connection may be dead without a word."""


class Response(msgspec.Struct, frozen=True):
    """A whole answer. `headers` ignore case. `url` is where it came from in the end, without the query."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def place(self) -> str:
        """The host and port (or the socket) that answered."""
        return place(URL(self.url, encoded=True))

    def decode(self, decoder: msgspec.json.Decoder[T]) -> T:
        """Return the body decoded. Raises AdapterError where it is not of that form."""
        try:
            return decoder.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise AdapterError(f"{self.place}: the answer has not the form expected: {error}") from None


class Stream:
    """An answer whose body is read as it comes; once, by `chunks` or `read`."""

    def __init__(self, response: aiohttp.ClientResponse, url: URL, limit: int, idle_seconds: float) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.url = str(url)
        self._response = response
        self._limit = limit
        self._idle = idle_seconds
        self._place = place(url)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what comes, in pieces of at most some 128 KiB; the total is not bounded.

        Raises Silent when nothing came for the idle time, Unanswered when the connection was cut: what was yielded is
        then incomplete. An answer without a length and not chunked ends where its connection does.
        """
        while True:
            try:
                async with asyncio.timeout(self._idle):
                    chunk = await self._response.content.readany()
            except TimeoutError:
                raise Silent(f"{self._place}: the answer stopped: nothing came for {self._idle:g} s") from None
            except (aiohttp.ClientError, OSError) as error:
                raise Unanswered(f"{self._place}: the answer was cut: {why(error)}") from None
            if not chunk:
                return
            yield chunk

    async def read(self) -> bytes:
        """Return the whole body. Raises Unanswered when it is larger than the limit, late or cut."""
        size = self._response.content_length or 0
        pieces: list[bytes] = []
        if size <= self._limit:
            size = 0
            async for chunk in self.chunks():
                size += len(chunk)
                if size > self._limit:
                    break
                pieces.append(chunk)
        if size > self._limit:
            raise Unanswered(f"{self._place}: the answer is larger than {self._limit} bytes")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def why(error: BaseException) -> str:
    """Say what happened, from the error's kind and the system's own words only."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or "it is not valid"
            text = f"the server's certificate was refused: {reason}"
        case aiohttp.ClientConnectorSSLError():
            text = "TLS failed: the server speaks no TLS, or refuses our certificate"
        case aiohttp.ClientConnectorDNSError():
            text = "the host name is not known"
        case aiohttp.ConnectionTimeoutError():
            text = "no connection within the time allowed"
        case aiohttp.ServerDisconnectedError():
            text = "the connection was closed before an answer came"
        case aiohttp.ClientPayloadError():
            text = "the body ended too early or is broken"
        case aiohttp.ClientResponseError():
            text = "the answer is not HTTP"
        case aiohttp.ClientConnectorError():
            text = _system(error.os_error)
        case _:
            text = _system(error)
    return text


def _system(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if isinstance(number, int) and number > 0 else type(error).__name__
