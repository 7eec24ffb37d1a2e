"""The registry's HTTP interface for clients that register themselves.

Whoever writes shows the token, unless told otherwise.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import msgspec
from aiohttp import web

from waypost.adapter import AdapterError, Credentials
from waypost.kit import dnsnames
from waypost.kit.serve import error
from waypost.model import Readiness
from waypost_adapters.registry.api import Refused
from waypost_adapters.registry.clients import Clients, Registered
from waypost_adapters.registry.layout import NAME

__all__ = ["Writes"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,126}[A-Za-z0-9])?")
Text = Annotated[str, msgspec.Meta(max_length=1_024)]
Metadata = Annotated[
    dict[Annotated[str, msgspec.Meta(min_length=1, max_length=253)], Text], msgspec.Meta(max_length=64)
]
_encoder = msgspec.json.Encoder()


class Merge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What PUT takes: what is given replaces, metadata is merged (null takes a key away)."""

    weight: Annotated[int, msgspec.Meta(ge=0, le=65_535)] | None = None
    readiness: Readiness | None = None
    metadata: Annotated[dict[str, Text | None], msgspec.Meta(max_length=64)] | None = None


class Fresh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What POST takes. `port` is a number, or a text that is one."""

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    port: int | Annotated[str, msgspec.Meta(max_length=5)] = ""
    id: str = ""
    endpoint: Text = ""
    weight: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 1
    readiness: Readiness = "ready"
    zone: Annotated[str, msgspec.Meta(max_length=253)] = ""
    metadata: Metadata = msgspec.field(default_factory=dict)
    ttl: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 0


class Writes:
    """The handlers; they refuse until a source is attached."""

    def __init__(self) -> None:
        self._clients: Clients | None = None
        self._credentials: Credentials | None = None
        self._anonymous = False

    def attach(self, clients: Clients, credentials: Credentials, *, anonymous: bool) -> None:
        """Take writes for this source from now on."""
        self._clients, self._credentials, self._anonymous = clients, credentials, anonymous

    def detach(self) -> None:
        """Take no writes any more."""
        self._clients = self._credentials = None

    @property
    def attached(self) -> bool:
        """Whether there is a source that takes writes."""
        return self._clients is not None

    def routes(self) -> list[web.RouteDef]:
        """Return what a client may ask."""
        return [
            web.post("/services/{name}", self._guarded(self._post)),
            web.put("/services/{name}/{id}", self._guarded(self._put)),
            web.put("/services/{name}/{id}/heartbeat", self._guarded(self._heartbeat)),
            web.delete("/services/{name}/{id}", self._guarded(self._delete)),
            web.post("/services/{name}/{id}/failures", self._guarded(self._failures)),
        ]

    def _guarded(self, handler: Callable[[web.Request, Clients], Awaitable[web.Response]]) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                clients = self._allowed(request)
                await clients.loaded.wait()  # bounded by the server's seconds for a request
                return await handler(request, clients)
            except Refused as refused:
                return error(refused.status, str(refused))
            except AdapterError as failed:
                return error(503, str(failed), Retry_After="1")

        return guarded

    def _allowed(self, request: web.Request) -> Clients:
        if self._clients is None or self._credentials is None:
            raise Refused(403, "this registry takes no registrations: no ServiceSource of type registry listens here")
        if self._anonymous:
            return self._clients
        token = self._credentials.get("token")
        if not token:
            raise Refused(
                403, "no token is set: give the ServiceSource the credential `token`, or `anonymousWrites: true`"
            )
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode(), token.encode()):
            raise Refused(401, "writing needs the header `Authorization: Bearer TOKEN` with the registry's token")
        return self._clients

    async def _post(self, request: web.Request, clients: Clients) -> web.Response:
        name, namespace = request.match_info["name"], request.query.get("namespace", "")
        if not NAME.fullmatch(name) or (namespace and not NAME.fullmatch(namespace)):
            raise Refused(
                400, "name and namespace: A-Z, a-z, 0-9, `.`, `-` and `_` are possible, at most 253 characters"
            )
        fresh = await _body(request, Fresh)
        if fresh.id and not ID.fullmatch(fresh.id):
            raise Refused(400, "ID: A-Z, a-z, 0-9 and `._:-` inside are possible, at most 128 characters")
        id = fresh.id or clients.new_id()
        held = clients.known.get(id)
        if held is not None and (held.name, held.namespace) != (name, namespace):
            raise Refused(409, f"the ID `{id}` is that of an instance of `{held.name}`")
        await clients.put(
            Registered(
                namespace,
                name,
                id,
                _host(fresh.host, request.remote or ""),
                _port(fresh.port),
                fresh.endpoint,
                fresh.weight,
                fresh.readiness,
                fresh.zone,
                fresh.metadata,
                fresh.ttl,
            )
        )
        return _json({"ID": id}, 201)

    async def _put(self, request: web.Request, clients: Clients) -> web.Response:
        held = _held(request, clients)
        merge = await _body(request, Merge)
        metadata = {
            key: value for key, value in {**held.metadata, **(merge.metadata or {})}.items() if value is not None
        }
        if len(metadata) > 64:
            raise Refused(400, "Metadata: more than 64 keys")
        changed = msgspec.structs.replace(
            held,
            weight=held.weight if merge.weight is None else merge.weight,
            readiness=merge.readiness or held.readiness,
            metadata=metadata,
        )
        if changed != held:
            await clients.put(changed)
        return _json({"ID": held.id})

    async def _heartbeat(self, request: web.Request, clients: Clients) -> web.Response:
        held = _held(request, clients)
        clients.heartbeat(held.id)
        return _json({"ID": held.id, "TTL": held.ttl})

    async def _delete(self, request: web.Request, clients: Clients) -> web.Response:
        await clients.remove(_held(request, clients).id)
        return web.Response(status=204)

    async def _failures(self, request: web.Request, clients: Clients) -> web.Response:
        held = _held(request, clients)
        clients.suspect(held.id, "a consumer could not connect")
        return _json({"ID": held.id}, 202)


async def _body(request: web.Request, type: Any) -> Any:
    """Decode a body; its field names in any case, as people write them. Raises Refused."""
    if request.content_type != "application/json":  # also what keeps a browser's form from writing here
        raise Refused(415, "the header `Content-Type: application/json` is missing")
    try:
        plain = msgspec.json.decode(await request.read())
        if not isinstance(plain, Mapping):
            raise msgspec.ValidationError("Expected `object`")
        return msgspec.convert({str(key).lower(): value for key, value in plain.items()}, type)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise Refused(400, f"the body: {wrong}") from None


def _held(request: web.Request, clients: Clients) -> Registered:
    """Return the instance of the path. Raises Refused."""
    held = clients.known.get(request.match_info["id"])
    namespace = request.query.get("namespace", "")
    if held is None or (held.name, held.namespace) != (request.match_info["name"], namespace):
        raise Refused(404, "no such instance is registered; POST it first")
    return held


def _host(text: str, caller: str) -> str:
    """Return the address to register. Raises Refused; a loopback address is of use only to who shares it."""
    host = "127.0.0.1" if text.lower() == "localhost" else text.strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            return dnsnames.name(host, underscore=True)
        except dnsnames.BadName as wrong:
            raise Refused(400, f"Host: {wrong}") from None
    try:
        local = ipaddress.ip_address(caller).is_loopback
    except ValueError:
        local = False
    if address.is_loopback and not local:
        raise Refused(400, f"Host: {text} is the caller's own machine, which others cannot reach: give its address")
    if address.is_unspecified or address.is_multicast:
        raise Refused(400, f"Host: {text} is no address of a machine")
    return str(address)


def _port(value: int | str) -> int:
    if value == "":
        return 0
    text = str(value)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise Refused(400, f"Port: {text[:20]!a} is not a number of 1 to 65535")
    return int(text)


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=_encoder.encode(body) + b"\n", status=status, content_type="application/json")
