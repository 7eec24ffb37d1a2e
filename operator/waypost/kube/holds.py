"""Holds as custom resources: made by the leader, decided by whoever may patch them, kept with their sets.

The set of a hold is in its status, which only Waypost may write, and its name in the digest, which nobody may change:
so a decision means exactly what it was made on, also for the next leader. A standby knows all of them already.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from waypost.adapter import AdapterError, Clock
from waypost.engine.engine import Engine
from waypost.engine.holds import Hold
from waypost.kit.kubernetes.api import Api
from waypost.kit.kubernetes.errors import ApiError
from waypost.kit.kubernetes.informer import Handler, Informer, Key
from waypost.kube.crds import resource_of, why_unfollowed
from waypost.kube.objects import Item, Maker
from waypost.settings import API_VERSION, ServiceHold, Types
from waypost.settings.bounds import Ref
from waypost.settings.kinds import HoldSpec, HoldStatus

__all__ = ["HoldObjects"]

KIND = ServiceHold.kind
RESOURCE = resource_of(KIND)
LOOK_SECONDS = 0.25
AGAIN_SECONDS = 5.0
STRANGE_SECONDS = 60.0  # one that no engine knows is let stand for so long
MOST_PAIRS = 90_000  # whose base64 is below a million bytes: etcd takes 1.5 MB
REQUEST_SECONDS = 15.0
MERGE = "application/merge-patch+json"

What = Literal["Held", "Approved", "Rejected"]

log = logging.getLogger("waypost.kube.holds")


class HoldObjects(Handler[Item]):
    """Keeps the engine's holds and the ServiceHolds equal. `on_news` is told of a new hold, and of a decision."""

    def __init__(
        self,
        api: Api,
        engine: Engine,
        types: Types,
        clock: Clock,
        *,
        on_news: Callable[[Item, What, str], None] = lambda _item, _what, _message: None,
    ) -> None:
        self._api = api
        self._engine = engine
        self._clock = clock
        self._on_news = on_news
        self._maker = Maker(KIND, types, "")
        self._items: dict[str, Item] = {}
        self._adopted: set[str] = set()
        self._strange: dict[str, float] = {}
        self._failure = ""  # why they are not followed
        self._not_before: dict[str, float] = {}
        self._ending: set[str] = set()  # those that we delete ourselves

    async def follow(self) -> None:
        """Follow the objects until cancelled."""
        await Informer(self._api, RESOURCE, self._maker).run(self)

    async def run(self) -> None:
        """Bring holds and objects in line until cancelled; only the leader writes."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            if self._engine.leadership.leads() and self._engine.settings is not None:
                await self._lead()

    # --- what the informer tells

    async def replaced(self, objects: Mapping[Key, Item], gone: Sequence[Item]) -> None:
        """See `Handler`."""
        self._failure = ""
        for item in gone:
            self._forget(item)
        self._items = {item.key: item for item in objects.values()}
        for item in objects.values():
            self._adopt(item)

    def put(self, now: Item, before: Item | None) -> None:
        """See `Handler`."""
        self._items[now.key] = now
        self._adopt(now)

    def deleted(self, last: Item) -> None:
        """See `Handler`."""
        self._items.pop(last.key, None)
        self._forget(last)

    def alive(self) -> None:
        """See `Handler`."""

    def unreadable(self, key: Key, reason: str) -> None:
        """See `Handler`."""
        log.error("hold=%s error=%r", key[1], reason)

    def failing(self, error: AdapterError, seconds: float) -> None:
        """See `Handler`."""
        text = why_unfollowed(error)
        level = logging.DEBUG if text == self._failure else logging.WARNING
        self._failure = text
        log.log(level, "holds error=%r retry_seconds=%.1f effect='no decision is heard'", text, seconds)

    def _adopt(self, item: Item) -> None:
        """Know a hold that another process made, and what was decided of it, as soon as it is there in whole."""
        leads = self._engine.leadership.leads()
        if leads and item.key in self._adopted:
            return  # `_lead` hears of decisions
        hold = _hold(item, self._clock.wall())
        if hold is None:
            return
        if not leads and item.key in self._adopted and self._engine.holds.holds.get(item.key) != hold:
            self._engine.holds.drop(item.key)
        if self._engine.holds.adopt(hold):
            self._adopted.add(item.key)

    def _forget(self, item: Item) -> None:
        """Take an object's end: a person who deletes a hold takes the decision back."""
        self._maker.forget(item.metadata.uid)
        self._adopted.discard(item.key)
        self._strange.pop(item.key, None)
        if item.key in self._ending:
            self._ending.discard(item.key)
            return
        self._engine.holds.drop(item.key)

    # --- what the leader does

    async def _lead(self) -> None:
        now = self._clock.monotonic()
        for name, item in list(self._items.items()):
            if self._not_before.get(name, 0.0) <= now:
                await self._guarded(name, self._consider(name, item, now))
        for name, hold in list(self._engine.holds.holds.items()):
            if name not in self._items and self._not_before.get(name, 0.0) <= now:
                await self._guarded(name, self._create(hold))

    async def _guarded(self, name: str, work: Any) -> None:
        """Do one thing for one hold; what fails is tried again later, and delays no other."""
        try:
            await work
        except ApiError as error:
            if error.status not in {404, 409}:
                self._fail(name, error)
            else:
                self._not_before[name] = self._clock.monotonic() + LOOK_SECONDS
        except AdapterError as error:
            self._fail(name, error)
        else:
            self._not_before.pop(name, None)

    def _fail(self, name: str, error: AdapterError) -> None:
        log.warning("hold=%s error=%r retry_seconds=%.0f", name, str(error), AGAIN_SECONDS)
        self._not_before[name] = self._clock.monotonic() + AGAIN_SECONDS

    async def _consider(self, name: str, item: Item, now: float) -> None:
        hold = self._engine.holds.holds.get(name)
        if hold is None:
            since = self._strange.setdefault(name, now)
            if name in self._adopted or (self._engine.settled() and now - since >= STRANGE_SECONDS):
                self._ending.add(name)
                await self._send("DELETE", RESOURCE.path(name))
            return
        self._adopted.add(name)
        made = item.document.decoded.object
        if not isinstance(made, ServiceHold):
            return
        spec = made.spec
        if spec.digest != hold.digest:
            return  # of another set that has the same name: it is deleted, and made anew
        if spec.decision is not None and (spec.decision, spec.reason) != (hold.decision, hold.reason):
            hold = self._engine.orders.decide(name, spec.decision, spec.reason, spec.expires_seconds)
            self._on_news(item, "Approved" if spec.decision == "Approve" else "Rejected", spec.reason)
        elif hold.decision and spec.decision is None:
            decided = {"decision": hold.decision, "reason": hold.reason, "expiresSeconds": hold.expires_seconds}
            await self._send("PATCH", RESOURCE.path(name), {"spec": decided}, MERGE)
        if (status := _status(hold)) != made.status:
            await self._send("PATCH", RESOURCE.path(name, subresource="status"), {"status": status}, MERGE)

    async def _create(self, hold: Hold) -> None:
        spec = HoldSpec(hold.digest, hold.decision or None, hold.reason, hold.expires_seconds)
        whole = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": hold.name},
            "spec": {key: value for key, value in msgspec.to_builtins(spec).items() if value not in {None, ""}},
        }
        answer = await self._send("POST", RESOURCE.path(), whole)
        item = self._maker(answer)
        await self._send("PATCH", RESOURCE.path(hold.name, subresource="status"), {"status": _status(hold)}, MERGE)
        self._adopted.add(hold.name)
        self._on_news(
            item, "Held", f"{hold.cause}: {hold.removals} removals and {hold.changes} changes wait for a person"
        )

    async def _send(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> bytes:
        return await self._api.request(
            method,
            path,
            params={"fieldManager": "waypost"} if body is not None else None,
            body=msgspec.json.encode(body) if body is not None else None,
            content_type=content_type,
            seconds=REQUEST_SECONDS,
        )


# --- between the two forms


def _status(hold: Hold) -> HoldStatus:
    pairs = b"".join(map(bytes.fromhex, hold.pairs)) if len(hold.pairs) <= MOST_PAIRS else b""
    return HoldStatus(
        cause=hold.cause,
        sink_ref=Ref(hold.sink),
        source_ref=Ref(hold.source) if hold.source else None,
        removals=hold.removals,
        changes=hold.changes,
        of=hold.of,
        sample=tuple(text[:1024] for text in hold.sample),
        decided_time=_text(hold.decided_time),
        pairs=base64.b64encode(pairs).decode(),
    )


def _hold(item: Item, now: float) -> Hold | None:
    """Return the hold that an object keeps; None where it does not keep all of it.

    What was decided while nobody wrote down when was decided `now`.
    """
    made = item.document.decoded.object
    if not isinstance(made, ServiceHold) or made.status is None or made.status.sink_ref is None:
        return None
    spec, status = made.spec, made.status
    try:
        pairs = base64.b64decode(status.pairs, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not pairs:
        return None
    decided = (_seconds(status.decided_time) or now) if spec.decision is not None else None
    assert status.sink_ref is not None
    return Hold(
        name=item.key,
        digest=spec.digest,
        sink=status.sink_ref.name,
        cause=status.cause,
        source=status.source_ref.name if status.source_ref is not None else "",
        removals=status.removals,
        changes=status.changes,
        of=status.of,
        sample=list(status.sample),
        pairs=[pairs[at : at + 8].hex() for at in range(0, len(pairs), 8)],
        created_time=_seconds(item.metadata.creation_timestamp) or 0.0,
        decision=spec.decision or "",
        reason=spec.reason if spec.decision is not None else "",
        decided_time=decided,
        expires_seconds=spec.expires_seconds,
    )


def _text(seconds: float | None) -> str | None:
    """Return a time in RFC 3339, to the microsecond: who reads it back must find it equal."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seconds(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
