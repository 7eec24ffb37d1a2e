"""Who leads, by a Lease of Kubernetes: a ballot for `waypost.kit.election`.

`leaseTransitions` is the number of the term, and grows with each. Whether another's lease has run out is judged by what
is seen to change here, by this process's own clock: a lease that has not changed for as long as it says it lasts is
free, whatever `renewTime` says. Every write compares the resourceVersion. A Lease that is deleted while this process
knows of it is as one that was just renewed: its holder may not have noticed.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from waypost.adapter import AdapterError, Clock, Fenced, Leader, PermanentError
from waypost.kit.election import Election, Taken, Won
from waypost.kit.kubernetes.api import Api
from waypost.kit.kubernetes.errors import ApiError
from waypost.kit.kubernetes.resource import Resource
from waypost.kit.kubernetes.wire import event

__all__ = ["LEASE_SECONDS", "LeaseBallot", "LeaseElector", "holder_of", "lease_elector"]

LEASE_SECONDS = 10
MOST_SECONDS = 120.0  # a lease that says it lasts longer was not written by us, and locks nobody out for ever
REQUEST_SECONDS = 3.0
LOOK_SECONDS = 1.0  # how often a standby looks, where it cannot watch
MOST_NUMBER = 2**31 - 1  # leaseTransitions has 32 bits
KEPT = "waypost.dev/kept"
MOST_KEPT = 200_000  # all annotations of an object together may have 256 KiB


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    lease_transitions: int | None = None


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class _Lease(msgspec.Struct, frozen=True):
    metadata: _Meta
    spec: _Spec = _Spec()

    @property
    def holder(self) -> str:
        return self.spec.holder_identity or ""

    @property
    def number(self) -> int:
        return max(self.spec.lease_transitions or 0, 0)


_LEASE = msgspec.json.Decoder(_Lease)


class LeaseBallot:
    """Implements `waypost.kit.election.Ballot`. `name` is how this process is called for people."""

    def __init__(
        self, api: Api, namespace: str, lease: str, clock: Clock, *, name: str, seconds: int = LEASE_SECONDS
    ) -> None:
        self.holder = f"{name}_{secrets.token_hex(8)}"
        self._api = api
        self._clock = clock
        self._collection = Resource("coordination.k8s.io", "v1", "leases", namespace)
        self._lease = lease
        self._seconds = seconds
        self._turn = asyncio.Lock()  # renewing and keeping both write
        self._last: _Lease | None = None  # as seen last; None: there was none
        self._seen_at = clock.monotonic()  # since when it has been seen so,
        self._holder = ""  # … who had it,
        self._lasts = 0.0  # … and how long it lasts from then on

    # --- what `Election` asks

    async def acquire(self, past: int) -> Won | Taken:
        """See `Ballot`."""
        found = await self._get()
        if found is None:
            return await self._write(None, past + 1) if self._is_free() else Taken(None)
        if not self._is_free():
            return Taken(Leader(_name(found.holder), found.number))
        return await self._write(found, max(found.number, past) + 1)

    async def renew(self, won: Won) -> float | None:
        """See `Ballot`."""
        async with self._turn:
            for again in (True, True, False):
                last = self._last if again else await self._get()
                if last is None or last.holder != self.holder:
                    return None
                try:
                    await self._patch(last, self._spec(won.number))
                except ApiError as error:
                    if error.status == 404:
                        await self._get()
                        return None
                    if error.status != 409 or not again:
                        raise
                    await self._get()  # somebody has written it since; is it ours still?
                else:
                    return float(self._seconds)
        raise AssertionError

    async def release(self, won: Won) -> None:
        """See `Ballot`."""
        found = await self._get()
        if found is not None and found.holder == self.holder:
            await self._patch(found, self._spec(won.number, holder=""))

    async def freed(self, taken: Taken) -> None:
        """See `Ballot`."""
        left = self._seen_at + self._lasts - self._clock.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left)):
                await self._follow()
        except TimeoutError:
            pass

    async def stirred(self, won: Won) -> None:
        """See `Ballot`. A renewal tells as much, and comes soon enough."""
        await asyncio.Event().wait()

    # --- what is kept beside it

    async def recall(self) -> dict[str, bytes]:
        """Return what was kept. Raises AdapterError."""
        found = await self._get()
        return _kept(found) if found is not None else {}

    async def keep(self, name: str, value: bytes | None) -> None:
        """Keep a value, or forget it, if this process has the lease: compared in the write itself.

        Raises Fenced, or another AdapterError.
        """
        async with self._turn:
            for again in (True, True, False):
                last = self._last if again else await self._get()
                if last is None or last.holder != self.holder:
                    raise Fenced("another process has the Lease")
                values = {**_kept(last), name: value}
                whole = msgspec.json.encode({key: each for key, each in values.items() if each is not None})
                text = base64.b64encode(zlib.compress(whole)).decode()
                if len(text) > MOST_KEPT:
                    raise PermanentError(f"more than {MOST_KEPT} bytes cannot be kept beside a Lease")
                try:
                    await self._patch(last, {}, {KEPT: text})
                except ApiError as error:
                    if error.status == 404:
                        raise Fenced("the Lease is gone") from None
                    if error.status != 409 or not again:
                        raise
                    await self._get()
                else:
                    return

    # --- what was seen

    def _see(self, lease: _Lease | None) -> None:
        last, self._last = self._last, lease
        if lease is None:
            if last is not None:  # its holder may not have noticed, and have renewed it just before it went
                self._seen_at = self._clock.monotonic()
            return
        if last is not None and lease.metadata.resource_version == last.metadata.resource_version:
            return
        self._seen_at = self._clock.monotonic()
        self._holder = lease.holder
        self._lasts = min(max(float(lease.spec.lease_duration_seconds or self._seconds), 1.0), MOST_SECONDS)

    def _is_free(self) -> bool:
        return self._holder in {"", self.holder} or self._clock.monotonic() >= self._seen_at + self._lasts

    async def _follow(self) -> None:
        """Return when the lease has changed; where it cannot be watched, after a second."""
        params = {"watch": "1", "fieldSelector": f"metadata.name={self._lease}", "timeoutSeconds": "60"}
        if self._last is not None:
            params["resourceVersion"] = self._last.metadata.resource_version
        try:
            async with self._api.stream(self._collection.path(), params=params, idle_seconds=MOST_SECONDS) as lines:
                async for line in lines:
                    kind, raw = event(line)
                    if kind in {"ADDED", "MODIFIED", "DELETED"}:
                        self._see(_LEASE.decode(raw) if kind != "DELETED" else None)
                        return
                    if kind == "ERROR":
                        break
        except (AdapterError, msgspec.DecodeError):
            pass
        await self._clock.sleep(LOOK_SECONDS)

    # --- the API

    async def _get(self) -> _Lease | None:
        try:
            body = await self._api.request("GET", self._collection.path(self._lease), seconds=REQUEST_SECONDS)
        except ApiError as error:
            if error.status != 404:
                raise
            self._see(None)
        else:
            self._see(_decoded(body))
        return self._last

    async def _write(self, lease: _Lease | None, number: int) -> Won | Taken:
        """Take the lease, over what was seen of it."""
        number = min(number, MOST_NUMBER)
        spec = {**self._spec(number), "acquireTime": self._now()}
        try:
            if lease is None:
                await self._create(spec)
            else:
                await self._patch(lease, spec)
        except ApiError as error:
            if error.status in {404, 409}:
                return Taken(None)  # another was quicker
            raise
        return Won(number, float(self._seconds))

    def _spec(self, number: int, *, holder: str | None = None) -> dict[str, Any]:
        who = self.holder if holder is None else holder
        return {
            "holderIdentity": who,
            "leaseDurationSeconds": self._seconds if who else 1,
            "leaseTransitions": number,
            "renewTime": self._now(),
        }

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    async def _create(self, spec: Mapping[str, Any]) -> None:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._lease},
            "spec": spec,
        }
        await self._send("POST", self._collection.path(), body, "application/json")

    async def _patch(self, over: _Lease, spec: Mapping[str, Any], annotations: Mapping[str, str] | None = None) -> None:
        """Change the lease, if it is still as it was seen; ApiError 409 where it is not."""
        metadata: dict[str, Any] = {"resourceVersion": over.metadata.resource_version}
        if annotations:
            metadata["annotations"] = annotations
        body = {"metadata": metadata, "spec": spec}
        await self._send("PATCH", self._collection.path(self._lease), body, "application/merge-patch+json")

    async def _send(self, method: str, path: str, body: object, content_type: str) -> None:
        answer = await self._api.request(
            method,
            path,
            params={"fieldManager": "waypost"},
            body=msgspec.json.encode(body),
            content_type=content_type,
            seconds=REQUEST_SECONDS,
        )
        self._see(_decoded(answer))


class LeaseElector(Election):
    """Implements `waypost.adapter.Elector`, `Informed` and `Keeping`."""

    largest = 1 << 16

    def __init__(self, ballot: LeaseBallot, clock: Clock, *, name: str, seconds: int) -> None:
        super().__init__(ballot, clock, name=name, seconds=seconds)
        self._lease = ballot

    async def recall(self) -> Mapping[str, bytes]:
        """See `waypost.adapter.Keeping`."""
        return await self._lease.recall()

    async def keep(self, name: str, value: bytes | None) -> None:
        """See `waypost.adapter.Keeping`."""
        if self.held is None:
            raise Fenced("this process does not have the Lease")
        await self._lease.keep(name, value)


@asynccontextmanager
async def lease_elector(
    api: Api, namespace: str, lease: str, clock: Clock, *, name: str, seconds: int = LEASE_SECONDS
) -> AsyncIterator[LeaseElector]:
    """Give an elector; at the block's end what is held is given back, so that another leads at once."""
    ballot = LeaseBallot(api, namespace, lease, clock, name=name, seconds=seconds)
    elector = LeaseElector(ballot, clock, name=name, seconds=seconds)
    try:
        yield elector
    finally:
        await elector.close()


def holder_of(body: bytes) -> str:
    """Return how whoever has the Lease is called for people, "" where nobody has it. Raises AdapterError."""
    return _name(_decoded(body).holder)


def _decoded(body: bytes) -> _Lease:
    try:
        return _LEASE.decode(body)
    except msgspec.DecodeError as error:
        raise AdapterError(f"the Lease cannot be read: {error}") from None


def _kept(lease: _Lease) -> dict[str, bytes]:
    text = (lease.metadata.annotations or {}).get(KEPT)
    if text is None:
        return {}
    try:
        whole = zlib.decompress(base64.b64decode(text))
        found = msgspec.json.decode(whole, type=dict[str, bytes])
    except (msgspec.DecodeError, ValueError, zlib.error) as error:
        raise AdapterError(f"what is kept in the annotation {KEPT} of the Lease cannot be read: {error}") from None
    return found


def _name(holder: str) -> str:
    return holder.rpartition("_")[0] or holder
