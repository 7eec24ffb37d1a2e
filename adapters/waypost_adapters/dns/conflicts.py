"""What stands in the way of an entry, as far as a copy of the zone knows. Pure; a text for people, or nothing.

A record that is there and that no entry of ours wants is somebody else's, also where it equals the one we would write.
An entry that is to adopt what is the same may be let in there: what it wants, and nobody's entry says, is its twin.
"""

from __future__ import annotations

from waypost_adapters.dns import wire
from waypost_adapters.dns.layout import Want
from waypost_adapters.dns.mirror import Copy, Mirror
from waypost_adapters.dns.telling import data, kind, shown

__all__ = ["alias", "conflict", "too_large", "twins", "unlike"]

MOST_SET = 60_000  # octets of a set as an answer has it; a DNS message has 65,535
HEAD = 12  # octets of a record in an answer, before its data


def conflict(copy: Copy, base: Mirror, old: list[Want], new: list[Want], *, adopts: bool = False) -> str:
    """Return why an entry that wanted `old` cannot want `new`: what others have there. `adopts`: but for the same."""
    ours = {(want.name, want.type, want.rdata) for want in (*old, *(new if adopts else ()))}
    for want in new:
        if cut := _cut(base, want.name):
            return f"the name is below `{shown(cut)}`, which is delegated or redirected elsewhere"
        there = copy.get(want.name, want.type)
        if not want.shared:
            if there is not None and any((want.name, want.type, each) not in ours for each in there.rdatas):
                return "an address that is not ours stands at the entry's own name"
            continue
        if there is not None and want.rdata in there.rdatas and want.rdata not in copy.wanted(want.name, want.type):
            others = copy.theirs(want.name, want.type, want.rdata)
            if (not others and not adopts) or (others and want.type == wire.CNAME):
                return f"the same record is there and is not ours: {shown(want.name)} {kind(want.type)}"
        if not (adopts and _twin(copy, want)) and (reason := alias(copy, base, want)):
            return reason
    return ""


def alias(copy: Copy, base: Mirror, want: Want) -> str:
    """Return why an alias, or what would stand beside one, cannot be there."""
    found = copy.get(want.name, wire.CNAME)
    if found is not None and any(rdata not in copy.wanted(want.name, wire.CNAME) for rdata in found.rdatas):
        return f"`{shown(want.name)}` is an alias (CNAME) that is not ours, and nothing can stand beside it"
    if want.type == wire.CNAME:
        for rrset in base.nodes.get(want.name, ()):
            mine = copy.wanted(want.name, rrset.type) if rrset.type in {wire.A, wire.AAAA, wire.CNAME} else {}
            if any(rdata not in mine for rdata in rrset.rdatas) and copy.get(want.name, rrset.type) is not None:
                return f"`{shown(want.name)}` has records that are not ours, beside which no alias (CNAME) can be"
    return ""


def twins(copy: Copy, new: list[Want]) -> list[Want]:
    """Return those records of what an entry wants that are there, and that nobody's entry says."""
    return [want for want in new if _twin(copy, want)]


def _twin(copy: Copy, want: Want) -> bool:
    there = copy.get(want.name, want.type)
    return (
        there is not None
        and want.rdata in there.rdatas
        and want.rdata not in copy.wanted(want.name, want.type)
        and not copy.theirs(want.name, want.type, want.rdata)
    )


def unlike(copy: Copy, found: list[Want], new: list[Want], ttl: int) -> str:
    """Return in what that which is there is not the same as what an entry wants; "" where it is.

    SRV records lead to names of Waypost's own, so that nobody has written them by hand: they may be missing.
    """
    for want in new:
        if not want.shared or want.type == wire.SRV or want in found:
            continue
        if want.rdata not in copy.wanted(want.name, want.type) and not copy.theirs(want.name, want.type, want.rdata):
            return f"not the same is there: {shown(want.name)} has no {kind(want.type)} {data(want.type, want.rdata)}"
    for want in found:
        there = copy.get(want.name, want.type)
        if there is not None and there.ttl != ttl:
            return (
                f"not the same is there: {shown(want.name)} {kind(want.type)} has the TTL {there.ttl}, and {ttl} is "
                f"asked for; `ttlSeconds: {there.ttl}` would be the same"
            )
    return ""


def _cut(base: Mirror, name: bytes) -> bytes | None:
    if base.cuts:
        while len(name) > len(base.apex):
            if name in base.cuts:
                return name
            name = name[1 + name[0] :]
    return None


def too_large(copy: Copy, new: list[Want]) -> str:
    """Return which set would be larger than what one message holds."""
    for want in new:
        there = copy.get(want.name, want.type)
        if there is None or len(there.rdatas) * (HEAD + len(want.rdata)) < MOST_SET or want.rdata in there.rdatas:
            continue
        return (
            f"{shown(want.name)} {kind(want.type)} has {len(there.rdatas)} records, and one DNS message holds no more: "
            "publish the service under several names"
        )
    return ""
