"""HTTP requests for probes and for setting servers up: one connection a request, any status is an answer."""

import asyncio
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded; raises ValueError."""
        return json.loads(self.body)

    def expect(self, *statuses: int) -> "Answer":
        """Itself, when its status is one of these (default 200); raises ValueError with the body."""
        if self.status not in (statuses or (200,)):
            msg = f"HTTP {self.status}: {self.body[:500].decode(errors='replace')}"
            raise ValueError(msg)
        return self


def _request(
    method: str, url: str, body: bytes | None, headers: Mapping[str, str], tls: ssl.SSLContext | None, timeout: float
) -> Answer:
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout, context=tls)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())
    except http.client.HTTPException as error:
        raise ConnectionError(repr(error)) from error
    finally:
        connection.close()


async def request(
    method: str,
    url: str,
    body: object = None,
    *,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    timeout: float = 10,
) -> Answer:
    """Send one request (a `body` that is not bytes goes as JSON); OSError: no answer within `timeout` seconds."""
    sent = {**(headers or {})}
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    return await asyncio.to_thread(_request, method, url, body, sent, tls, timeout)
