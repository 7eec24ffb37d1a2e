"""The contract between Waypost and its adapters: all that a plugin's author must read.

An entry point in the group `waypost.sources`, `waypost.sinks` or `waypost.electors` names an `AdapterType`. Its `open`
gives an object with the methods of `Source`, `Sink` or `Elector`.

Errors (an adapter raises these; whatever else it raises is treated as an `AdapterError` and is a bug worth a report):

    AdapterError          cannot do it now: the caller tries again, with backoff
    ├── PermanentError    cannot do it until a person changes something; the message says what
    ├── Fenced            a newer epoch rules: the caller writes nothing more in this term
    └── NotClaimed        the stamp is absent or older than ours (a lost or restored target)
    InvalidRecord         this one record cannot be: the message says why; all others go on (yielded or raised)
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import msgspec

from waypost.model import Publication, PublishedInstance, Service, ServiceKey

__all__ = [
    "AdapterError",
    "AdapterType",
    "Change",
    "Changes",
    "Clock",
    "Context",
    "Credentials",
    "Declared",
    "Elector",
    "Examined",
    "Fence",
    "Fenced",
    "Finding",
    "Foreign",
    "Informed",
    "InvalidRecord",
    "Keeping",
    "Leader",
    "Limits",
    "Lost",
    "Metrics",
    "NoOptions",
    "NotClaimed",
    "Observed",
    "Outcome",
    "PermanentError",
    "Place",
    "Placed",
    "Record",
    "Sink",
    "Snapshot",
    "Source",
    "Term",
    "fingerprint",
]

T_co = TypeVar("T_co", covariant=True)
A = TypeVar("A")


# --- errors -----------------------------------------------------------------------------------------------------------


class AdapterError(Exception):
    """The other side did not do it.

    Down, slow, refused, nonsense. Tried again with backoff. The message holds no secret.
    """


class PermanentError(AdapterError):
    """Trying again is useless until a person changes the manifest, the credentials or the target.

    The message says which and how.
    """


class Fenced(AdapterError):
    """The target's stamp holds a newer epoch: another leader rules. Nothing was written."""


class NotClaimed(AdapterError):
    """The target's stamp is absent, or older than the fence.

    The target lost or restored its data. Nothing was written.
    """


class InvalidRecord(Exception):
    """One record cannot exist in this sink (a label that is no DNS name, a value too long).

    `name` is the published name it had.
    """

    def __init__(self, instance: str, message: str, name: str = "") -> None:
        """Keep the instance's id and the name beside the message."""
        super().__init__(message)
        self.instance = instance
        self.name = name


# --- what an adapter is given -----------------------------------------------------------------------------------------


class Clock(Protocol):
    """Time as the adapter may know it.

    Tests and simulations own it: never call `time` or `datetime.now` in an adapter.
    """

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    def wall(self) -> float:
        """Return seconds since 1970 (UTC); may jump."""

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds, or when cancelled."""


class Metrics(Protocol):
    """Counters, gauges and histograms; the resource's kind and name are added as labels.

    Labels must have few values.
    """

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a counter."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add to a histogram of seconds."""


class Credentials(Protocol):
    """The secrets a resource names, followed as they rotate. Ask at each use; never log, never keep."""

    def get(self, name: str) -> str | None:
        """Return the present value, without trailing newlines; None where the manifest names no such credential."""

    async def changed(self) -> None:
        """Return when a value has changed since this call began."""


class Declared(Protocol):
    """What registrations write as `instances` under this source; only the type `static` reads it."""

    @property
    def complete(self) -> bool:
        """Whether the set that they stand in has been read whole: only then does what is not declared mean anything."""

    def services(self) -> Sequence[Service]:
        """Return all declared services, as now."""

    async def changed(self) -> None:
        """Return when something has changed since this call began."""


