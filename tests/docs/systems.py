"""The systems that docs/adapters.md writes adapters for, as HTTP servers: Depot starts programs, Shelf keeps items."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web


class Server:
    """A server that can be stopped and started again on its port; `token` is what it asks for."""

    token = "s3cret-of-the-example"

    def __init__(self) -> None:
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application(middlewares=[self._allowed])
        self.routes(app)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def routes(self, app: web.Application) -> None:
        raise NotImplementedError

    @web.middleware
    async def _allowed(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            raise web.HTTPUnauthorized
        answer: web.StreamResponse = await handler(request)
        return answer


class Depot(Server):
    """`GET /apps` lists all that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.apps: dict[str, list[str]] = {}
        self._started = 0

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/apps", self._list)

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response(
            [
                {"name": name, "programs": [{"id": id, "ip": "10.0.0.7", "port": 8000 + int(id[1:])} for id in ids]}
                for name, ids in self.apps.items()
            ]
        )

    def run(self, name: str) -> str:
        self._started += 1
        self.apps.setdefault(name, []).append(f"p{self._started}")
        return f"p{self._started}"

    def kill(self, program: str) -> None:
        for name, ids in list(self.apps.items()):
            if program in ids:
                ids.remove(program)
                if not ids:
                    del self.apps[name]


class Shelf(Server):
    """Keeps JSON under keys: GET /items, and GET, PUT, DELETE /items/KEY with conditions (RFC 9110, section 13)."""

    def __init__(self) -> None:
        super().__init__()
        self.items: dict[str, Any] = {}
        self._tags: dict[str, str] = {}
        self._writes = 0

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/items", self._list)
        app.router.add_get("/items/{key}", self._get)
        app.router.add_put("/items/{key}", self._put)
        app.router.add_delete("/items/{key}", self._delete)

    def put(self, key: str, item: Any) -> None:
        self._writes += 1
        self.items[key] = item
        self._tags[key] = f'"{self._writes}"'

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response(self.items)

    async def _get(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        if key not in self.items:
            raise web.HTTPNotFound
        return web.json_response(self.items[key], headers={"ETag": self._tags[key]})

    async def _put(self, request: web.Request) -> web.Response:
        item = json.loads(await request.read())
        self._check(request)
        self.put(request.match_info["key"], item)
        return web.Response(status=204)

    async def _delete(self, request: web.Request) -> web.Response:
        self._check(request)
        self.items.pop(request.match_info["key"], None)
        return web.Response(status=204)

    def _check(self, request: web.Request) -> None:
        key = request.match_info["key"]
        there = self._tags[key] if key in self.items else None
        wanted = request.headers.get("If-Match")
        if (wanted is not None and wanted != there) or (request.headers.get("If-None-Match") == "*" and there):
            raise web.HTTPPreconditionFailed
