"""Docker's HTTP API over a Unix socket, as little of it as the testbed needs."""

import asyncio
import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from testbed.web import Answer

Query = str | int | list[str]


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class DockerApi:
    """One engine's API."""

    def __init__(self, path: Path) -> None:
        """`path` is its socket, of at most 107 bytes."""
        self.path = path

    async def request(
        self, method: str, path: str, body: object = None, *, timeout: float = 30, **query: Query
    ) -> Answer:
        """Send one request (a `body` that is not bytes or a file goes as JSON); OSError: no answer in `timeout` s."""
        return await asyncio.to_thread(self._request, method, path, body, timeout, query)

    async def call(self, method: str, path: str, body: object = None, *, timeout: float = 30, **query: Query) -> Any:
        """The same, decoded; raises ValueError for a refusal."""
        answer = await self.request(method, path, body, timeout=timeout, **query)
        answer.expect(200, 201, 204)
        return answer.json() if answer.headers.get("Content-Type") == "application/json" and answer.body else None

    def _request(self, method: str, path: str, body: object, timeout: float, query: dict[str, Query]) -> Answer:
        connection = _Connection(self.path, timeout)
        url = f"{path}?{urlencode(query, doseq=True)}" if query else path
        headers = {"Content-Type": "application/x-tar" if isinstance(body, (bytes, Path)) else "application/json"}
        try:
            if isinstance(body, Path):
                headers["Content-Length"] = str(body.stat().st_size)
                with body.open("rb") as file:
                    connection.request(method, url, file, headers)
            else:
                raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
                connection.request(method, url, raw, headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        except http.client.HTTPException as error:
            raise ConnectionError(repr(error)) from error
        finally:
            connection.close()
