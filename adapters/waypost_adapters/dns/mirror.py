"""What a zone holds, as far as we know: every RRset by value, and which entries want which shared record. Pure.

Filled by a transfer, kept by the zone's own log (IXFR) and by our acknowledged writes. It is knowledge, not truth:
every message states it as prerequisites, and where the server says otherwise it is read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from waypost.kit.ownership import quoted
from waypost_adapters.dns import layout, wire
from waypost_adapters.dns.layout import Entry, Want
from waypost_adapters.dns.wire import Row

__all__ = ["Copy", "Mirror", "RRset", "Seen", "Whole"]


class RRset(msgspec.Struct, frozen=True, gc=False):
    """The records of one name and type. `rdatas` has no order."""

    type: int
    ttl: int
    rdatas: tuple[bytes, ...]


_SIGNATURES = frozenset({46, 47, 50})  # RRSIG, NSEC, NSEC3: the server's own, where it signs the zone
Wanted = dict[bytes, dict[bytes, int]]  # rdata → own name of each entry of ours that wants it → the TTL it asks for
Seen = tuple[frozenset[bytes], bool]  # the records of a set, and whether it has the TTL that it should have
Whole = dict[tuple[bytes, int], dict[bytes, int]]  # a zone as a transfer gives it: name and type → rdata → TTL
_NOTHING: Mapping[bytes, dict[bytes, int]] = {}


class Copy:
    """What a draft and a mirror have in common: the changes of RRsets and of what is wanted."""

    def __init__(self, apex: bytes, owner: str) -> None:
        self.apex = apex
        self.owner = owner
        self.quoted_owner = quoted(owner)

    def get(self, name: bytes, type: int) -> RRset | None:
        """Return an RRset; None where there is none."""
        raise NotImplementedError

    def put(self, name: bytes, type: int, rrset: RRset | None) -> None:
        """Replace an RRset; None or an empty one: it is gone."""
        raise NotImplementedError

    def wanted(self, name: bytes, type: int) -> Mapping[bytes, dict[bytes, int]]:
        """Return which entries of ours want which records of an RRset. Not to be changed."""
        raise NotImplementedError

    def want(self, name: bytes, type: int, rdata: bytes, own: bytes, ttl: int | None) -> None:
        """Note that an entry wants a shared record; None: no longer."""
        raise NotImplementedError

    def theirs(self, name: bytes, type: int, rdata: bytes) -> tuple[bytes, ...]:
        """Return the own names of other owners' entries that want a shared record."""
        raise NotImplementedError

    def entry(self, own: bytes) -> tuple[Entry | None, bytes | None]:
        """Return the entry at a name of an entry's own, if it is one, and the text there, if there is one."""
        rrset = self.get(own, wire.TXT)
        if rrset is None:
            return None, None
        if len(rrset.rdatas) != 1:
            return None, b""
        text = wire.strings(rrset.rdatas[0])
        return entry_at(own, text, self.apex), text


def entry_at(own: bytes, text: bytes, apex: bytes) -> Entry | None:
    """Return what a text at this name says, whoever's it is; None where it is not at its own place."""
    found = layout.decode(text)
    if found is None or layout.key_name(found.key, apex) != own:
        return None
    return found


