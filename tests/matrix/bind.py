"""A zone of a BIND. Its history is the zone's own journal, as any secondary reads it (IXFR)."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from testbed.servers import Bind
from tests.matrix.judge import Event, Foreign, Place, Position
from tests.matrix.target import LOOK_SECONDS, Target

OWNER = "matrix"
TEXT = re.compile(r"waypost=1 .*\binstance=(\S*) .*\bname=(\S+)")
Row = tuple[str, str, str]  # name relative to the zone, type, rdata


class BindTarget(Target):
    """One zone; an entry of ours is a TXT record that says so."""

    kind = "dns"
    own = "_waypost"
    server: Bind

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.server = Bind(folder, settings={"max-ixfr-ratio": "unlimited"})  # its whole journal, however long
        self.zone = self.server.zones[0]
        self._since = 1
        self._laid: set[Row] = set()

    @property
    def url(self) -> str:
        return f"tcp://{self.server.address}"

    def sink(self, url: str) -> Mapping[str, Any]:
        key = self.folder / "tsig"
        key.write_text(self.server.key)
        parts = urlsplit(url)
        return {
            "ownerID": OWNER,
            "config": {
                "server": f"{parts.hostname}:{parts.port}",
                "zone": self.zone,
                "timeoutSeconds": 5,
                "pollSeconds": 1,
            },
            "credentials": [{"name": "tsigKey", "file": str(key)}],
        }

    async def start(self) -> None:
        await self.server.start()

    async def look(self) -> tuple[Position, set[Place]]:
        async with asyncio.timeout(LOOK_SECONDS * 3):
            rows = await self._dig("AXFR")
        return (self.life, _serial(rows[0])), {place for row in rows if (place := _place(row))}

    async def _dig(self, asked: str) -> list[Row]:
        """What dig is given by a transfer, row by row. Raises OSError where it is not whole."""
        command = ["dig", "+noall", "+answer", "+tcp", "+tries=1", "+time=2", "-y", self.server.key, "@127.0.0.1"]
        command += ["-p", str(self.server.port), self.zone, asked]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20, check=False)
        rows = [_row(line, self.zone) for line in done.stdout.splitlines() if line and not line.startswith(";")]
        rows = [row for row in rows if row[1] != "TSIG"]
        if done.returncode or not rows or (len(rows) > 1 and rows[0] != rows[-1]):
            raise OSError(f"{asked}: {done.stdout[-300:]}{done.stderr[-300:]}")
        return rows

    async def lay(self) -> None:
        await self.server.update("s0 30 A 192.0.2.1", 's1 30 TXT "by hand"', "elsewhere 300 A 192.0.2.2")
        text = (
            "waypost=1 owner=somebody-else registration=a/b entry=e service=m/s/n instance=i path= name=s0 at=192.0.2.3"
        )
        await self.server.update(f'i-0123456789abcdef.s0 30 TXT "{text}"', "s0 30 A 192.0.2.3")
        rows = {("s0", "A", "192.0.2.1"), ("s1", "TXT", '"by hand"'), ("elsewhere", "A", "192.0.2.2")}
        rows |= {("i-0123456789abcdef.s0", "TXT", f'"{text}"'), ("s0", "A", "192.0.2.3")}
        self._laid = rows
        self.foreign = await self.others()
        assert len(self.foreign) == len(rows)
        self._since = await self.server.serial()

    async def others(self) -> dict[str, Foreign]:
        rows = await self._dig("AXFR")
        return {" ".join(row): Foreign(" ".join(row), "", 0, 0) for row in rows if row in self._laid}

    async def history(self) -> list[Event]:
        rows = await self._dig(f"IXFR={self._since}")
        if len(rows) < 2:
            return []  # nothing has changed since
        found: list[Event] = []
        for serial, removed, added in _deltas(rows):
            at = (self.life, serial)
            entries = {row[0]: place for row in removed if (place := _place(row))}
            anew = {row[0] for row in added if _place(row)}
            found += [Event(at, name, place, gone=True) for name, place in entries.items() if name not in anew]
            found += [Event(at, row[0], place, gone=False) for row in added if (place := _place(row))]
            found += [Event(at, " ".join(row), "", gone=True) for row in removed if row in self._laid]
        return found

    async def wipe(self) -> None:
        await super().wipe()
        self._since = 1


def _row(line: str, zone: str) -> Row:
    name, _, _, kind, rdata = line.split(None, 4)
    return name.removesuffix(f"{zone}.").removesuffix(".") or "@", kind, rdata


def _serial(row: Row) -> int:
    return int(row[2].split()[2])


def _place(row: Row) -> Place:
    found = TEXT.search(row[2].replace('" "', "")) if row[1] == "TXT" and f"owner={OWNER} " in row[2] else None
    return f"{found[2]}/{unquote(found[1])}" if found else ""


def _deltas(rows: Sequence[Row]) -> Iterator[tuple[int, list[Row], list[Row]]]:
    """Yield each step of an incremental transfer (RFC 1995): its new serial, what it removed and what it added."""
    parts: list[list[Row]] = []
    for row in rows[1:-1]:
        if row[1] == "SOA":
            parts.append([])
        parts[-1].append(row)
    for removed, added in zip(parts[::2], parts[1::2], strict=True):
        yield _serial(added[0]), removed[1:], added[1:]
