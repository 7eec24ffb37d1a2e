"""The stamp: a TXT record an owner, `<owner>._waypost.<zone>`, with the epoch and generation it writes under. Pure.

Every update has it, by value, as a prerequisite, so that one of an older fence does nothing, however late it comes. A
further TXT record at `_waypost.<zone>` says which environment the zone belongs to.
"""

from __future__ import annotations

from base64 import b32hexencode
from contextlib import suppress
from hashlib import blake2b
from urllib.parse import unquote

import msgspec

from waypost.adapter import AdapterError, Fence, Fenced, NotClaimed, PermanentError
from waypost.kit import dnsnames
from waypost.kit.ownership import quoted
from waypost_adapters.dns.layout import encode_label

__all__ = ["ROOT", "Stamp", "environment_text", "judge", "read", "stamp_label"]

ROOT = b"\x08_waypost"
STAMP_TTL = 5


class Stamp(msgspec.Struct, frozen=True):
    """A stamp's value."""

    environment: str
    owner: str
    fence: Fence

    def encode(self) -> bytes:
        """Return the one form in which it is written and compared."""
        fence = self.fence
        return (
            f"waypost-stamp=1 environment={quoted(self.environment)} owner={quoted(self.owner)} "
            f"epoch={fence.epoch} generation={fence.generation}"
        ).encode()


def environment_text(environment: str) -> bytes:
    """Return the text that says whose zone it is."""
    return f"waypost-zone=1 environment={quoted(environment)}".encode()


def stamp_label(owner: str) -> bytes:
    """Return the first label of the name of an owner's stamp: the owner where it can be, else a digest of it."""
    with suppress(dnsnames.BadName):
        if dnsnames.label(owner) == owner:
            return encode_label(owner)
    return encode_label("_" + b32hexencode(blake2b(owner.encode(), digest_size=10).digest()).decode().lower())


def read(value: bytes) -> Stamp | None:
    """Return the stamp that a text is; None where it is none."""
    try:
        words = dict(part.split("=", 1) for part in value.decode("ascii").split(" "))
        if words["waypost-stamp"] != "1":
            return None
        fence = Fence(int(words["epoch"]), int(words["generation"]))
        return Stamp(_unquoted(words["environment"]), _unquoted(words["owner"]), fence)
    except (KeyError, ValueError):
        return None


def environment_of(value: bytes) -> str | None:
    """Return the environment that a zone's text, or a stamp, names; None where it is neither."""
    with suppress(KeyError, ValueError):
        words = dict(part.split("=", 1) for part in value.decode("ascii").split(" "))
        if "waypost-zone" in words or "waypost-stamp" in words:
            return _unquoted(words["environment"])
    return None


def _unquoted(text: str) -> str:
    return unquote(text)


def judge(place: str, value: bytes | None, environment: str, fence: Fence) -> AdapterError | Stamp | None:
    """Return what a stamp (None: absent) means for a write under that fence.

    None: it is the fence's own. A Stamp: a newer generation of the same epoch. An error: why nothing may be written.
    """
    if value is None:
        return NotClaimed(f"the stamp {place} is absent: the zone lost its data, or somebody deleted it")
    stamp = read(value)
    if stamp is None:
        return PermanentError(
            f"the stamp {place} cannot be read, so it is not known to whom the zone belongs: nothing is written until "
            "that TXT record is put right or, where no Waypost writes here, deleted"
        )
    if stamp.environment != environment:
        return PermanentError(
            f"the stamp {place} says environment `{stamp.environment}`, this sink `{environment}`: nothing is written "
            "until the manifest names the right zone, or that TXT record, of a Waypost gone for good, is deleted"
        )
    if stamp.fence.epoch > fence.epoch:
        return Fenced(f"the stamp {place} holds epoch {stamp.fence.epoch}, ours is {fence.epoch}: another one leads")
    if stamp.fence < fence:
        return NotClaimed(f"the stamp {place} is older than ours: the zone was restored")
    return stamp if stamp.fence > fence else None
