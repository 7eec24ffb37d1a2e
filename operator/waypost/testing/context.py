"""The Context of an adapter under test: everything it would get from Waypost, in the test's hands."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

from waypost.adapter import Clock
from waypost.kit.clock import LoopClock
from waypost.kit.shared import Shared
from waypost.model import Service, ServiceKey

__all__ = ["DeclaredServices", "RecordedMetrics", "RotatingCredentials", "Signal", "TestContext"]

A = TypeVar("A")
Series = tuple[str, tuple[tuple[str, str], ...]]


class Signal:
    """Wakes all who wait now; who comes later waits for the next time."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def give(self) -> None:
        """Wake all who wait."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Return at the next `give` after this call began."""
        await self._event.wait()


class RotatingCredentials:
    """Credentials that the test rotates. `asked` lists the names that were asked for, in order."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})
        self._changed = Signal()
        self.asked: list[str] = []

    def __repr__(self) -> str:
        return f"RotatingCredentials({sorted(self._values)})"

    def get(self, name: str) -> str | None:
        """Return the present value."""
        self.asked.append(name)
        return self._values.get(name)

    async def changed(self) -> None:
        """Return at the next `set`."""
        await self._changed.wait()

    def set(self, name: str, value: str | None) -> None:
        """Rotate a credential; None takes it away."""
        if value is None:
            self._values.pop(name, None)
        else:
            self._values[name] = value
        self._changed.give()

    def secrets(self) -> list[str]:
        """Return all present values: none of them may ever be shown."""
        return list(self._values.values())


class DeclaredServices:
    """Declared services that the test changes."""

    def __init__(self) -> None:
        self.complete = True
        self._services: dict[ServiceKey, Service] = {}
        self._changed = Signal()

    def services(self) -> Sequence[Service]:
        """Return what is declared now."""
        return tuple(self._services.values())

    async def changed(self) -> None:
        """Return at the next change."""
        await self._changed.wait()

    def set(self, *services: Service) -> None:
        """Declare these, beside what is declared; the same key replaces."""
        self._services.update((service.key, service) for service in services)
        self._changed.give()

    def read(self, *, complete: bool) -> None:
        """Say whether the set of manifests was read whole."""
        self.complete = complete
        self._changed.give()

    def remove(self, *keys: ServiceKey) -> None:
        """Declare these no more."""
        for key in keys:
            self._services.pop(key, None)
        self._changed.give()


class RecordedMetrics:
    """Metrics kept as plain figures, by name and labels."""

    def __init__(self) -> None:
        self.counters: dict[Series, float] = {}
        self.gauges: dict[Series, float] = {}
        self.observations: dict[Series, list[float]] = {}

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        series = (name, tuple(sorted(labels.items())))
        self.counters[series] = self.counters.get(series, 0) + value

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self.gauges[name, tuple(sorted(labels.items()))] = value

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add to a histogram."""
        self.observations.setdefault((name, tuple(sorted(labels.items()))), []).append(seconds)

    def total(self, name: str) -> float:
        """Return the sum of a counter over all labels."""
        return sum(value for (counter, _), value in self.counters.items() if counter == name)


class TestContext:
    """Implements `waypost.adapter.Context`. `warnings` are (reason, message); the same reason replaces.

    On a real loop its clock is the loop's; pass a VirtualClock on a virtual one where the wall clock matters.
    """

    __test__ = False  # pytest collects classes of this name

    def __init__(
        self,
        state_dir: Path,
        *,
        name: str = "test",
        environment: str = "test",
        owner: str = "",
        credentials: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        seed: int = 0,
        shared: Shared | None = None,
    ) -> None:
        """`state_dir` is mostly pytest's tmp_path. Contexts that are given the same `shared` share objects."""
        self.name = name
        self.environment = environment
        self.owner = owner
        self.clock: Clock = clock if clock is not None else LoopClock()
        self.random = random.Random(seed)
        self.log = logging.LoggerAdapter(logging.getLogger("waypost.testing"), {"resource": name})
        # Any: a test steers them by methods that Context's attributes, whose types mypy wants here, do not have
        self.metrics = RecordedMetrics()
        self.credentials = RotatingCredentials(credentials)
        self.declared = DeclaredServices()
        self.state_dir = state_dir
        self.warnings: list[tuple[str, str]] = []
        self._shared = shared if shared is not None else Shared()

    def warn(self, reason: str, message: str) -> None:
        """Keep the warning."""
        self.warnings = [kept for kept in self.warnings if kept[0] != reason]
        self.warnings.append((reason, message))

    def shared(self, key: str, factory: Callable[[], AbstractAsyncContextManager[A]]) -> AbstractAsyncContextManager[A]:
        """Return the shared object of that key."""
        return self._shared.use(key, factory)
