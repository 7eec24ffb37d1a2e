"""One update in the making: what changes, and what must be true for it, on top of what the mirror knows. Pure.

RFC 2136 cannot ask "is this record absent": so of each RRset that something is added to, the whole value is a
prerequisite. A record that is there and that no entry of ours wants is somebody else's, also where it equals the one we
would write; it is never taken and never deleted. A deletion names the exact record, which our own text says is ours.

SRV sets beyond LARGE are not stated: a name with hundreds of instances and several ports would not fit in a message.
Their records point to names that are an entry's own, so that nobody has made the same one before; the zone is read
again just before (`large`).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from waypost.adapter import Outcome
from waypost_adapters.dns import conflicts, layout, wire
from waypost_adapters.dns.layout import Entry, Want
from waypost_adapters.dns.mirror import Copy, Mirror, RRset, note, shown_cname, wanted_ttl
from waypost_adapters.dns.telling import data, kind, shown

__all__ = ["Draft", "Step", "TooMuch"]

MOST_BYTES = 60_000  # of a message, as estimated: 65,535 with the signature
LARGE = 20_000  # octets of a set as a prerequisite; a larger one is not written anew for its TTL alone
SHARE_TTL = 5
CROWD = 100  # records in a set, BIND's `max-records-per-type` since 9.18.28
ADDRESSES = (wire.A, wire.AAAA)

Place = tuple[bytes, int]


class Step(msgspec.Struct, frozen=True, gc=False):
    """One change: the entry to be, or None, at this own name. `release`, `adopt`: see adapter.Change."""

    key: str
    own: bytes
    entry: Entry | None
    text: bytes = b""
    release: bool = False
    adopt: str = ""


class TooMuch(Exception):
    """The step does not fit beside the others; nothing of it was taken."""


class Draft(Copy):
    """The changes of several steps."""

    def __init__(self, base: Mirror) -> None:
        super().__init__(base.apex, base.owner)
        self.base = base
        self.steps: list[Step] = []
        self.large = False  # something is added to a set that is too large to be stated
        self.size = 600  # header, stamp and signature
        self._sets: dict[Place, RRset | None] = {}
        self._wants: dict[Place, dict[bytes, dict[bytes, int]]] = {}
        # aliases that take the place of addresses: Knot ignores them in the same message where it signs the zone
        self.later: dict[bytes, None] = {}
        self._stated: set[Place] = set()  # shared sets that must be as known, though nothing is added to them
        self._must_be: set[bytes] = set()  # own names of others' entries, on account of which a record stays

    # --- as a copy

    def get(self, name: bytes, type: int) -> RRset | None:
        place = (name, type)
        return self._sets[place] if place in self._sets else self.base.get(name, type)

    def put(self, name: bytes, type: int, rrset: RRset | None) -> None:
        self._sets[name, type] = rrset if rrset is not None and rrset.rdatas else None

    def wanted(self, name: bytes, type: int) -> Mapping[bytes, dict[bytes, int]]:
        place = (name, type)
        return self._wants[place] if place in self._wants else self.base.wanted(name, type)

    def want(self, name: bytes, type: int, rdata: bytes, own: bytes, ttl: int | None) -> None:
        place = (name, type)
        if place not in self._wants:
            self._wants[place] = {value: dict(entries) for value, entries in self.base.wanted(name, type).items()}
        wanted = self._wants[place]
        if ttl is not None:
            wanted.setdefault(rdata, {})[own] = ttl
        elif rdata in wanted:
            wanted[rdata].pop(own, None)
            if not wanted[rdata]:
                del wanted[rdata]

    def theirs(self, name: bytes, type: int, rdata: bytes) -> tuple[bytes, ...]:
        return self.base.theirs(name, type, rdata)

    # --- taking steps

    def take(self, step: Step) -> Outcome | None:
        """Take a step; return None or, with nothing taken, why it cannot be. Raises TooMuch."""
        had, text = self.entry(step.own)
        if text is not None and (had is None or had.owner != self.quoted_owner):
            whose = f"owner `{had.owner}`" if had is not None else "somebody who does not say so"
            return Outcome("conflict", f"the TXT record at the entry's own name belongs to {whose}")
        if had is None and not step.adopt and self._other_at(step.own):
            return Outcome("conflict", "something that is not ours stands at the entry's own name")
        old = layout.wants(had, self.apex) if had is not None else []
        new = layout.wants(step.entry, self.apex) if step.entry is not None else []
        if reason := conflicts.conflict(self, self.base, old, new, adopts=bool(step.adopt) and had is None):
            return Outcome("conflict", reason)
        met = conflicts.twins(self, new) if step.adopt and had is None else []
        if step.entry is not None and met and (outcome := self._met(step, step.entry, met, new)) is not None:
            return outcome
        if reason := conflicts.too_large(self, new):
            return Outcome("invalid", reason)
        size = self._estimate(step, text or b"", old, new)
        if self.steps and self.size + size > MOST_BYTES:
            raise TooMuch
        self.size += size
        self.steps.append(step)
        self._stated.update((want.name, want.type) for want in met)
        if step.release:
            self._let_go(step, old)
        else:
            self._change(step, old, new)
        return None

    def _met(self, step: Step, entry: Entry, met: list[Want], new: list[Want]) -> Outcome | None:
        """Say what becomes of an entry whose records are there, and nobody's; None where it takes them over."""
        if reason := conflicts.unlike(self, met, new, entry.ttl):
            return Outcome("conflict", reason)
        if step.adopt == "take":
            return None
        told = ", ".join(f"{shown(w.name)} {kind(w.type)} {data(w.type, w.rdata)}" for w in met if w.shared)
        return Outcome("identical", told[:200] or f"what was left of it stands at {shown(step.own)}")

    def _let_go(self, step: Step, old: list[Want]) -> None:
        """Take away what says whose it is, and nothing that consumers see."""
        note(self, step.own, old, None)
        self.put(step.own, wire.TXT, None)
        for want in old:
            if want.shared and self.get(layout.share_name(want.name, want.type, want.rdata), wire.TXT) is not None:
                self._share(want.name, want.type, want.rdata, rely=False)

    def _other_at(self, own: bytes) -> bool:
        return any(self.get(own, type) is not None for type in (*ADDRESSES, wire.CNAME, wire.SRV))

    def _estimate(self, step: Step, text: bytes, old: list[Want], new: list[Want]) -> int:
        size = (
            80 + len(step.text) + 2 * len(text)
        )  # the own name's label and rows; the old text is stated, then deleted
        for want in (*old, *new):
            size += 14 + len(want.rdata)
            if (want.name, want.type) not in self._sets:
                size += len(want.name) - len(self.apex) + 24  # the zone's name is pointed to; that no alias is there
                there = self.base.get(want.name, want.type)
                if not self._unstated(want.type, there):
                    size += _size(there)
        return size

    def _unstated(self, type: int, there: RRset | None) -> bool:
        return type == wire.SRV and there is not None and _size(there) > LARGE

    def _change(self, step: Step, old: list[Want], new: list[Want]) -> None:
        before = {
            want.name: shown_cname(self, want.name) for want in (*old, *new) if want.type != wire.SRV and want.shared
        }
        note(self, step.own, old, None)
        if step.entry is not None:
            note(self, step.own, new, step.entry.ttl)
        self._own(step, new)
        self.large |= any(self._unstated(want.type, self.base.get(want.name, want.type)) for want in new)
        for name, type in dict.fromkeys((want.name, want.type) for want in (*old, *new) if want.shared):
            if type != wire.CNAME:
                gone = {want.rdata for want in old if (want.name, want.type) == (name, type)}
                come = [want.rdata for want in new if (want.name, want.type) == (name, type)]
                self._settle(name, type, gone, come)
        for name, alias in before.items():
            now = shown_cname(self, name)
            if alias is not None or now is not None:
                gone = {alias} if alias is not None and alias != now else set()
                self._settle(name, wire.CNAME, gone, [now] if now is not None else [])

    def alias(self, name: bytes) -> None:
        """Let a published name be the alias that it is to be."""
        alias = shown_cname(self, name)
        self._settle(name, wire.CNAME, set(), [alias] if alias is not None else [])

    def _own(self, step: Step, new: list[Want]) -> None:
        entry = step.entry
        text = RRset(wire.TXT, entry.ttl, (wire.text(step.text),)) if entry is not None else None
        self.put(step.own, wire.TXT, text)
        for type in ADDRESSES:
            rdatas = tuple(want.rdata for want in new if not want.shared and want.type == type)
            if rdatas or self.get(step.own, type) is not None:
                self.put(step.own, type, RRset(type, entry.ttl, rdatas) if entry is not None else None)

    def _settle(self, name: bytes, type: int, gone: set[bytes], come: list[bytes]) -> None:
        """Let a shared set hold what is now wanted of what one step took away and brought."""
        wanted = self.wanted(name, type)
        there = self.get(name, type)
        rdatas = left = there.rdatas if there else ()
        if type == wire.CNAME:
            left = tuple(rdata for rdata in rdatas if rdata not in gone)
            if there is None and not come:
                return
            if come and conflicts.alias(self, self.base, Want(name, type, come[0], shared=True)):
                come = []  # others have put something there meanwhile
            if come and any(self.base.get(name, each) is not None for each in ADDRESSES):
                self.later[name] = None
                come = []
        else:
            leave = {
                rdata for rdata in gone if rdata in rdatas and rdata not in wanted and self._leave(name, type, rdata)
            }
            left = tuple(rdata for rdata in rdatas if rdata not in leave) if leave else rdatas
            for rdata in come:
                if rdata in rdatas and self.theirs(name, type, rdata):
                    self._share(name, type, rdata, rely=True)
                    self._stated.add((name, type))
        made = (*left, *(rdata for rdata in dict.fromkeys(come) if rdata not in left))
        self.put(name, type, RRset(type, there.ttl if there else 0, made))

    def _leave(self, name: bytes, type: int, rdata: bytes) -> bool:
        """Give up a shared record; say whether it may go, as no other owner relies on it."""
        self._share(name, type, rdata, rely=False)
        others = self.theirs(name, type, rdata)
        if others:
            self._must_be.add(others[0])
        return not others

    def _share(self, name: bytes, type: int, rdata: bytes, *, rely: bool) -> None:
        """Say beside a record that we rely on it, or no longer do; who relies on it is a prerequisite."""
        place = layout.share_name(name, type, rdata)
        there = self.get(place, wire.TXT)
        mine = wire.text(f"waypost-shares=1 owner={self.quoted_owner}".encode())
        left = tuple(each for each in (there.rdatas if there else ()) if each != mine)
        self.put(place, wire.TXT, RRset(wire.TXT, there.ttl if there else SHARE_TTL, (*left, mine) if rely else left))
        self.size += 80

    def _date(self, name: bytes, type: int, rrset: RRset, was: RRset | None) -> RRset:
        """Return a shared set with the TTL that it is to have: beside others' theirs, else the lowest asked for."""
        asked = wanted_ttl(self, name, type, rrset)
        ttl = was.ttl if was else 0
        if asked is None or asked == ttl:
            return RRset(type, ttl, rrset.rdatas)
        anew = was is not None and not frozenset(was.rdatas).isdisjoint(rrset.rdatas)
        if anew and _size(rrset) > LARGE:
            return RRset(type, ttl, rrset.rdatas)
        return RRset(type, asked, rrset.rdatas)

    def _date_all(self) -> None:
        for (name, type), rrset in self._sets.items():
            if rrset is not None and not layout.ALONE.match(name):
                self._sets[name, type] = self._date(name, type, rrset, self.base.get(name, type))

    # --- the message

    def write(self, writer: wire.Writer) -> None:
        """Write prerequisites and updates; the zone and the stamp's prerequisite are there already."""
        removed: list[tuple[bytes, int, int, bytes]] = []
        added: list[tuple[bytes, int, int, bytes]] = []
        fresh: set[bytes] = set()
        for own in self._must_be:
            writer.row(1, own, wire.TXT, wire.ANY)
        self._date_all()
        for (name, type), rrset in self._sets.items():
            was = self.base.get(name, type)
            there = was.rdatas if was else ()
            now = rrset.rdatas if rrset else ()
            known = frozenset(there)
            come = [rdata for rdata in now if rdata not in known]
            anew = bool(was and rrset and was.ttl != rrset.ttl)
            if name not in self.base.nodes:
                if name not in fresh and (come or layout.ALONE.match(name)):
                    fresh.add(name)
                    writer.row(1, name, wire.ANY_TYPE, wire.NONE)
            elif come or anew or layout.ALONE.match(name) or (name, type) in self._stated:
                if anew or not self._unstated(type, was) or any(not layout.OWN.match(rdata, 6) for rdata in come):
                    self._require(writer, name, type, was)
                if come and was is None and type not in {wire.CNAME, wire.TXT} and (name, wire.CNAME) not in self._sets:
                    writer.row(1, name, wire.CNAME, wire.NONE)
            if anew:
                removed.append((name, type, wire.ANY, b""))
                added += [(name, type, rrset.ttl, rdata) for rdata in now] if rrset else []
                continue
            kept = set(now)
            removed += [(name, type, wire.NONE, rdata) for rdata in there if rdata not in kept]
            added += [(name, type, rrset.ttl, rdata) for rdata in come] if rrset else []
        for name, type, rclass, rdata in removed:
            writer.row(2, name, type, rclass, 0, rdata)
        for name, type, ttl, rdata in added:
            writer.row(2, name, type, wire.IN, ttl, rdata)

    def _require(self, writer: wire.Writer, name: bytes, type: int, was: RRset | None) -> None:
        if was is None:
            writer.row(1, name, type, wire.NONE)
            return
        for rdata in was.rdatas:
            writer.row(1, name, type, wire.IN, 0, rdata)

    @property
    def crowded(self) -> bool:
        """Whether a set grows that a server with BIND's defaults would say is full."""
        return any(rrset is not None and len(rrset.rdatas) > CROWD for rrset in self._sets.values())

    def commit(self) -> None:
        """Let the mirror know what the server acknowledged."""
        for (name, type), rrset in self._sets.items():
            self.base.put(name, type, rrset)
        for (name, type), wanted in self._wants.items():
            self.base.set_wanted(name, type, wanted)
        for step in self.steps:
            if step.entry is not None:
                self.base.owned[step.own] = None
            else:
                self.base.owned.pop(step.own, None)


def _size(rrset: RRset | None) -> int:
    return sum(14 + len(rdata) for rdata in rrset.rdatas) if rrset is not None else 0
