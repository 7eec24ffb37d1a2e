"""One zone as this sink keeps it: the conversation with its server, its mirror and its stamp."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import dns.rcode

from waypost.adapter import AdapterError, Context, Fence, PermanentError
from waypost.kit import dnsnames
from waypost.kit.ownership import quoted
from waypost_adapters.dns import stamp, wire
from waypost_adapters.dns.client import Client, Uncertain
from waypost_adapters.dns.mirror import Mirror, Whole
from waypost_adapters.dns.stamp import Stamp
from waypost_adapters.dns.telling import shown
from waypost_adapters.dns.wire import Row

__all__ = ["CHANGED", "MOST_TRIES", "Zone"]

MOST_TRIES = 8  # of a message, against others who write into the same sets at the same time
CHANGED = frozenset({dns.rcode.YXDOMAIN, dns.rcode.YXRRSET, dns.rcode.NXRRSET, dns.rcode.NXDOMAIN})
NO_STAMP = "none yet: the first claim sets it"
PROBE = b"\x0ewaypost-doctor"
SLICE = 500  # sets or records looked at before others have their turn
FULL_SECONDS = 3600.0  # after which a zone is read whole again, though its log would do

Touched = Callable[[bytes, int], None]


class Zone:
    """A zone, for one owner. Who holds `conversation` has it alone: what is known is exact while a message is made."""

    def __init__(self, name: str, client: Client, context: Context, *, reverse: bool = False) -> None:
        """`reverse`: it holds names of addresses in reverse, so its entries' names are absolute."""
        self.name = name
        self.apex = dnsnames.encode(name)
        self.reverse = reverse
        self.client = client
        self._context = context
        self.owner = context.owner
        self.quoted_owner = quoted(context.owner)
        self.environment = context.environment
        self.stamp_name = stamp.stamp_label(context.owner) + stamp.ROOT + self.apex
        self._root = stamp.ROOT + self.apex
        self._mirror: Mirror | None = None
        self._read_whole = 0.0
        self.doubted = False  # something was sent that was not answered
        self.conversation = asyncio.Lock()

    # --- reading

    @property
    def mirror(self) -> Mirror | None:
        """What is known of the zone; None before it was read."""
        return self._mirror

    async def read(self, touched: Touched | None = None) -> Mirror:
        """Bring the mirror up to what the server has; `touched` is told of records that others changed."""
        async with self.conversation:
            return await self.sync(touched)

    async def sync(self, touched: Touched | None = None) -> Mirror:
        """Do so for one who has the conversation already."""
        now = self._context.clock.monotonic()
        since = self._mirror if now - self._read_whole < FULL_SECONDS else None
        taken = await self.client.transfer(self.apex, since)
        if taken.full is None and since is not None and not taken.changes and taken.serial != since.serial:
            taken = await self.client.transfer(self.apex, None)  # the serial went back: not the same zone
        changes: list[tuple[bool, Row]] = taken.changes
        if taken.full is None and self._mirror is None:
            raise AdapterError(f"{self.client.server} gave no whole zone `{self.name}`")
        mirror = self._mirror or Mirror(self.apex, self.owner)
        if taken.full is not None:
            changes = await self._compared(mirror, taken.full)
            self._read_whole = now
        await self._changed(mirror, changes, touched)
        mirror.serial = taken.serial
        self._mirror = mirror
        self.doubted = False
        return mirror

    async def _compared(self, mirror: Mirror, whole: Whole) -> list[tuple[bool, Row]]:
        found = []
        for number, change in enumerate(mirror.differences(whole)):
            if change is not None:
                found.append(change)
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        return found

    async def _changed(self, mirror: Mirror, changes: list[tuple[bool, Row]], touched: Touched | None) -> None:
        new = mirror is not self._mirror  # nobody sees it yet, so others may have their turn while it is filled
        if new and touched is not None:
            touched(self.apex, wire.ANY_TYPE)
        for number, (added, (name, type, ttl, rdata)) in enumerate(changes):
            changed = mirror.add(name, type, ttl, rdata) if added else mirror.remove(name, type, rdata)
            if changed and touched is not None and not new:
                touched(name, type)
            if new and number % SLICE == SLICE - 1:
                await asyncio.sleep(0)

    async def known(self) -> Mirror:
        """Return what is known; read where nothing is, or where that is in doubt."""
        return await self.sync() if self._mirror is None or self.doubted else self._mirror

    def forget(self) -> None:
        """Know nothing: the zone is read whole next."""
        self._mirror = None

    # --- the stamp

    def _stamp(self, mirror: Mirror) -> bytes | None:
        rrset = mirror.get(self.stamp_name, wire.TXT)
        return (
            wire.strings(rrset.rdatas[0])
            if rrset is not None and len(rrset.rdatas) == 1
            else None
            if rrset is None
            else b""
        )

    async def epoch(self) -> int:
        """Read the zone, and return the epoch of the owner's stamp, 0 without one. Raises PermanentError."""
        async with self.conversation:
            self.forget()
            mirror = await self.sync()
            self._refuse_others(mirror)
            return self._epoch(mirror)

    def _epoch(self, mirror: Mirror) -> int:
        value = self._stamp(mirror)
        there = stamp.read(value) if value is not None else None
        if value is not None and there is None:
            verdict = stamp.judge(shown(self.stamp_name), value, self.environment, Fence(0))
            assert isinstance(verdict, AdapterError)
            raise verdict
        return there.fence.epoch if there else 0

    async def claim(self, epoch: int) -> bool:
        """Set the owner's epoch, if the stamp's is lower; say whether that was so. Raises PermanentError."""
        async with self.conversation:
            for _ in range(MOST_TRIES):
                mirror = await self.sync()
                self._refuse_others(mirror)
                if self._epoch(mirror) >= epoch:
                    return False
                if await self._put_stamp(mirror, Fence(epoch), claim=True):
                    return True
        raise self._contested()

    def _contested(self) -> AdapterError:
        return AdapterError(f"others change the stamp {shown(self.stamp_name)} all the time")

    async def told(self) -> str:
        """Return, for people, what the stamps say; changes nothing. Raises PermanentError as `claim` does."""
        mirror = await self.read()
        self._refuse_others(mirror)
        value = self._stamp(mirror)
        there = stamp.read(value) if value is not None else None
        if value is not None and there is None:
            raise PermanentError(
                f"the TXT record at {shown(self.stamp_name)} is no stamp: put it right, or delete it where no Waypost "
                "writes here"
            )
        return f"environment {there.environment}, epoch {there.fence.epoch}" if there else NO_STAMP

    async def may_write(self) -> str:
        """Ask by an update that deletes what is not there: the server looks at the key's permission, and does nothing.

        It has to be below the stamps' name and of their type, since servers can permit that name by name.
        """
        name = PROBE + self._root
        writer = self.update()
        writer.row(1, name, wire.TXT, wire.NONE)
        writer.row(2, name, wire.TXT, wire.ANY)
        async with self.conversation:
            answer = await self.client.ask(writer)
        if answer.rcode:
            raise self.client.refusal(answer.rcode, f"an update of `{self.name}`")
        return f"may update `{self.name}` (asked without writing)"

    def _refuse_others(self, mirror: Mirror) -> None:
        """Raise PermanentError where the zone, or any owner's stamp in it, says another environment."""
        names = [name for name in mirror.nodes if name.endswith(self._root)]
        for name in names:
            for rdata in rrset.rdatas if (rrset := mirror.get(name, wire.TXT)) else ():
                found = stamp.environment_of(wire.strings(rdata))
                if found not in {None, self.environment}:
                    raise PermanentError(
                        f"the zone `{self.name}` belongs to environment `{found}` (TXT record at {shown(name)}), this "
                        f"sink to `{self.environment}`: nothing is written until the manifest names the right zone, or "
                        "that record, of a Waypost that is gone for good, is deleted"
                    )

    async def _put_stamp(self, mirror: Mirror, fence: Fence, *, claim: bool) -> bool:
        """Write the stamp if it is as the mirror has it; false where it is not."""
        made = wire.text(Stamp(self.environment, self.owner, fence).encode())
        zone = wire.text(stamp.environment_text(self.environment))
        writer = self.update()
        puts = [(self.stamp_name, made), *([(self._root, zone)] if claim else [])]
        for name, _ in puts:
            was = mirror.get(name, wire.TXT)
            for rdata in was.rdatas if was else ():
                writer.row(1, name, wire.TXT, wire.IN, 0, rdata)
            if was is None:
                writer.row(1, name, wire.TXT, wire.NONE)
        for name, rdata in puts:
            writer.row(2, name, wire.TXT, wire.ANY)
            writer.row(2, name, wire.TXT, wire.IN, stamp.STAMP_TTL, rdata)
        try:
            answer = await self.client.ask(writer)
        except Uncertain:
            self.doubted = True
            raise
        if answer.rcode in CHANGED:
            return False
        if answer.rcode:
            raise self.client.refusal(answer.rcode, f"an update of `{self.name}`")
        for name, rdata in puts:
            for old in rrset.rdatas if (rrset := mirror.get(name, wire.TXT)) else ():
                mirror.remove(name, wire.TXT, old)
            mirror.add(name, wire.TXT, stamp.STAMP_TTL, rdata)
        return True

    async def generation(self, fence: Fence) -> int:
        """Return the generation that the stamp is at. Raises Fenced, NotClaimed."""
        async with self.conversation:
            verdict = self.judge(await self.sync(), fence)
        if isinstance(verdict, AdapterError):
            raise verdict
        return verdict.fence.generation if verdict is not None else fence.generation

    async def advance(self, fence: Fence, generation: int) -> None:
        """Set the generation, if the stamp is not above the fence's epoch. Raises Fenced, NotClaimed."""
        async with self.conversation:
            for _ in range(MOST_TRIES):
                mirror = await self.sync()
                verdict = self.judge(mirror, fence)
                if isinstance(verdict, AdapterError):
                    raise verdict
                if await self._put_stamp(mirror, Fence(fence.epoch, generation), claim=False):
                    return
        raise self._contested()

    def judge(self, mirror: Mirror, fence: Fence) -> AdapterError | Stamp | None:
        """Return what the stamp means for a write under that fence; see stamp.judge."""
        return stamp.judge(shown(self.stamp_name), self._stamp(mirror), self.environment, fence)

    def update(self) -> wire.Writer:
        """Begin an update of the zone."""
        writer = self.client.writer(wire.UPDATE)
        writer.question(self.apex, wire.SOA)
        return writer
