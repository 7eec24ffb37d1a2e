"""The operator's parts on Kubernetes, put together around an engine that knows nothing of it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from waypost.adapter import Clock, Elector
from waypost.engine.engine import Engine
from waypost.kit.kubernetes.access import SERVICE_ACCOUNT, Access, of_process
from waypost.kit.kubernetes.api import Api, connect
from waypost.kube.events import tell_hold, tell_status, tell_timeout
from waypost.kube.feed import ResourceFeed
from waypost.kube.finalizers import BOUND_SECONDS, Finalizers
from waypost.kube.holds import HoldObjects
from waypost.kube.lease import LEASE_SECONDS, lease_elector
from waypost.kube.lifecycle import Lifecycle
from waypost.kube.secrets import KubernetesCredentials, SecretStore
from waypost.kube.statuses import Statuses
from waypost.settings import Credential, ServiceRegistration, Settings, Types

__all__ = ["Shell", "home_namespace", "shell"]

SECRETS_SECONDS = 10.0  # how long the engine waits for Secrets that cannot be listed

log = logging.getLogger("waypost.kube")


def home_namespace(given: str = "") -> str:
    """Return Waypost's own namespace: as given, else that of its pod, else `waypost`."""
    if given:
        return given
    try:
        return (SERVICE_ACCOUNT / "namespace").read_text("ascii").strip() or "waypost"
    except OSError:
        return "waypost"


class Shell:
    """What runs beside the engine. Made by `shell`."""

    def __init__(
        self,
        api: Api,
        types: Types,
        home: str,
        clock: Clock,
        elector: Elector,
        access: Callable[[], Access],
        *,
        bound: float = BOUND_SECONDS,
        probe: str = "",
    ) -> None:
        """`bound`: after so many seconds a deletion waits for nothing any more. `probe`: see Lifecycle."""
        self._access = access
        self._probe = probe
        self.elector = elector
        self.home = home
        self.failures: Mapping[str, str] = {}  # kind → why it is not followed now
        self._api = api
        self._types = types
        self._clock = clock
        self._bound = bound
        self._secrets = SecretStore(api, home)

    def credentials(self, named: Iterable[Credential]) -> KubernetesCredentials:
        """Return the Secrets that a source or sink names."""
        return KubernetesCredentials(self._secrets, named)

    async def run(self, engine: Engine, put: Callable[[Settings], None]) -> None:
        """Follow the custom resources, and say how they stand, until cancelled. `put` takes what is asked for."""

        def changed(kind: str, key: str) -> None:
            statuses.touch(kind, key)
            if kind == ServiceRegistration.kind:
                finalizers.touch(key)

        feed = ResourceFeed(self._api, self._types, self.home, self._clock, on_change=changed)
        self.failures = feed.failures

        async def alive() -> Mapping[str, bool]:
            return {"read": engine.settings is not None, "leads": engine.leadership.leads()}

        lifecycle = Lifecycle(
            self._api, self._access, self.home, probe=self._probe, alive=alive, settled=engine.settled
        )
        post = lifecycle.post
        statuses = Statuses(self._api, engine, feed.book, self._clock, on_written=partial(tell_status, post))
        finalizers = Finalizers(
            self._api, engine, feed.book, self._clock, bound=self._bound, on_timeout=partial(tell_timeout, post)
        )
        holds = HoldObjects(self._api, engine, self._types, self._clock, on_news=partial(tell_hold, post))
        async with asyncio.TaskGroup() as group:
            group.create_task(lifecycle.run(), name="kopf")
            group.create_task(self._secrets.run(), name="secrets")
            group.create_task(holds.follow(), name="informer ServiceHold")
            group.create_task(holds.run(), name="holds")
            group.create_task(statuses.run(), name="statuses")
            group.create_task(finalizers.run(), name="finalizers")
            try:
                async with asyncio.timeout(SECRETS_SECONDS):
                    await self._secrets.listed.wait()
            except TimeoutError:
                log.warning("secrets=unlisted error=%r effect='credentials are missing'", self._secrets.failure)
            await feed.watch(put)


@asynccontextmanager
async def shell(
    types: Types,
    clock: Clock,
    *,
    home: str,
    lease: str = "waypost",
    lease_seconds: int = LEASE_SECONDS,
    kubeconfig: Path | None = None,
    context: str | None = None,
    bound: float = BOUND_SECONDS,
    probe: str = "",
) -> AsyncIterator[Shell]:
    """Give a Shell; at the block's end the Lease is given back. Raises AdapterError where no way in can be read."""
    name = f"{socket.gethostname()}-{os.getpid()}"
    access = partial(of_process, kubeconfig, context)
    async with (
        connect(access=access, clock=clock) as api,
        lease_elector(api, home, lease, clock, name=name, seconds=lease_seconds) as elector,
    ):
        log.info("kubernetes=%s namespace=%s lease=%s name=%s", api.server, home, lease, name)
        yield Shell(api, types, home, clock, elector, access, bound=bound, probe=probe)
