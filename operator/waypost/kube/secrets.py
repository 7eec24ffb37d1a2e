"""Secrets of Waypost's own namespace, followed as they rotate: what `secretKeyRef` of a source or sink names.

No other namespace is ever asked. Values are kept in memory as long as the Secret is there, and shown nowhere.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from waypost.adapter import AdapterError
from waypost.kit.kubernetes.api import Api
from waypost.kit.kubernetes.informer import Handler, Informer, Key
from waypost.kit.kubernetes.resource import Meta, Resource
from waypost.settings import Credential

__all__ = ["KubernetesCredentials", "SecretStore"]

SELECTOR = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token"  # large, and no credentials of ours
MOST_BYTES = 1 << 20

log = logging.getLogger("waypost.kube.secrets")


class _Secret(msgspec.Struct, frozen=True):
    metadata: Meta
    data: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"_Secret({self.metadata.name!r}, …)"


class SecretStore(Handler[_Secret]):
    """The Secrets as they are now; `listed` is set once they have been read."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.namespace = namespace
        self.listed = asyncio.Event()
        self.failure = ""
        self._informer = Informer(api, Resource("", "v1", "secrets", namespace), _Secret, field_selector=SELECTOR)
        self._waiting: dict[str, set[asyncio.Event]] = {}

    async def run(self) -> None:
        """Follow them until cancelled."""
        await self._informer.run(self)

    def value(self, name: str, key: str) -> str | None:
        """Return a value without trailing newlines; None where it is not there."""
        secret = self._informer.objects.get((self.namespace, name))
        encoded = (secret.data or {}).get(key) if secret is not None else None
        if encoded is None:
            return None
        try:
            return base64.b64decode(encoded)[:MOST_BYTES].decode("utf-8", "replace").rstrip("\r\n")
        except (binascii.Error, ValueError):
            return None

    async def changed(self, names: Iterable[str]) -> None:
        """Return when one of these Secrets has changed since this call began."""
        event = asyncio.Event()
        names = set(names)
        for name in names:
            self._waiting.setdefault(name, set()).add(event)
        try:
            await event.wait()
        finally:
            for name in names:
                self._waiting[name].discard(event)
                if not self._waiting[name]:
                    del self._waiting[name]

    def _tell(self, name: str) -> None:
        for event in self._waiting.get(name, ()):
            event.set()

    # --- what the informer tells

    async def replaced(self, objects: Mapping[Key, _Secret], gone: Sequence[_Secret]) -> None:
        """See `Handler`."""
        self.failure = ""
        self.listed.set()
        for name in list(self._waiting):  # who waits looks at the value anyway
            self._tell(name)

    def put(self, now: _Secret, before: _Secret | None) -> None:
        """See `Handler`."""
        if before is None or before.data != now.data:
            self._tell(now.metadata.name)

    def deleted(self, last: _Secret) -> None:
        """See `Handler`."""
        self._tell(last.metadata.name)

    def alive(self) -> None:
        """See `Handler`."""

    def unreadable(self, key: Key, reason: str) -> None:
        """See `Handler`."""
        log.error("secret=%s error='it cannot be read'", key[1])  # not `reason`: it may quote

    def failing(self, error: AdapterError, seconds: float) -> None:
        """See `Handler`."""
        news = self.failure != str(error)
        self.failure = str(error)
        level = logging.WARNING if news else logging.DEBUG
        log.log(level, "secrets error=%r retry_seconds=%.1f effect='known values stay'", str(error), seconds)


class KubernetesCredentials:
    """Implements `waypost.adapter.Credentials` for one source or sink."""

    def __init__(self, store: SecretStore, credentials: Iterable[Credential]) -> None:
        self._store = store
        self._refs = {each.name: each.value_from.secret_key_ref for each in credentials if each.value_from is not None}

    def __repr__(self) -> str:
        """Show names only."""
        return f"KubernetesCredentials({sorted(self._refs)})"

    def get(self, name: str) -> str | None:
        """See `waypost.adapter.Credentials`."""
        ref = self._refs.get(name)
        return self._store.value(ref.name, ref.key) if ref is not None else None

    def missing(self) -> list[str]:
        """Return what is named and cannot be had, with the place that was looked at."""
        where = self._store.namespace
        return [
            f"{name} (key {ref.key} of Secret {where}/{ref.name})"
            for name, ref in sorted(self._refs.items())
            if self.get(name) is None
        ]

    async def changed(self) -> None:
        """See `waypost.adapter.Credentials`."""
        before = {name: self.get(name) for name in self._refs}
        if not before:
            await asyncio.Event().wait()
        while True:
            await self._store.changed(ref.name for ref in self._refs.values())
            if any(self.get(name) != value for name, value in before.items()):
                return
