"""What keeps what is registered: a sink, its records, and what becomes of a change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

from waypost.adapter.errors import InvalidRecord
from waypost.model import Publication, PublicationKey, PublishedInstance, ServiceKey

__all__ = [
    "APPLIED",
    "Change",
    "Fence",
    "Foreign",
    "Limits",
    "Mark",
    "Observed",
    "Outcome",
    "Record",
    "Sink",
    "fingerprint",
]


class Limits(msgspec.Struct, frozen=True):
    """What one `apply` may hold, and how many may be under way at once."""

    records: int = 64
    bytes: int = 400_000
    in_flight: int = 4


class Record(msgspec.Struct, frozen=True, gc=False):
    """What a sink keeps under one key, for one instance.

    `content` is canonical: the same content always gives the same bytes, and `observe` computes the fingerprint from
    bytes normalised in the same way. It includes everything that is written, ownership and readiness too.
    """

    key: str
    instance: str
    content: bytes
    name: str = ""
    ready: bool = True


class Change(msgspec.Struct, frozen=True, gc=False):
    """One step of a batch: `record` None deletes. `create` is a hint: as far as the caller knows, nothing is there.

    `release` (with `record` None): instead of deleting, take the owner's mark off. What consumers see stays as it is,
    and from then on the record is nobody's. Of what is absent or not ours nothing is changed, as by a deletion.

    `adopt` (with a record): what to do where the same is there already and says of nobody whose it is. "ask": write
    nothing, the outcome is `identical`. "take": make it ours in its place, without a moment in which it is absent; only
    if it is still the same, which is compared in the write itself, else the outcome is `conflict`. What consumers would
    see differently is not the same, and never taken. Where nothing is there, the record is written as without it.
    """

    key: str
    record: Record | None = None
    create: bool = False
    release: bool = False
    adopt: Literal["", "ask", "take"] = ""


class Observed(msgspec.Struct, frozen=True, gc=False):
    """A record of ours as found in the target.

    `registration`, `entry`, `service`, `instance` come from the record itself.
    """

    key: str
    fingerprint: int
    registration: str
    entry: str
    service: ServiceKey
    instance: str
    name: str = ""
    ready: bool = True

    @property
    def publication(self) -> PublicationKey:
        """Whose it is, as it says."""
        return PublicationKey(self.registration, self.entry, self.service)


class Foreign(msgspec.Struct, frozen=True):
    """Something others keep under a name of ours; `owner` is "" where the record does not say whose it is."""

    key: str
    name: str
    owner: str = ""
    summary: str = ""  # one line, for people, at most 200 characters


class Outcome(msgspec.Struct, frozen=True):
    """What became of one change.

    applied: acknowledged (a deletion of what is absent is applied). invalid: the target refuses this record for good;
    reason says why. conflict: a record that is not ours is there; untouched. identical: the same record is there and is
    nobody's; untouched, as `Change.adopt` "ask" wants; reason tells where. superseded: not written, because the
    fence's generation is past or the batch was given up before this change; the caller sends it again. unknown: it may
    or may not have been written (time-out, cut connection).
    """

    status: Literal["applied", "invalid", "conflict", "identical", "superseded", "unknown"]
    reason: str = ""


APPLIED = Outcome("applied")


class Fence(msgspec.Struct, frozen=True, order=True):
    """What a write carries.

    The epoch is a leadership as the target knows it; the generation grows after each unknown outcome.
    """

    epoch: int
    generation: int = 0


class Mark(Protocol):
    """Takes note of the keys that others may have changed."""

    def __call__(self, keys: Iterable[str] | None, /) -> None:
        """Mark these keys; None: anything. Does not block."""


@runtime_checkable
class Sink(Protocol):
    """Keeps what is registered.

    Ownership is per record: foreign records are never changed, deleted or observed as ours.

    A sink that can be watched may also have `async def drift(self, mark: Mark) -> None`: it runs until cancelled or
    raises, and marks the keys that others may have changed (None: anything). Our own writes may be marked too.

    It may also be `Placed` and `Examined`.

    A sink whose consumers ask for a name in a namespace, so that one name in two namespaces is two, has `namespaced =
    True`. Otherwise a name has one holder in the whole sink.

    A sink that takes several texts for one name (in DNS `WEB.` and `web`) has `def canonical(self, name: str) -> str`,
    which returns the one form of all of them; pure. Two registrations with texts of one form contend for one name.
    """

    limits: Limits

    def render(
        self, publication: Publication, instances: Sequence[PublishedInstance]
    ) -> Iterator[Record | InvalidRecord]:
        """Yield the records of these instances, and InvalidRecord for those that cannot be.

        Pure: no clock, no randomness, no state.

        Not-ready instances come only where they are to be published as such. The key depends on the publication's key,
        names, ports and ids only, so that no two publications share one; a text that is no valid Unicode (a lone
        surrogate) makes an InvalidRecord.
        """

    def above(self, name: str) -> Sequence[str]:
        """Return the names that cannot be published together with this one (in SkyDNS: those it is nested under)."""

    async def claim(self, environment: str, owner: str, past: int = 0) -> Fence | None:
        """Read the stamp and set this owner's epoch to max(stamp, past) + 1, by compare-and-set.

        None where the target cannot fence.

        Raises PermanentError, and writes nothing, where any owner's stamp in the target says another environment.
        """

    async def advance(self, fence: Fence) -> Fence:
        """Set the stamp's generation one higher, so that late writes of the old one fail. Raises Fenced, NotClaimed."""

    def observe(self, keys: Collection[str] | None = None) -> AsyncIterator[Observed]:
        """Yield our records, all or those of the keys, and nothing else.

        Raises AdapterError when the view is not complete.
        """

    async def inspect(self, names: Collection[str]) -> list[Foreign]:
        """Return what others keep under these names, at most 100."""

    async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Mapping[str, Outcome]:
        """Write a batch within `limits`, comparing the fence in the write itself; one outcome a key.

        Creates only what is absent or ours. Raises Fenced or NotClaimed (nothing written), or AdapterError before
        anything was sent; after that point a failure is the outcome `unknown`.
        """


def fingerprint(content: bytes) -> int:
    """Return the fingerprint of a record's canonical content; valid within this process only, never stored."""
    return hash(content)
