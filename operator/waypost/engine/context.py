"""What an adapter is given by the engine.

The Context of waypost.adapter, with secrets read at each use and followed as they rotate.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import watchfiles

from waypost.adapter import Credentials

if TYPE_CHECKING:
    from waypost.adapter import Clock, Metrics
    from waypost.kit.shared import Shared
    from waypost.model import Service
    from waypost.settings import Credential

__all__ = ["AdapterContext", "Declared", "FileCredentials", "Secrets"]

A = TypeVar("A")
MOST_BYTES = 1 << 20


class Secrets(Credentials, Protocol):
    """Credentials, as Waypost itself sees them."""

    def missing(self) -> list[str]:
        """Return what is named and cannot be had, with the place that was looked at, never a value."""


class FileCredentials:
    """Secrets in files and environment variables, as file mode names them.

    Nothing is kept but the file's last known stamp.
    """

    def __init__(self, credentials: Iterable[Credential], environ: Mapping[str, str] = os.environ) -> None:
        """Take what a resource names; nothing is read yet."""
        self._by_name = {credential.name: credential for credential in credentials}
        self._environ = environ

    def __repr__(self) -> str:
        """Show names only."""
        return f"FileCredentials({sorted(self._by_name)})"

    def get(self, name: str) -> str | None:
        """Return the present value; None where the resource names none, or its file or variable is not there."""
        credential = self._by_name.get(name)
        if credential is None:
            return None
        if credential.env is not None:
            return self._environ.get(credential.env)
        if credential.file is None:
            return None
        try:
            with Path(credential.file).open("rb") as file:
                return file.read(MOST_BYTES).decode("utf-8", "replace").rstrip("\r\n")
        except OSError:
            return None

    def missing(self) -> list[str]:
        """Return what is named and cannot be had, with the place that was looked at, never a value."""
        return [f"{name} ({_place(c)})" for name, c in sorted(self._by_name.items()) if self.get(name) is None]

    async def changed(self) -> None:
        """Return when a file with a secret has changed; never, where there is none."""
        files = {Path(c.file) for c in self._by_name.values() if c.file}
        before = {path: self.get(name) for name, c in self._by_name.items() if c.file for path in (Path(c.file),)}
        folders = {path.parent for path in files if path.parent.is_dir()}
        if not folders:
            await asyncio.Event().wait()
        async for _ in watchfiles.awatch(*folders, recursive=False, step=50, debounce=200, rust_timeout=1000):
            for name, c in self._by_name.items():
                if c.file and self.get(name) != before.get(Path(c.file)):
                    return


def _place(credential: Credential) -> str:
    if credential.file:
        return f"file {credential.file}"
    return f"variable {credential.env}" if credential.env else "a Secret: only on Kubernetes"


class Declared:
    """What registrations declare under one source."""

    def __init__(self) -> None:
        """Begin with nothing declared."""
        self.complete = False
        self._services: tuple[Service, ...] = ()
        self._event = asyncio.Event()

    def services(self) -> Sequence[Service]:
        """Return all declared services."""
        return self._services

    async def changed(self) -> None:
        """Return at the next change."""
        await self._event.wait()

    def set(self, services: tuple[Service, ...], *, complete: bool) -> None:
        """Declare these, in place of the former ones; `complete`: the set that they stand in was read whole."""
        same = len(services) == len(self._services) and all(
            a is b for a, b in zip(services, self._services, strict=True)
        )
        if same and complete == self.complete:
            return
        self._services, self.complete = services, complete
        self._event.set()
        self._event = asyncio.Event()


class AdapterContext:
    """One resource's context."""

    def __init__(
        self,
        *,
        kind: str,
        name: str,
        environment: str,
        owner: str,
        clock: Clock,
        random: random.Random,
        metrics: Metrics,
        credentials: Secrets,
        declared: Declared,
        state_dir: Path,
        shared: Shared,
        on_warn: Callable[[str, str], None],
    ) -> None:
        """Put it together; the folder is made, for its owner alone."""
        self.name = name
        self.environment = environment
        self.owner = owner
        self.clock = clock
        self.random = random
        self.metrics = metrics
        self.credentials = credentials
        self.declared = declared
        self.state_dir = state_dir
        self._shared = shared
        self._on_warn = on_warn
        self.log = logging.LoggerAdapter(logging.getLogger(f"waypost.{kind}"), {kind: name})
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(OSError):
            state_dir.chmod(0o700)

    def warn(self, reason: str, message: str) -> None:
        """See adapter.Context."""
        self._on_warn(reason, message)

    def shared(self, key: str, factory: Callable[[], AbstractAsyncContextManager[A]]) -> AbstractAsyncContextManager[A]:
        """See adapter.Context."""
        return self._shared.use(key, factory)
