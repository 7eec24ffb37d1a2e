"""The manifests as they are, and were: what people asked for at any time, and whether all of it could be read.

Engines get them handed over, or as files through the real feed; the judge asks only what is kept here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal

import msgspec

from tests.simulation.schedule import Origin, Outlet, Registered
from waypost.adapter import AdapterType
from waypost.settings import (
    Metadata,
    RegistrationSpec,
    ServiceRegistration,
    ServiceSink,
    ServiceSource,
    Settings,
    SinkSpec,
    SourceSpec,
    TypesOf,
)
from waypost.settings.folder import ManifestSet
from waypost.testing.memory import MemoryConfig

__all__ = ["ENVIRONMENT", "OWNER", "Feed", "Handed", "Manifests"]

OWNER = "me"
ENVIRONMENT = "test"
BROKEN: Literal["broken"] = "broken"
GONE: Literal["gone"] = "gone"
DELETED_AFTER = 2.0  # seconds that a document must be absent from files that can all be read
UNREAD_WITHIN = 0.2  # seconds for which a file must be still before what it says is taken
SEEN_AFTER = 6.0  # seconds for which a document must be there to be in force in every engine

State = Any  # a spec's form, or BROKEN, or GONE


class Manifests:
    """All documents with their history. Names: `source/…`, `sink/…`, `registration/…`."""

    def __init__(
        self,
        now: Callable[[], float],
        folder: Path | None,
        sharing: Collection[str] = (),
        orphans: Collection[str] = (),
    ) -> None:
        self._now = now
        self.sharing = sharing
        self.orphans = orphans
        self.folder = folder
        self.now: dict[str, State] = {}
        self.history: dict[str, list[tuple[float, State]]] = {}
        self.whole: list[tuple[float, bool]] = [(0.0, True)]
        self.bodies: dict[str, dict[str, Any]] = {}
        if folder is not None:
            folder.mkdir(parents=True)

    # --- what people do

    def put(self, name: str, form: State) -> None:
        """Write a document, break it, or delete it."""
        if self.now.get(name, GONE) == form:
            return
        before = list(self.now.values())
        if form == GONE:
            self.now.pop(name, None)
        else:
            self.now[name] = form
        self.history.setdefault(name, []).append((self._now(), form))
        whole = BROKEN not in self.now.values() and bool(self.now)
        if whole != self.is_whole:
            self._turned(whole, unseen=BROKEN in before and self.folder is not None)
        if form not in (BROKEN, GONE):
            self.bodies[name] = _body(name, form)
            if isinstance(form, Registered):
                named = name.partition("/")[2]
                self.bodies[name]["spec"] |= {"sharing": "Shared"} if named in self.sharing else {}
                self.bodies[name]["spec"] |= {"deletionPolicy": "Orphan"} if named in self.orphans else {}
        if self.folder is not None:
            self._write(self.folder / f"{name.replace('/', '-')}.yaml", name, form)

    def _turned(self, whole: bool, *, unseen: bool) -> None:
        """Take note of whether all can be read now; `unseen`: what could not was only half-written, if not for long."""
        if whole and unseen and self._now() - self.whole[-1][0] < UNREAD_WITHIN:
            self.whole.pop()  # nobody has tried to read it
        else:
            self.whole.append((self._now(), whole))

    def _write(self, path: Path, name: str, form: State) -> None:
        if form == GONE:
            path.unlink(missing_ok=True)
        elif form == BROKEN:  # an editor has written half of it
            path.write_text('{"apiVersion": "waypost.dev/v1alpha1", "kind": \n')
        else:
            path.write_bytes(msgspec.json.encode(self.bodies[name]) + b"\n")

    @property
    def is_whole(self) -> bool:
        """Whether all documents can be read."""
        return self.whole[-1][1]

    # --- what the judge asks

    def forms(self, name: str, seconds: float) -> list[State]:
        """Return all that a document was within that many seconds, the newest first.

        Of one that was broken, or was gone from a set that was not whole, what it said before counts too; and so it
        does of one that was there for so short that an engine may never have read it.
        """
        found = []
        for place in range(len(self.history.get(name, ())) - 1, -1, -1):
            since, form = self.history[name][place]
            found.append(form)
            counts = form not in (BROKEN, GONE) or (form == GONE and self.was_whole(since, self._until(name, place)))
            seen = self._until(name, place) - since >= SEEN_AFTER
            if counts and seen and since <= self._now() - seconds:
                return found
        return [*found, GONE]

    def _until(self, name: str, place: int) -> float:
        history = self.history[name]
        return history[place + 1][0] if place + 1 < len(history) else self._now()

    def last_good(self, name: str) -> State:
        """Return what a document said when it could last be read: while it cannot, that is in force."""
        return next((form for _, form in reversed(self.history.get(name, ())) if form != BROKEN), GONE)

    def was_whole(self, since: float, until: float) -> bool:
        """Say whether all documents could be read at once, for long enough, at any time between."""
        needed = DELETED_AFTER - 1e-6 if self.folder is not None else 0.0
        ends = [at for at, _ in self.whole[1:]] + [until]
        return any(
            whole and min(end, until) - max(at, since) >= needed
            for (at, whole), end in zip(self.whole, ends, strict=True)
            if at <= until and end >= since
        )

    def was_there(self, name: str, since: float) -> bool:
        """Say whether a document was there and well at any time from `since` on."""
        history = self.history.get(name, [])
        ends = [at for at, _ in history[1:]] + [1e18]
        return any(form not in (BROKEN, GONE) and end >= since for (_, form), end in zip(history, ends, strict=True))

    def asked_since(self, since: float, asks: Callable[[Registered], bool], *, apart_from: str) -> bool:
        """Say whether another document asked for something at any time from `since` on."""
        return any(
            isinstance(form, Registered) and self._until(name, place) >= since and asks(form)
            for name, history in self.history.items()
            if name != apart_from
            for place, (_, form) in enumerate(history)
        )

    def deleted(self, name: str, seconds: float) -> bool:
        """Say whether a document was deleted by a person within so long, from a set that was whole meanwhile."""
        return any(
            form == GONE
            and self._until(name, place) >= self._now() - seconds
            and self.was_whole(since, self._until(name, place))
            for place, (since, form) in enumerate(self.history.get(name, ()))
        )


def _body(name: str, form: State) -> dict[str, Any]:
    kind, _, named = name.partition("/")
    metadata: dict[str, Any] = {"name": named}
    spec: dict[str, Any]
    if isinstance(form, Origin):
        spec = {"type": "memory", "environment": ENVIRONMENT}
    elif isinstance(form, Outlet):
        spec = {"type": "memory", "environment": ENVIRONMENT, "ownerID": OWNER}
    elif isinstance(form, Registered):
        metadata["namespace"] = "default"
        spec = _registration(form)
    else:
        spec = {"type": "memory", "environment": ENVIRONMENT, **form}
        if kind == "sink":
            spec["ownerID"] = OWNER
    words = {"source": "ServiceSource", "sink": "ServiceSink", "registration": "ServiceRegistration"}
    return {"apiVersion": "waypost.dev/v1alpha1", "kind": words[kind], "metadata": metadata, "spec": spec}


def _registration(form: Registered) -> dict[str, Any]:
    selected = {"selector": {"services": ["*"]}} if form.service == "*" else {"service": {"name": form.service}}
    spec: dict[str, Any] = {
        "sources": [{"name": "all", "sourceRef": {"name": form.source}, **selected}],
        "sinks": [{"name": sink, "sinkRef": {"name": sink}, "notReady": form.not_ready} for sink in form.sinks],
        "names": [form.name],
        "drainSeconds": form.drain_seconds,
    }
    if form.mark:
        spec["metadata"] = {"mark": form.mark}
    if form.checked:
        spec["healthCheck"] = {"tcpSocket": {}, "periodSeconds": 60}
    return spec


def _never(_config: Any, _context: Any) -> Any:
    raise AssertionError("manifests are read with a type that opens nothing")


class Feed:
    """One engine's reading of files."""

    def __init__(self, manifests: Manifests) -> None:
        assert manifests.folder is not None
        kind = AdapterType("memory", MemoryConfig, _never)
        self._set = ManifestSet([manifests.folder], TypesOf({"memory": kind}, {"memory": kind}))

    @property
    def wake(self) -> float | None:
        """When to read again, whatever happens."""
        return self._set.wake

    def read(self, now: float, wall: float) -> Settings:
        """Read what is there now."""
        return self._set.read(now, wall)


