"""The stamp: one key an owner that says which environment is kept here, and under which epoch and generation it writes.

`<root>/owners/<owner>` holds `{"environment":…,"epoch":…,"generation":…}`; the root is the layout's (`json`:
`<prefix>/.waypost`). Every write compares it as a whole, so a transaction of an older fence does nothing, however late
it comes. Pure.
"""

from __future__ import annotations

import msgspec

from waypost.adapter import AdapterError, Fence, Fenced, NotClaimed, PermanentError
from waypost_adapters.etcd.layout_json import segment

__all__ = ["Stamp", "judge", "read", "stamp_key", "stamps"]


class Stamp(msgspec.Struct, frozen=True):
    """A stamp's value."""

    environment: str
    epoch: int
    generation: int

    @property
    def fence(self) -> Fence:
        """The fence that writes carry while this is the stamp."""
        return Fence(self.epoch, self.generation)

    def encode(self) -> bytes:
        """Return the one form in which it is written and compared."""
        return msgspec.json.encode(self)


def stamps(root: str) -> bytes:
    """Return what the keys of all stamps begin with."""
    return f"{root}/owners/".encode()


def stamp_key(root: str, owner: str) -> bytes:
    """Return the key of an owner's stamp."""
    return stamps(root) + segment(owner).encode()


def read(key: bytes, value: bytes, environment: str) -> Stamp:
    """Return the stamp found under a key. Raises PermanentError where it is none, or another environment's."""
    at = ascii(key.decode(errors="backslashreplace"))[1:-1]
    try:
        stamp = msgspec.json.decode(value, type=Stamp)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise PermanentError(
            f"the stamp {at} cannot be read, so it is not known to whom this prefix belongs: nothing is written until "
            "it is put right or, where no Waypost writes here, deleted"
        ) from None
    if stamp.environment != environment:
        raise PermanentError(
            f"the stamp {at} says environment `{stamp.environment}`, this sink `{environment}`: nothing is written "
            "until the manifest names the right target or another prefix, or that stamp, of a Waypost that is gone for "
            "good, is deleted"
        )
    return stamp


def judge(key: bytes, value: bytes | None, environment: str, fence: Fence) -> AdapterError | Stamp | None:
    """Return what a stamp (None: absent) means for a write under that fence.

    None: it is the fence's own. A Stamp: a newer generation of the same epoch. An error: why nothing may be written.
    """
    if value is None:
        return NotClaimed(f"the stamp {key.decode()} is absent: the target lost its data, or somebody deleted it")
    try:
        stamp = read(key, value, environment)
    except PermanentError as error:
        return error
    if stamp.epoch > fence.epoch:
        return Fenced(f"the stamp {key.decode()} holds epoch {stamp.epoch}, ours is {fence.epoch}: another one leads")
    if stamp.fence < fence:
        return NotClaimed(f"the stamp {key.decode()} is older than ours: the target was restored")
    if stamp.fence > fence:
        return stamp
    if stamp.encode() != value:
        return NotClaimed(f"the stamp {key.decode()} is not as Waypost writes it: somebody edited it")
    return None