class Mirror(Copy):
    """A zone's copy. `serial` is that of the last transfer; our own writes since are in it, too."""

    def __init__(self, apex: bytes, owner: str) -> None:
        super().__init__(apex, owner)
        self.serial = 0
        self.nodes: dict[bytes, tuple[RRset, ...]] = {}
        self.owned: dict[bytes, None] = {}  # the own names of our entries, in the order they came
        self.cuts: set[bytes] = set()  # names with NS or DNAME records below the apex: what is below is not the zone's
        self._wanted: dict[bytes, dict[int, Wanted]] = {}
        self._theirs: dict[tuple[bytes, int, bytes], tuple[bytes, ...]] = {}
        self._strangers: dict[bytes, dict[bytes, None]] = {}  # published name → own names of other owners' entries

    def get(self, name: bytes, type: int) -> RRset | None:
        for rrset in self.nodes.get(name, ()):
            if rrset.type == type:
                return rrset
        return None

    def put(self, name: bytes, type: int, rrset: RRset | None) -> None:
        others = tuple(each for each in self.nodes.get(name, ()) if each.type != type)
        if rrset is not None and rrset.rdatas:
            others += (rrset,)
        if others:
            self.nodes[name] = others
        else:
            self.nodes.pop(name, None)
        if type in {wire.NS, wire.DNAME} and name != self.apex:
            (self.cuts.add if rrset is not None and rrset.rdatas else self.cuts.discard)(name)

    def wanted(self, name: bytes, type: int) -> Mapping[bytes, dict[bytes, int]]:
        return self._wanted.get(name, {}).get(type, _NOTHING)

    def want(self, name: bytes, type: int, rdata: bytes, own: bytes, ttl: int | None) -> None:
        types = self._wanted.setdefault(name, {})
        wanted = types.setdefault(type, {})
        if ttl is not None:
            wanted.setdefault(rdata, {})[own] = ttl
            return
        entries = wanted.get(rdata, {})
        entries.pop(own, None)
        if not entries:
            wanted.pop(rdata, None)
            if not wanted:
                del types[type]
                if not types:
                    del self._wanted[name]

    def set_wanted(self, name: bytes, type: int, wanted: Wanted) -> None:
        """Replace what is wanted of one RRset."""
        if wanted:
            self._wanted.setdefault(name, {})[type] = wanted
        elif (types := self._wanted.get(name)) is not None:
            types.pop(type, None)
            if not types:
                del self._wanted[name]

    # --- by record, as transfers give them

    def add(self, name: bytes, type: int, ttl: int, rdata: bytes) -> bool:
        """Add a record; say whether anything changed."""
        if type in _SIGNATURES:
            return False
        there = self.get(name, type)
        if there is not None and rdata in there.rdatas:
            if there.ttl == ttl:
                return False
            self.put(name, type, RRset(type, ttl, there.rdatas))
            return True
        if type == wire.TXT:
            self._text_gone(name, there)
        made = RRset(type, ttl, (*(there.rdatas if there else ()), rdata))
        self.put(name, type, made)
        if type == wire.TXT:
            self._text_there(name, made)
        return True

    def remove(self, name: bytes, type: int, rdata: bytes) -> bool:
        """Remove a record; say whether anything changed."""
        there = self.get(name, type)
        if there is None or rdata not in there.rdatas:
            return False
        if type == wire.TXT:
            self._text_gone(name, there)
        left = RRset(type, there.ttl, tuple(each for each in there.rdatas if each != rdata))
        self.put(name, type, left)
        if type == wire.TXT:
            self._text_there(name, left)
        return True

    def differences(self, whole: Whole) -> Iterator[tuple[bool, Row] | None]:
        """Yield what to remove and add (True) to become this, and None where there is nothing to do."""
        for name, rrsets in self.nodes.items():
            for rrset in rrsets:
                found = whole.get((name, rrset.type), ())
                gone = [rdata for rdata in rrset.rdatas if rdata not in found]
                yield from ((False, (name, rrset.type, rrset.ttl, rdata)) for rdata in gone)
            yield None
        for (name, type), found in whole.items():
            there = self.get(name, type)
            known = dict.fromkeys(there.rdatas, there.ttl) if there is not None else {}
            if known == found:
                yield None
            else:
                yield from ((True, (name, type, ttl, rdata)) for rdata, ttl in found.items())

    def theirs(self, name: bytes, type: int, rdata: bytes) -> tuple[bytes, ...]:
        return self._theirs.get((name, type, rdata), ()) if self._theirs else ()

    def _said(self, name: bytes, rrset: RRset | None) -> Entry | None:
        if rrset is None or len(rrset.rdatas) != 1 or not layout.OWN.match(name):
            return None
        return entry_at(name, wire.strings(rrset.rdatas[0]), self.apex)

    def _text_there(self, name: bytes, rrset: RRset) -> None:
        entry = self._said(name, rrset)
        if entry is None:
            return
        if entry.owner == self.quoted_owner:
            self.owned[name] = None
            note(self, name, shared_wants(entry, self.apex), entry.ttl)
            return
        self._strangers.setdefault(name[19:], {})[name] = None
        for want in shared_wants(entry, self.apex):
            place = (want.name, want.type, want.rdata)
            self._theirs[place] = (*self._theirs.get(place, ()), name)

    def _text_gone(self, name: bytes, rrset: RRset | None) -> None:
        entry = self._said(name, rrset)
        if entry is None:
            return
        if entry.owner == self.quoted_owner:
            self.owned.pop(name, None)
            note(self, name, shared_wants(entry, self.apex), None)
            return
        strangers = self._strangers.get(name[19:], {})
        strangers.pop(name, None)
        if not strangers:
            self._strangers.pop(name[19:], None)
        for want in shared_wants(entry, self.apex):
            place = (want.name, want.type, want.rdata)
            left = tuple(each for each in self._theirs.get(place, ()) if each != name)
            if left:
                self._theirs[place] = left
            else:
                self._theirs.pop(place, None)

    # --- what is asked of it

    def whole(self, own: bytes, entry: Entry, sets: dict[tuple[bytes, int], Seen]) -> bool:
        """Say whether all that an entry of ours wants is there. `sets`: what one pass has learned of shared sets."""
        text = self.get(own, wire.TXT)
        if text is None or text.ttl != entry.ttl:
            return False
        for want in layout.wants(entry, self.apex):
            if not want.shared:
                there = self.get(want.name, want.type)
                if there is None or there.rdatas != (want.rdata,) or there.ttl != entry.ttl:
                    return False
                continue
            if want.type == wire.CNAME and want.rdata != shown_cname(self, want.name):
                continue
            if (place := (want.name, want.type)) not in sets:
                sets[place] = self._seen(*place)
            rdatas, in_time = sets[place]
            if not in_time or want.rdata not in rdatas:
                return False
        return True

    def _seen(self, name: bytes, type: int) -> Seen:
        there = self.get(name, type)
        if there is None:
            return frozenset(), True
        return frozenset(there.rdatas), wanted_ttl(self, name, type, there) in {None, there.ttl}

    def strangers(self, name: bytes) -> Iterator[Entry]:
        """Yield the entries of other owners that stand under a published name."""
        for own in self._strangers.get(name, ()):
            found, _ = self.entry(own)
            if found is not None:
                yield found


