"""The registry's HTTP interface for consumers: names, their instances, and whether it knows anything yet."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from aiohttp import web

from waypost.kit.serve import error
from waypost.model import Strategy
from waypost_adapters.registry.directory import Ambiguous, Directory, Name, Query

__all__ = ["Api", "Refused"]

MAX_LIMIT = 10_000
_STRATEGIES: dict[str, Strategy] = {
    "ordered": "Ordered",
    "weighted": "Weighted",
    "roundrobin": "RoundRobin",
    "random": "Random",
    "leastfailures": "LeastFailures",
    "zone": "Zone",
}
_BOOL = {"true": True, "1": True, "": True, "false": False, "0": False}
_encoder = msgspec.json.Encoder()


class Refused(Exception):
    """The request cannot be answered as it is asked; `status` and the text go to whoever asked."""

    def __init__(self, status: int, text: str) -> None:
        """Keep both."""
        super().__init__(text)
        self.status = status


class Api:
    """The handlers. `known()` says whether what is not found is not there, or only not known yet."""

    def __init__(self, directory: Directory, known: Callable[[], bool]) -> None:
        self.directory = directory
        self._known = known

    def routes(self) -> list[web.RouteDef]:
        """Return what a consumer may ask."""
        return [
            web.get("/health", self.health),
            web.get("/services", self.services),
            web.get("/services/{name}", self.service),
        ]

    async def health(self, _: web.Request) -> web.Response:
        """Say whether it knows what is published, and how much that is."""
        if not self._known():
            return _unknown()
        return _json({"status": "ok", "instances": self.directory.count, "index": self.directory.index})

    async def services(self, request: web.Request) -> web.Response:
        """List names with the number of their instances."""
        if not self._known():
            return _unknown()
        found = self.directory.names(request.query.get("namespace"), request.query.get("environment"))
        return _json({"Services": [self._counted(name) for name in found], "Index": self.directory.index})

    async def service(self, request: web.Request) -> web.Response:
        """Answer for one name."""
        wanted = request.match_info["name"]
        try:
            query = _query(request)
            name = self.directory.find(wanted, request.query.get("namespace"), request.query.get("environment"))
        except Refused as refused:
            return error(refused.status, str(refused))
        except Ambiguous as ambiguous:
            return error(400, _ask_which(wanted, ambiguous))
        if name is None:
            return error(404, f"nothing is registered under {wanted[:100]!a} there") if self._known() else _unknown()
        tag = f'W/"{name.index}"'
        headers = {"ETag": tag, "X-Waypost-Index": str(name.index), "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        body = self.directory.answer(name, query)
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _counted(self, name: Name) -> dict[str, object]:
        instances = name.instances(self.directory.registry)
        return {
            "ServiceName": name.key.name,
            "Namespace": name.key.namespace,
            "Environment": name.key.environment,
            "Instances": len(instances),
            "Ready": sum(instance.ready for instance in instances),
            "Index": name.index,
        }


def _query(request: web.Request) -> Query:
    asked = request.query
    ready = _BOOL.get(asked.get("ready", "false").lower())
    if ready is None:
        raise Refused(400, f"ready={asked['ready'][:20]!a}: expected true or false")
    strategy = None
    if "strategy" in asked:
        strategy = _STRATEGIES.get(asked["strategy"].lower().replace("-", "").replace("_", ""))
        if strategy is None:
            raise Refused(
                400, f"strategy={asked['strategy'][:20]!a}: expected one of {', '.join(_STRATEGIES.values())}"
            )
    limit = None
    if "limit" in asked:
        text = asked["limit"]
        if not text.isascii() or not text.isdigit() or len(text) > 5 or not 1 <= int(text) <= MAX_LIMIT:
            raise Refused(400, f"limit={text[:20]!a}: expected a number of 1 to {MAX_LIMIT}")
        limit = int(text)
    return Query(ready, strategy, asked.get("zone", ""), limit)


def _ask_which(wanted: str, ambiguous: Ambiguous) -> str:
    places = ", ".join(
        f"namespace={place.namespace}&environment={place.environment}" for place in ambiguous.places[:10]
    )
    return f"{wanted!a} stands in {len(ambiguous.places)} places; say which is meant: {places}"


def _unknown() -> web.Response:
    return error(503, "nothing is known yet: what is published has not come, or is being read", Retry_After="1")


def _json(body: object) -> web.Response:
    return web.Response(body=_encoder.encode(body) + b"\n", content_type="application/json")
