"""A BIND of one test's own as a target: what stands there comes from its journal (IXFR), as `dig` prints it.

An instance's record is what stands at its own name, `i-<digest>.<name>`, with the SRV records that lead there.
`created` is the serial at which that name came to be, `modified` the last one at which any of it changed.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import dns.asyncresolver
import dns.update
import msgspec

from testbed import witness
from testbed.servers import Bind
from tests.real_rig import Driver, Kept

TTL = 30
_OWN = re.compile(r"i-[^.]+\.")
_ADDRESSES = ("A", "AAAA")

Row = tuple[str, str, str]  # name relative to the zone, type, data


class Step(msgspec.Struct, frozen=True):
    """One update, as the journal has it."""

    serial: int
    gone: list[Row]
    come: list[Row]


class State(msgspec.Struct):
    """What is there, and when it came."""

    rows: dict[Row, int] = {}
    count: dict[str, int] = {}  # name → how many records it has
    born: dict[str, int] = {}  # name → serial
    touched: dict[str, int] = {}  # name → serial of its last change, SRV records counted where they lead
    ended: dict[str, int] = {}  # published name → serial at which a name of an instance's own below it went


class BindDriver(Driver):
    """The zone of a BIND."""

    kind = "dns"
    server: Bind
    most = 900  # SRV records of one name that a message of 64 KB holds

    def __init__(self, server: Bind) -> None:
        super().__init__()
        self.server = server
        self.zone = server.zones[0]

    def config(self, url: str | None = None) -> dict[str, Any]:
        server = url.removeprefix("http://") if url else self.server.address
        return {"server": server, "zone": self.zone, "ttlSeconds": TTL, "timeoutSeconds": 5, "pollSeconds": 1}

    def credentials(self) -> list[dict[str, str]]:
        path = self.server.directory / "tsig.key"
        path.write_text(self.server.key)
        return [{"name": "tsigKey", "file": str(path)}]

    # --- the journal

    async def steps(self) -> list[Step]:
        """All updates since the zone was made."""
        argv = ["dig", "@127.0.0.1", "-p", str(self.server.port), "-y", self.server.key, "+noall", "+answer"]
        process = await asyncio.create_subprocess_exec(
            *argv, self.zone, "IXFR=1", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await process.communicate()
        rows = [self._row(line) for line in out.decode().splitlines() if line and not line.startswith(";")]
        if not rows or rows[0][1] != "SOA":
            raise ConnectionError(out.decode()[:500])
        return list(_steps(rows))

    def _row(self, line: str) -> Row:
        name, _, _, kind, data = line.split(None, 4)
        return name.removesuffix(f"{self.zone}.").rstrip("."), kind, data

    async def state(self) -> State:
        """Play the journal."""
        found = State()
        for step in await self.steps():
            names = {name for row in (*step.gone, *step.come) for name in self._where(row)}
            for row in step.gone:
                del found.rows[row]
                found.count[row[0]] -= 1
            for row in step.come:
                found.rows[row] = step.serial
                found.count[row[0]] = found.count.get(row[0], 0) + 1
            for name in names:
                found.touched[name] = step.serial
                if found.count.get(name, 0) > 0:
                    found.born.setdefault(name, step.serial)
                elif found.born.pop(name, None) is not None and _OWN.match(name):
                    found.ended[self._published(name)] = step.serial
        return found

    def _where(self, row: Row) -> Iterable[str]:
        """The names that a row is about."""
        name, kind, data = row
        yield name
        if kind == "SRV":
            yield self._target(data)

    def _target(self, srv: str) -> str:
        return srv.split()[3].removesuffix(f".{self.zone}.")

    def _published(self, name: str) -> str:
        """The published name that a name belongs to."""
        parts = name.split(".")
        while parts[0].startswith(("i-", "c-", "_")) and len(parts) > 1:
            parts.pop(0)
        return ".".join(parts)

    async def records(self) -> list[Kept]:
        state = await self.state()
        leads: dict[str, list[tuple[str, str]]] = {}
        at: dict[str, list[tuple[str, str]]] = {}
        for name, kind, data in state.rows:
            at.setdefault(name, []).append((kind, data))
            if kind == "SRV":
                leads.setdefault(self._target(data), []).append((name, data))
        return [
            self._kept(name, sorted(rows), sorted(leads.get(name, [])), at, state)
            for name, rows in at.items()
            if _OWN.match(name)
        ]

    def _kept(
        self,
        own: str,
        rows: list[tuple[str, str]],
        leads: list[tuple[str, str]],
        at: Mapping[str, list[tuple[str, str]]],
        state: State,
    ) -> Kept:
        label, _, name = own.partition(".")
        key = f"{name}/{label[2:]}"
        text = next(("".join(re.findall(r'"([^"]*)"', data)) for kind, data in rows if kind == "TXT"), "")
        said = dict(part.split("=", 1) for part in text.split(" ") if "=" in part)
        if "instance" in said:
            self.keys[key] = unquote(said["instance"])
        addresses = [row for row in rows if row[0] in _ADDRESSES]
        shown = [row for row in addresses if row in at.get(name, [])]
        content = {"owner": text, "addresses": addresses, "srv": [(where, data) for where, data in leads]}
        return Kept(
            name=self.plain(name),
            instance=self.keys.get(key, label),
            key=key,
            owner=unquote(said.get("owner", "")),
            registration=unquote(said.get("registration", "")),
            host=addresses[0][1] if addresses else "",
            port=int(leads[0][1].split()[2]) if leads else None,
            ready=bool(shown) or not text,
            weight=int(leads[0][1].split()[1]) if leads else 1,
            metadata={},
            content=json.dumps(content),
            created=state.born.get(own, 0),
            modified=state.touched.get(own, 0),
        )

    async def revision(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for name, serial in (await self.state()).touched.items():
            published = self._published(name)
            if published.endswith(self.suffix):
                found[published] = max(found.get(published, 0), serial)
        return found

    async def deleted(self, name: str) -> int:
        return (await self.state()).ended.get(name + self.suffix, 0)

    # --- by hand

    async def _replace(self, own: str, rows: Iterable[Row], old: Iterable[Row] = ()) -> None:
        message = dns.update.UpdateMessage(self.zone)
        message.delete(own)
        for name, kind, data in old:
            message.delete(name, kind, data)
        for name, kind, data in rows:
            message.add(name, TTL, kind, data)
        answer = await self.server.send(message)
        assert not answer.rcode(), answer

    def _own(self, key: str) -> str:
        name, _, digest = key.rpartition("/")
        return f"i-{digest}.{name}"

    async def _leads(self, own: str) -> list[Row]:
        return [row for row in (await self.state()).rows if row[1] == "SRV" and self._target(row[2]) == own]

    async def foreign(self, key: str, name: str, host: str = "192.0.2.9") -> None:
        own = self._own(key)
        srv = f"_http._tcp.{name}{self.suffix}", "SRV", f"0 1 1 {own}.{self.zone}."
        await self._replace(own, [(own, "A", host), srv], await self._leads(own))

    async def write(self, record: Kept, *, content: str | None = None, key: str | None = None) -> None:
        said = json.loads(record.content if content is None else content)
        own, was = self._own(key or record.key), self._own(record.key)
        name = own.partition(".")[2]
        rows = [(own, kind, data) for kind, data in said["addresses"]]
        rows += [(name, kind, data) for kind, data in said["addresses"]]
        rows += [(where, "SRV", data.replace(was, own)) for where, data in said["srv"]]
        if text := said.get("owner"):
            cut = [text[start : start + 255] for start in range(0, len(text), 255)]
            rows.append((own, "TXT", " ".join(f'"{part}"' for part in cut)))
        await self._replace(own, rows, await self._leads(own))

    async def remove(self, *records: Kept) -> None:
        for record in records:
            own = self._own(record.key)
            said = json.loads(record.content)
            shared = [(own.partition(".")[2], kind, data) for kind, data in said["addresses"]]
            await self._replace(own, [], [*shared, *await self._leads(own)])

    async def lose(self, *, stamps: bool = True) -> None:
        if not self.server.running:
            return
        message = dns.update.UpdateMessage(self.zone)
        for name in {name for name, _, _ in (await self.state()).rows}:
            if self._published(name).endswith(self.suffix) or (stamps and name.endswith("_waypost")):
                message.delete(name)
        await self.server.send(message)

    def renamed(self, record: Kept, instance: str) -> tuple[str, str]:
        from waypost_adapters.dns import layout

        said = json.loads(record.content)
        text = said["owner"].replace(f" instance={record.instance} ", f" instance={instance} ")
        entry = layout.decode(text.encode())
        assert entry is not None
        own, new = self._own(record.key), self._own(entry.key)
        said |= {"owner": text, "srv": [(where, data.replace(own, new)) for where, data in said["srv"]]}
        return entry.key, json.dumps(said)

    async def stamp(self, owner: str) -> dict[str, Any] | None:
        texts = await self.server.ask(f"{owner}._waypost.{self.zone}.", "TXT")
        if not texts:
            return None
        words = dict(part.split("=", 1) for part in texts[0].strip('"').split(" "))
        return {**words, "epoch": int(words["epoch"])}

    async def witness(self) -> dict[str, tuple[str, int]]:
        """What `dig` and dnspython's resolver find, as a consumer does: SRV, then the address of its target."""
        found = {}
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], self.server.port
        for kept in {kept.name: kept for kept in await self.records()}.values():
            name = f"_http._tcp.{kept.name}{self.suffix}.{self.zone}."
            answer = await witness.dig("127.0.0.1", self.server.port, name, "SRV", tcp=True)
            instances = {self._own(each.key): each.instance for each in await self.records()}
            for line in answer.data:
                _, _, port, target = line.split()
                (address,) = [rdata.to_text() for rdata in await resolver.resolve(target, "A")]
                found[f"{kept.name}/{instances[self._target(line)]}"] = (address, int(port))
        return found


def _steps(rows: list[Row]) -> Iterable[Step]:
    """Cut an incremental transfer into its differences (RFC 1995 section 4)."""
    serials = [int(data.split()[2]) for _, kind, data in rows if kind == "SOA"]
    if len(rows) == 1:
        return
    if rows[1][1] != "SOA":  # the whole zone: it has no history
        yield Step(serials[0], [], [row for row in rows if row[1] != "SOA"])
        return
    parts: list[list[Row]] = []  # begun by a SOA record each: what went, what came, what went, …
    for row in rows[1:-1]:
        if row[1] == "SOA":
            parts.append([])
        else:
            parts[-1].append(row)
    for number, (gone, come) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        yield Step(serials[2 + 2 * number], gone, come)
