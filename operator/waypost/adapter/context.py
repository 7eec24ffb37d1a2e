"""What an adapter is given: the clock, randomness, logger, metrics and secrets; it takes nothing else from anywhere."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, TypeVar

from waypost.model import Service

__all__ = [
    "Clock",
    "Context",
    "Credentials",
    "Declared",
    "Metrics",
]

A = TypeVar("A")


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
