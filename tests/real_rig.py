"""A whole engine whose sinks are the real adapters on real servers, in real time; what it writes is read by others.

A driver knows one kind of target and speaks to it as a stranger would: etcd by its JSON gateway, Consul by its HTTP
API. The target's own revisions are the log that the tests believe: `created` of a record says that it was never deleted
in between, `revision` that nothing at all was written, `deleted` when the last deletion came. Waits are for a
condition, with a deadline.
"""

from __future__ import annotations

import abc
import asyncio
import base64
import http.client
import inspect
import itertools
import json
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from testbed import witness
from testbed.servers import Bind, Consul, Etcd
from tests.rig import Rig, registration
from waypost.adapter import AdapterType, Elector
from waypost.engine.engine import Engine
from waypost.kit.clock import LoopClock
from waypost.model import Address, Publication, PublicationKey, PublishedInstance, PublishedName, ServiceKey
from waypost.plugins import Plugins
from waypost.settings import Metadata, ServiceRegistration, ServiceSink, SinkSpec
from waypost.testing.context import TestContext

SECONDS = 60.0  # how long a condition is waited for, on a machine that is busy with other things too
EVERY = 0.02
ENVIRONMENT = "test"

_numbers = itertools.count(1)
_plugins = Plugins()


async def until(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Return what the condition gives, once it is true; fails after so many seconds, saying what was waited for."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = condition()
        got = await found if inspect.isawaitable(found) else found
        if got:
            return got
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(EVERY)


class Kept(msgspec.Struct, frozen=True):
    """A record as the target has it. `created` and `modified` are the target's own revisions."""

    name: str
    instance: str
    key: str
    owner: str
    registration: str
    host: str
    port: int | None
    ready: bool
    weight: int
    metadata: dict[str, str]
    content: str
    created: int
    modified: int

    @property
    def place(self) -> str:
        """Name and instance, as the tests write them."""
        return f"{self.name}/{self.instance}"


class Event(msgspec.Struct, frozen=True):
    """A line of etcd's log: `value` None is a deletion."""

    revision: int
    key: str
    value: str | None


class Driver(abc.ABC):
    """One kind of target, at a place that no other test uses. `suffix` ends every name that is published there."""

    kind: str
    server: Etcd | Consul | Bind
    most = 2000  # instances that one name can have
    pause_seconds = 25.0  # after this long a request that hangs has been given up by the adapter

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.suffix = f"-t{self.number}"
        self.owners: set[str] = set()
        self.keys: dict[str, str] = {}  # key → instance, of those that a test asked for

    def owner(self, name: str = "me") -> str:
        """An ownerID of this test's own."""
        made = f"{name}-t{self.number}"
        self.owners.add(made)
        return made

    @abc.abstractmethod
    def config(self, url: str | None = None) -> dict[str, Any]:
        """The sink's `config`; `url` is a proxy to go through."""

    def credentials(self) -> list[dict[str, str]]:
        """The sink's `credentials`."""
        return []

    @abc.abstractmethod
    async def records(self) -> list[Kept]:
        """All that is there, ours and others'."""

    @abc.abstractmethod
    async def revision(self) -> Mapping[str, int]:
        """Where the target's own log stands for each name: it moves with every write and deletion there."""

    @abc.abstractmethod
    async def deleted(self, name: str) -> int:
        """The revision of the last change under a name, where that was a deletion."""

    @abc.abstractmethod
    async def foreign(self, key: str, name: str, host: str = "192.0.2.9") -> None:
        """Write, by hand, a record of nobody's under this key."""

    @abc.abstractmethod
    async def write(self, record: Kept, *, content: str | None = None, key: str | None = None) -> None:
        """Write a record's content by hand, perhaps altered or under another key."""

    def renamed(self, record: Kept, instance: str) -> tuple[str, str]:
        """Key and content of the same record for another instance."""
        return tuple(part.replace(record.instance, instance) for part in (record.key, record.content))  # type: ignore[return-value]

    @abc.abstractmethod
    async def remove(self, *records: Kept) -> None:
        """Delete records behind everybody's back."""

    @abc.abstractmethod
    async def lose(self, *, stamps: bool = True) -> None:
        """Delete all records of this test, and perhaps the stamps."""

    @abc.abstractmethod
    async def stamp(self, owner: str) -> dict[str, Any] | None:
        """An owner's stamp."""

    @abc.abstractmethod
    async def witness(self) -> dict[str, tuple[str, int]]:
        """What other people's clients read: name and instance, address and port."""

    def plain(self, name: str) -> str:
        """A published name without this test's suffix."""
        return name.removesuffix(self.suffix)


class EtcdDriver(Driver):
    """One prefix of an etcd."""

    kind = "etcd"
    server: Etcd

    def __init__(self, server: Etcd, began: int) -> None:
        super().__init__()
        self.server = server
        self.prefix = f"/waypost/t{self.number}"
        self._began = began

    @classmethod
    async def made(cls, server: Etcd) -> EtcdDriver:
        answer = await server.call("kv/range", {"key": _b64("none")})
        return cls(server, int(answer["header"]["revision"]))

    def config(self, url: str | None = None) -> dict[str, Any]:
        return {"endpoints": [url or self.server.endpoint], "prefix": self.prefix}

    async def records(self) -> list[Kept]:
        span = {"key": _b64(f"{self.prefix}/"), "range_end": _b64(f"{self.prefix}0")}
        answer = await self.server.call("kv/range", span)
        found = []
        for kv in answer.get("kvs", []):
            key, value = _text(kv["key"]), _text(kv.get("value", ""))
            if self._is_record(key):
                found.append(self._kept(key, value, int(kv["create_revision"]), int(kv["mod_revision"])))
        return found

    def _is_record(self, key: str) -> bool:
        return not key.startswith(f"{self.prefix}/.")

    def _kept(self, key: str, value: str, created: int, modified: int) -> Kept:
        parts = key.removeprefix(f"{self.prefix}/").split("/")
        said = json.loads(value)
        return Kept(
            name=self.plain(unquote(parts[2])),
            instance=unquote(parts[3].partition("@")[0]),
            key=key,
            owner=unquote(said.get("owner", "")),
            registration=unquote(said.get("registration", "")),
            host=said.get("host", ""),
            port=said.get("port"),
            ready=said.get("ready", True),
            weight=said.get("weight", 1),
            metadata=said.get("metadata", {}),
            content=value,
            created=created,
            modified=modified,
        )

    async def log(self) -> list[Event]:
        """Everything that was ever written to or deleted from this test's records, from etcd's own log."""
        put = {"key": _b64(f"{self.prefix}/.end"), "value": ""}
        last = int((await self.server.call("kv/put", put))["header"]["revision"])
        events = await asyncio.to_thread(self._read_log, last, await self.server.headers())
        return [event for event in events if self._is_record(event.key)]

    def _read_log(self, last: int, headers: Mapping[str, str]) -> list[Event]:
        """Watch from the test's beginning up to a revision that is known to be there."""
        parts = urlsplit(self.server.endpoint)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
        asked = {"key": _b64(f"{self.prefix}/"), "range_end": _b64(f"{self.prefix}0")}
        events: list[Event] = []
        try:
            body = json.dumps({"create_request": {**asked, "start_revision": str(self._began + 1)}})
            connection.request("POST", "/v3/watch", body, dict(headers))
            with connection.getresponse() as answer:
                while not events or events[-1].revision < last:
                    events += _events(json.loads(answer.readline())["result"])
        finally:
            connection.close()
        return events

    async def revision(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for event in await self.log():
            found[event.key.split("/")[-2]] = event.revision
        return found

    async def deleted(self, name: str) -> int:
        mine = [e for e in await self.log() if e.key.split("/")[-2] == name + self.suffix]
        return max((event.revision for event in mine if event.value is None), default=0)

    async def foreign(self, key: str, name: str, host: str = "192.0.2.9") -> None:
        await self.server.put(key, json.dumps({"host": host, "port": 1}))

    async def write(self, record: Kept, *, content: str | None = None, key: str | None = None) -> None:
        await self.server.put(key or record.key, record.content if content is None else content)

    async def remove(self, *records: Kept) -> None:
        for record in records:
            await self.server.call("kv/deleterange", {"key": _b64(record.key)})

    async def lose(self, *, stamps: bool = True) -> None:
        await self.server.delete(f"{self.prefix}/" if stamps else f"{self.prefix}/{ENVIRONMENT}/")

    async def stamp(self, owner: str) -> dict[str, Any] | None:
        found = await self.server.read(f"{self.prefix}/.waypost/owners/{owner}")
        return next((json.loads(value) for value in found.values()), None)

    async def witness(self) -> dict[str, tuple[str, int]]:
        found = await witness.etcd_prefix(self.server.endpoint, f"{self.prefix}/")
        read = [self._kept(key, value, 0, 0) for key, value in found.items() if self._is_record(key)]
        return {record.place: (record.host, record.port or 0) for record in read}


def _events(answer: Mapping[str, Any]) -> list[Event]:
    found = []
    for event in answer.get("events", []):
        kv = event["kv"]
        value = None if event.get("type") == "DELETE" else _text(kv.get("value", ""))
        found.append(Event(int(kv["mod_revision"]), _text(kv["key"]), value))
    return found


class ConsulDriver(Driver):
    """The nodes of this test's owners in a Consul, and the services whose names end as this test's do."""

    kind = "consul"
    server: Consul
    nodes = 3

    def __init__(self, server: Consul) -> None:
        super().__init__()
        self.server = server

    def config(self, url: str | None = None) -> dict[str, Any]:
        return {"address": url or self.server.address, "nodes": self.nodes}

    async def _names(self) -> list[str]:
        found = await self.server.call("GET", "/v1/catalog/services?consistent")
        return sorted(name for name in found if name.endswith(self.suffix))

    async def records(self) -> list[Kept]:
        found: list[Kept] = []
        for name in await self._names():
            entries = await self.server.call("GET", f"/v1/health/service/{name}?consistent")
            found += [self._kept(name, entry) for entry in entries]
        return found

    def _kept(self, name: str, entry: Mapping[str, Any]) -> Kept:
        service = entry["Service"]
        meta = service["Meta"] or {}
        checks = [each for each in entry["Checks"] if each["ServiceID"] == service["ID"]]
        shown = {key: value for key, value in service.items() if not key.endswith("Index")}
        return Kept(
            name=self.plain(name),
            instance=unquote(meta.get("waypost-instance") or service["ID"].rpartition(":")[2]),
            key=f"{entry['Node']['Node']}/{service['ID']}",
            owner=unquote(meta.get("waypost-owner", "")),
            registration=unquote(meta.get("waypost-registration", "")),
            host=service["Address"],
            port=service.get("Port"),
            ready=all(each["Status"] == "passing" for each in checks),
            weight=service["Weights"]["Passing"],
            metadata={k: v for k, v in meta.items() if not k.startswith("waypost-")},
            content=json.dumps([shown, [[each["CheckID"], each["Status"]] for each in checks]], sort_keys=True),
            created=service["CreateIndex"],
            modified=max([service["ModifyIndex"], *(each["ModifyIndex"] for each in checks)]),
        )

    async def revision(self) -> Mapping[str, int]:
        return {name: await self._index(name) for name in await self._names()}

    async def _index(self, name: str) -> int:
        answer = await self.server.request("GET", f"/v1/health/service/{name}?consistent")
        return int(answer.expect().headers["X-Consul-Index"])

    async def deleted(self, name: str) -> int:
        return await self._index(name + self.suffix)

    async def foreign(self, key: str, name: str, host: str = "192.0.2.9") -> None:
        node, _, ident = key.partition("/")
        service = {"ID": ident, "Service": name + self.suffix, "Address": host, "Port": 1}
        await self._register(node, service)

    async def _register(self, node: str, service: Mapping[str, Any], check: Mapping[str, Any] | None = None) -> None:
        body: dict[str, Any] = {"Node": node, "Address": "127.0.0.1", "Service": service}
        owner = node.removeprefix("waypost-").rpartition("-")[0]
        if owner in self.owners:
            body["NodeMeta"] = {"waypost-owner": owner, "external-node": "true", "external-probe": "false"}
        if check:
            body["Check"] = check
        await self.server.call("PUT", "/v1/catalog/register", body)

    async def write(self, record: Kept, *, content: str | None = None, key: str | None = None) -> None:
        service, checks = json.loads(record.content if content is None else content)
        node, _, ident = (key or record.key).partition("/")
        service = {k: v for k, v in service.items() if k in _WRITABLE} | {"ID": ident}
        for check, status in checks or [["", ""]]:
            name = check.replace(record.key.partition("/")[2], ident)
            body = {"CheckID": name, "Name": "Waypost", "Status": status, "ServiceID": ident}
            await self._register(node, service, body if check else None)

    def renamed(self, record: Kept, instance: str) -> tuple[str, str]:
        said = '"waypost-instance": "{}"'
        content = record.content.replace(said.format(record.instance), said.format(instance))
        return record.key.replace(record.instance, instance), content

    async def remove(self, *records: Kept) -> None:
        for record in records:
            node, _, ident = record.key.partition("/")
            await self.server.call("PUT", "/v1/catalog/deregister", {"Node": node, "ServiceID": ident})

    async def lose(self, *, stamps: bool = True) -> None:
        for node in await self.server.call("GET", "/v1/catalog/nodes?consistent"):
            if node["Meta"] and node["Meta"].get("waypost-owner") in self.owners:
                await self.server.call("PUT", "/v1/catalog/deregister", {"Node": node["Node"]})
        if stamps:
            for owner in self.owners:
                await self.server.call("DELETE", f"/v1/kv/waypost/{owner}/?recurse")

    async def stamp(self, owner: str) -> dict[str, Any] | None:
        answer = await self.server.request("GET", f"/v1/kv/waypost/{owner}/stamp?raw")
        return json.loads(answer.body) if answer.status == 200 else None

    async def witness(self) -> dict[str, tuple[str, int]]:
        found = {}
        for name in await self._names():
            for each in (await witness.consul_services(self.server.address, name=name))[name]:
                found[f"{self.plain(name)}/{unquote(each['id'].rpartition(':')[2])}"] = (each["address"], each["port"])
        return found


_WRITABLE = {"Service", "Tags", "Address", "Port", "Meta", "Weights"}


async def wipe(consul: Consul) -> None:
    """Delete what other tests left in a Consul: their stamps may say another environment."""
    for node in await consul.call("GET", "/v1/catalog/nodes?consistent"):
        if node["Node"] != "testbed":
            await consul.call("PUT", "/v1/catalog/deregister", {"Node": node["Node"]})
    await consul.call("DELETE", "/v1/kv/waypost/?recurse")


class RealRig(Rig):
    """An engine on a memory source and one real sink, `out`, in real time."""

    def __init__(
        self,
        folder: Path,
        driver: Driver,
        *,
        owner: str = "me",
        environment: str = ENVIRONMENT,
        url: str | None = None,
        resync_seconds: float = 300.0,
        **spec: Any,
    ) -> None:
        """`url` is a proxy to go through; `spec` is more of the sink's manifest."""
        super().__init__(folder, seed=random.randrange(1 << 30), resync_seconds=resync_seconds)
        self.clock = LoopClock()  # type: ignore[assignment]  # a virtual one is not for real servers
        self.driver = driver
        self.environment = environment
        self.owner = driver.owner(owner)
        self.url = url
        self.declare(self.sink(**spec))

    # --- manifests

    def sink(self, **spec: Any) -> ServiceSink:
        """The sink's manifest."""
        body = {"type": self.driver.kind, "environment": self.environment, "ownerID": self.owner, **spec}
        if credentials := self.driver.credentials():
            body.setdefault("credentials", credentials)
        config = body.setdefault("config", self.driver.config(self.url))
        decoded = msgspec.convert(config, _plugins.find("sinks", self.driver.kind).config)
        return ServiceSink(Metadata("out"), msgspec.convert(body, SinkSpec), decoded)

    def registration(
        self, name: str = "web", *, names: Iterable[str] = ("{service}",), **spec: Any
    ) -> ServiceRegistration:
        """A registration whose names are this test's own."""
        return registration(name, names=[each + self.driver.suffix for each in names], **spec)

    def _sink_type(self, name: str) -> AdapterType[Any]:
        return _plugins.find("sinks", name)

    async def key(self, name: str, instance: str, *, registration: str = "", service: str = "") -> str:
        """The key under which our sink would keep an instance: as the adapter itself renders it."""
        kind = _plugins.find("sinks", self.driver.kind)
        config = msgspec.convert(self.driver.config(), kind.config)
        key = PublicationKey(f"default/{registration or name}", "out", ServiceKey("mem", "", service or name))
        published = (PublishedName(name + self.driver.suffix),)
        publication = Publication(key, published, self.environment, self.owner)
        shown = PublishedInstance(instance, (Address("10.0.0.1"),))
        context = TestContext(name="out", environment=self.environment, owner=self.owner, state_dir=self.folder)
        async with kind.open(config, context) as sink:
            (record,) = sink.render(publication, [shown])
            self.driver.keys[record.key] = instance
            return str(record.key)

    @asynccontextmanager
    async def running(
        self, elector: Elector | None = None, folder: Path | None = None, **more: Any
    ) -> AsyncIterator[Engine]:
        """Run an engine that has taken the manifests; leaving the block kills it, as kill -9 would."""
        async with super().running(elector, folder, **more) as engine:
            await until(lambda: engine.settings is not None, "the manifests are in force")
            yield engine

    # --- what is there

    async def read(self) -> dict[str, Kept]:
        """What the target holds, by name and instance."""
        records = await self.driver.records()
        found = {record.place: record for record in records}
        assert len(found) == len(records), sorted(record.place for record in records)
        return found

    async def there(self) -> list[str]:
        """Name and instance of all that the target holds."""
        return sorted(record.place for record in await self.driver.records())

    async def until_there(self, *places: str, seconds: float = SECONDS) -> None:
        """Wait until the target holds exactly these."""
        wanted = sorted(places)

        async def same() -> bool:
            return await self.there() == wanted

        try:
            await until(same, f"{wanted[:10]} are there", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; there are {(await self.there())[:20]}; {self.said()}") from None

    async def settle(self, seconds: float = SECONDS) -> None:
        """Wait until the sources are read and the sink is as wanted, as far as it may be."""
        try:
            await until(self.engine.settled, "it is settled", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.said()}") from None

    async def until_condition(self, reason: str, seconds: float = SECONDS) -> str:
        """Wait until the sink's condition has this reason; return its message."""
        target = self.engine.reconciler.targets["out"]
        try:
            await until(lambda: target.condition.reason == reason, f"condition {reason}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.said()}") from None
        return target.condition.message

    async def until_problem(self, text: str) -> None:
        """Wait until a problem with this text is told."""
        try:
            await until(lambda: any(text in problem for problem in self.problems()), f"problem `{text}`")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.said()}") from None

    def said(self) -> str:
        """What the engine says of itself, for a test that failed."""
        target = self.engine.reconciler.targets.get("out")
        if target is None:
            return "no sink"
        return (
            f"{target.condition}; {target.dirty=}; {target.waiting=}; {self.problems()[:5]}; {self.engine.holds.holds}"
        )


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace")
