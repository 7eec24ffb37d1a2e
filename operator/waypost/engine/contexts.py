"""Makes what each adapter is given, and has what comes back of it: what adapters warn of.

A resource's context is made anew each time that its adapter begins; what is declared under a source outlives that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waypost.engine.context import AdapterContext, Declared, Secrets
from waypost.kit.shared import Shared

if TYPE_CHECKING:
    from random import Random

    from waypost.adapter import Clock
    from waypost.kit.metrics import MetricsRegistry
    from waypost.settings import Credential, ServiceSink, ServiceSource, Settings

__all__ = ["Contexts"]

log = logging.getLogger(__name__)


class Contexts:
    """Of all sources and sinks of one engine."""

    def __init__(
        self,
        secrets: Callable[[Iterable[Credential]], Secrets],
        metrics: MetricsRegistry,
        clock: Clock,
        random: Random,
        state_dir: Path,
    ) -> None:
        """`secrets` finds what a resource names as its credentials; `state_dir` has a folder for each adapter."""
        self.warnings: dict[tuple[str, str], dict[str, str]] = {}  # (kind, name) → reason → message
        self._secrets = secrets
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._state_dir = state_dir
        self._credentials: dict[tuple[str, str], Secrets] = {}  # (kind, name) → what it names
        self._declared: dict[str, Declared] = {}
        self._shared = Shared()

    def make(self, kind: str, resource: ServiceSource | ServiceSink, owner: str) -> AdapterContext:
        """Make a resource's context; what its adapter warned of before is forgotten. Raises OSError."""
        name, spec = resource.name, resource.spec
        warnings = self.warnings[kind, name] = {}
        credentials = self._credentials[kind, name] = self._secrets(spec.credentials)

        def warn(reason: str, message: str) -> None:
            if warnings.get(reason) != message:
                log.warning("%s=%s warning=%s message=%r", kind, name, reason, message)
            warnings[reason] = message

        return AdapterContext(
            kind=kind,
            name=name,
            environment=spec.environment,
            owner=owner,
            clock=self._clock,
            random=self._random,
            metrics=self._metrics.bound(kind=kind, name=name),
            credentials=credentials,
            declared=self._declared.setdefault(name, Declared()),
            state_dir=self._state_dir / f"{kind}-{name}",
            shared=self._shared,
            on_warn=warn,
        )

    def warned(self, kind: str, name: str) -> dict[str, str]:
        """Return what a source or sink warns of; of credentials those that cannot be had now, which may come and go."""
        found = dict(self.warnings.get((kind, name), {}))
        named = self._credentials.get((kind, name))
        if named is not None and (missing := named.missing()):
            found["CredentialMissing"] = f"cannot be read: {', '.join(missing)}"
        return found

    def declare(self, settings: Settings) -> None:
        """Tell each source what registrations declare under it."""
        declared: dict[str, list[Any]] = {}
        for registration in settings.registrations.values():
            for service in registration.declared:
                declared.setdefault(service.key.source, []).append(service)
        for name in settings.sources:
            self._declared.setdefault(name, Declared()).set(tuple(declared.get(name, ())), complete=settings.complete)

    def forget(self, kind: str, name: str) -> None:
        """Stop knowing a source or sink."""
        self.warnings.pop((kind, name), None)
        self._credentials.pop((kind, name), None)
        if kind == "source":
            self._declared.pop(name, None)