class Context(Protocol):
    """All that an adapter gets from Waypost: nothing is taken from the process, the environment or the machine."""

    @property
    def name(self) -> str:
        """The resource's name; a source's ServiceKeys begin with it."""

    @property
    def environment(self) -> str:
        """The environment that the resource belongs to."""

    @property
    def owner(self) -> str:
        """The sink's ownerID; empty for a source."""

    @property
    def clock(self) -> Clock:
        """The only clock to use."""

    @property
    def random(self) -> random.Random:
        """The only randomness to use."""

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that names the resource."""

    @property
    def metrics(self) -> Metrics:
        """Metrics that name the resource."""

    @property
    def credentials(self) -> Credentials:
        """The secrets that the resource names."""

    @property
    def declared(self) -> Declared:
        """What registrations declare under this source."""

    @property
    def state_dir(self) -> Path:
        """The adapter's own folder (0700), kept across restarts."""

    def warn(self, reason: str, message: str) -> None:
        """Show a warning condition on the resource (CamelCase reason).

        Works, but a person should know. Same reason replaces.
        """

    def shared(self, key: str, factory: Callable[[], AbstractAsyncContextManager[A]]) -> AbstractAsyncContextManager[A]:
        """Return one reference-counted object for all adapters of the process that use the key.

        Closed with its last user.
        """


class NoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Options of a sink that has none."""


class AdapterType(msgspec.Struct, Generic[T_co], frozen=True):
    """What an entry point names.

    `config` and `options` are msgspec structs with `forbid_unknown_fields=True, rename="camel"` and constraints: what
    they refuse is told with file, line and field. A ValueError of a `__post_init__` whose text begins with a field's
    name and a colon is told at that field. `credentials` are the names that a manifest may give. `open(config,
    context)` connects lazily: it succeeds with the other side down. A sink that understands `Change.release` says
    `releases`, one that understands `Change.adopt` says `adopts`; others never see such changes.
    """

    name: str
    config: type[msgspec.Struct]
    open: Callable[[Any, Context], AbstractAsyncContextManager[T_co]]
    options: type[msgspec.Struct] = NoOptions
    credentials: tuple[str, ...] = ()
    declares: bool = False  # a source whose services are written in registrations (`instances`)
    releases: bool = False
    adopts: bool = False


# --- what `waypost doctor` asks ---------------------------------------------------------------------------------------


class Place(msgspec.Struct, frozen=True):
    """Where an adapter connects to: host and port, or the path of a Unix socket.

    With `tls` its certificate is checked as the credentials `ca`, `clientCert` and `clientKey` say, for `server_name`
    or else the host.
    """

    host: str = ""
    port: int = 0
    tls: bool = False
    server_name: str = ""
    socket: str = ""

    def __str__(self) -> str:
        """Return it as people write it."""
        return self.socket or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")


class Finding(msgspec.Struct, frozen=True):
    """One thing that was tried: `what` in a word, how it is, and, where it is not well, what to do.

    No secret is in the texts.
    """

    what: str
    status: Literal["ok", "warning", "failed"]
    message: str
    remedy: str = ""


@runtime_checkable
class Placed(Protocol):
    """An opened source or sink that says where it connects to, so that names, connections and TLS can be tried."""

    def places(self) -> Sequence[Place]:
        """Return the places; several are several ways to one system. Connects to nothing."""


@runtime_checkable
class Examined(Protocol):
    """An opened source or sink that can say more than that it may be read."""

    async def examine(self) -> Sequence[Finding]:
        """Try what can be tried without changing anything.

        Of a sink: `stamp`, whether it is there and of the context's environment, and `write`, whether it may be
        written, where the target tells that. Is asked before any claim. Raises AdapterError where nothing can be said.
        """


# --- sources ----------------------------------------------------------------------------------------------------------


class Snapshot(Protocol):
    """A complete view while it is being read; takes effect when its `async with` block ends without an exception."""

    def put(self, service: Service) -> None:
        """Add a service to the view. The same key again replaces."""

    def unknown_nodes(self, nodes: Collection[str]) -> None:
        """Name nodes whose instances this view cannot show (an agent not back yet): what was known on them is kept."""


class Changes(Protocol):
    """Where a source puts what it learns. No method blocks; the order of calls is the order of facts."""

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Begin a complete view.

        Enter it before the request is sent: what is put or removed beside it while open wins over it.
        """

    def resumed(self) -> None:
        """State, in place of the first snapshot, that the source's log has no gap since the last watch."""

    def put(self, service: Service) -> None:
        """State a fact: this is the service now. With no instances: it exists and has none."""

    def amend(self, part: Service, gone: Collection[str] = ()) -> None:
        """State a fact of a part: the service's labels are these, and these instances of it; those ids are gone.

        All else of it is as it was: of a service that this watch has put, or shown in a view, and while none is open
        (then put it). Costs as much as what it names, where a put costs as much as the service.
        """

    def remove(self, key: ServiceKey) -> None:
        """State a fact: the service is gone."""

    def current(self) -> None:
        """State that nothing has changed and the source is alive."""

    def suspect(self, key: ServiceKey, instance: str, reason: str) -> None:
        """Ask for a health check of this instance now; states nothing."""


