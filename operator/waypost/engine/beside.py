"""What the next leader must know, kept beside the elector's lease: what is spent of budgets, and what people decided.

A standby knows its manifests and sources as well as the leader does, and the sinks tell the rest; but how much was
withdrawn lately, which hold was approved, which sink is paused and what was released, only the leader was told. Where
the elector keeps nothing (see `waypost.adapter.Keeping`), all of it is each process's own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from waypost.adapter import AdapterError, Keeping, PermanentError

if TYPE_CHECKING:
    from waypost.adapter import Elector

__all__ = ["Beside"]

KEEP_SECONDS = 2.0

log = logging.getLogger(__name__)


class Beside:
    """Values by name, of any length: what is longer than the elector takes is kept in parts, `name#1` and so on."""

    def __init__(self, elector: Elector | None) -> None:
        """Nothing is read yet."""
        given: object = elector
        self._keeping = given if isinstance(given, Keeping) else None
        self._kept: dict[str, bytes] = {}  # as it is kept, part by part
        self._turn = asyncio.Lock()
        self._told: set[str] = set()

    @property
    def active(self) -> bool:
        """Whether anything is kept."""
        return self._keeping is not None

    async def recall(self) -> None:
        """Read all that is kept. Raises AdapterError."""
        if self._keeping is not None:
            self._kept = dict(await self._keeping.recall())

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin so, as last recalled and kept since."""
        return sorted(name for name in self._kept if name.startswith(prefix) and "#" not in name)

    def value(self, name: str) -> bytes | None:
        """Return a value; None where there is none, or parts of it are missing."""
        head, _, first = self._kept.get(name, b"").partition(b"\n")
        if not head.isdigit():
            return None
        parts = [self._kept.get(f"{name}#{place}") for place in range(1, int(head))]
        return None if None in parts else first + b"".join(part for part in parts if part is not None)

    async def keep(self, name: str, value: bytes | None) -> None:
        """Keep a value, or delete it; nothing is sent where it is kept already. Raises as the elector does."""
        async with self._turn:
            await self._keep(name, value)

    async def _keep(self, name: str, value: bytes | None) -> None:
        wanted = self._parts(name, value) if value is not None else {}
        before = [each for each in self._kept if each == name or each.startswith(f"{name}#")]
        for part, content in sorted(wanted.items(), reverse=True):  # the first part, which counts them, last
            if self._kept.get(part) != content:
                await self._send(part, content)
        for part in sorted(set(before) - wanted.keys()):
            await self._send(part, None)

    def _parts(self, name: str, value: bytes) -> Mapping[str, bytes]:
        assert self._keeping is not None
        room = self._keeping.largest - 16
        chunks = [value[at : at + room] for at in range(0, len(value), room)] or [b""]
        first = b"%d\n%b" % (len(chunks), chunks[0])
        return {name: first, **{f"{name}#{place}": chunk for place, chunk in enumerate(chunks[1:], 1)}}

    async def _send(self, part: str, content: bytes | None) -> None:
        assert self._keeping is not None
        await self._keeping.keep(part, content)
        if content is None:
            self._kept.pop(part, None)
        else:
            self._kept[part] = content

    async def kept(self, name: str, value: bytes) -> bool:
        """Keep a value before what it counts is done; say whether that may be done now.

        Where it can never be kept (the elector may not write there), that is said, and work goes on.
        """
        if self._keeping is None or self.value(name) == value:
            return True
        try:
            async with asyncio.timeout(KEEP_SECONDS):
                await self.keep(name, value)
        except PermanentError as error:
            self._tell(name, f"{error}; the next leader will not know")
        except (AdapterError, TimeoutError) as error:
            self._tell(name, f"{str(error) or 'no answer'}; what is counted waits")
            return False
        self._told.discard(name)
        return True

    def _tell(self, name: str, text: str) -> None:
        level = logging.DEBUG if name in self._told else logging.WARNING  # news once, not each try
        self._told.add(name)
        log.log(level, "kept=%s error=%r", name, text)