def note(copy: Copy, own: bytes, wants: Iterable[Want], ttl: int | None) -> None:
    """Note which shared records an entry of ours wants; without a TTL: no longer wants."""
    for want in wants:
        if want.shared:
            copy.want(want.name, want.type, want.rdata, own, ttl)


def shared_wants(entry: Entry, apex: bytes) -> list[Want]:
    """Return the shared records that an entry wants; none where it says what cannot be."""
    try:
        return [want for want in layout.wants(entry, apex) if want.shared]
    except (ValueError, OverflowError):
        return []


def wanted_ttl(copy: Copy, name: bytes, type: int, rrset: RRset) -> int | None:
    """Return the TTL that a set of ours has: the lowest that is asked for; None where others have a part in it."""
    wanted = copy.wanted(name, type)
    if any(rdata not in wanted or copy.theirs(name, type, rdata) for rdata in rrset.rdatas):
        return None
    return min((ttl for entries in wanted.values() for ttl in entries.values()), default=None)


def shown_cname(copy: Copy, name: bytes) -> bytes | None:
    """Return the host name that a published name is an alias of: none beside addresses; of several the first."""
    if copy.wanted(name, wire.A) or copy.wanted(name, wire.AAAA):
        return None
    return min(copy.wanted(name, wire.CNAME), default=None)