@runtime_checkable
class Source(Protocol):
    """Reads what runs.

    May also be `Placed` and `Examined`.
    """

    async def watch(self, out: Changes) -> None:
        """Run until cancelled or until it raises; the supervisor then calls again, with backoff.

        Returning is an error too.

        The first thing after each start is a snapshot, unless `out.resumed()` is true to the source's log.
        """


# --- sinks ------------------------------------------------------------------------------------------------------------


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


@runtime_checkable
class Sink(Protocol):
    """Keeps what is registered.

    Ownership is per record: foreign records are never changed, deleted or observed as ours.

    A sink that can be watched may also have `async def drift(self, mark: Callable[[Iterable[str] | None], None]) ->
    None`: it runs until cancelled or raises, and marks the keys that others may have changed (None: anything). Our own
    writes may be marked too.

    It may also be `Placed` and `Examined`.

    A sink whose consumers ask for a name in a namespace, so that one name in two namespaces is two, has `namespaced =
    True`. Otherwise a name has one holder in the whole sink.
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


# --- electors ---------------------------------------------------------------------------------------------------------


class Term(msgspec.Struct, frozen=True):
    """A leadership: its number grows with each one; `until` is on the clock's monotonic seconds."""

    number: int
    until: float


class Lost(msgspec.Struct, frozen=True):
    """The leadership ended."""

    reason: str = ""


class Leader(msgspec.Struct, frozen=True):
    """Who leads: what its context's `name` said, and the number of its term."""

    name: str
    number: int


@runtime_checkable
class Elector(Protocol):
    """Says when this process leads.

    The context's `name` is how this process is called for people (host, process, where it may be asked); it may say
    more later than at first. What tells candidates apart is random, never the name.

    The end of `open`'s block gives back at once what is held. It ends when nothing more is written.

    It may also be `Informed` and `Keeping`.
    """

    def terms(self) -> AsyncIterator[Term | Lost]:
        """Yield a Term when won and each time it is prolonged, Lost when it ended.

        A new term has a higher number than any that was ever heard of here, whatever the other side forgot. `until`
        counts from before the request that won or prolonged it, and lies before the earliest moment at which another
        may win: a term of which nothing more is heard ends by itself. Called again after it raised or was closed, it
        goes on: with the term that is still held, if there is one.
        """


@runtime_checkable
class Informed(Protocol):
    """An opened elector that knows who leads."""

    def leader(self) -> Leader | None:
        """Return who leads, be it this process, as far as was heard; None: nobody, or not known. Asks nobody."""


@runtime_checkable
class Keeping(Protocol):
    """An opened elector that keeps small values beside its lease: the leader writes them, the next one reads them.

    What is kept outlives terms. `largest` is how many bytes a value may have.
    """

    largest: int

    async def recall(self) -> Mapping[str, bytes]:
        """Return all values by their names (letters, digits and `._#-`). Raises AdapterError where not all are had."""

    async def keep(self, name: str, value: bytes | None) -> None:
        """Write a value, or delete it (None), where this process leads: compared in the write itself.

        Raises Fenced where it does not (nothing is written), another AdapterError where it may not have been written.
        """


def fingerprint(content: bytes) -> int:
    """Return the fingerprint of a record's canonical content; valid within this process only, never stored."""
    return hash(content)


Mark = Callable[[Iterable[str] | None], None]