class Handed:
    """One engine's settings as a feed would hand them over; what is broken keeps its last good form."""

    wake = None

    def __init__(self, manifests: Manifests) -> None:
        self._manifests = manifests
        self._made: dict[str, tuple[State, Any]] = {}
        self._last = Settings()

    def read(self, now: float, wall: float) -> Settings:
        """Return what is asked for now."""
        present = self._manifests.now
        whole = self._manifests.is_whole
        for name, form in present.items():
            if form != BROKEN and (name not in self._made or self._made[name][0] != form):
                self._made[name] = form, _made(self._manifests.bodies[name])
        if whole:
            self._made = {name: made for name, made in self._made.items() if name in present}
        kinds: dict[str, dict[str, Any]] = {"source": {}, "sink": {}, "registration": {}}
        for name, (_, made) in self._made.items():
            kinds[name.partition("/")[0]][made.key] = made
        self._last = Settings(kinds["source"], kinds["sink"], kinds["registration"], complete=whole)
        return self._last


def _made(body: dict[str, Any]) -> Any:
    kinds: dict[str, Any] = {
        "ServiceSource": (ServiceSource, SourceSpec),
        "ServiceSink": (ServiceSink, SinkSpec),
        "ServiceRegistration": (ServiceRegistration, RegistrationSpec),
    }
    kind, spec = kinds[body["kind"]]
    metadata = body["metadata"]
    return kind(Metadata(metadata["name"], metadata.get("namespace", "")), msgspec.convert(body["spec"], spec))
