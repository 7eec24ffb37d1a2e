"""How `waypost run` stands for election: the elector that its options name, opened for the process's life."""

from __future__ import annotations

import argparse
import logging
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from waypost.adapter import Clock, Elector, PermanentError
from waypost.cli.exits import FAILED, USAGE, CommandError
from waypost.engine.context import AdapterContext, Declared, FileCredentials
from waypost.kit.metrics import MetricsRegistry
from waypost.kit.shared import Shared
from waypost.plugins import BrokenPlugin, Plugins, UnknownType
from waypost.settings.elector import ElectorSettings, read_elector

__all__ = ["Candidacy", "declared_elector"]

log = logging.getLogger("waypost.elector")


class Candidacy:
    """The elector, None where there is none, and what it is given."""

    def __init__(self, elector: Elector | None, metrics: MetricsRegistry, context: AdapterContext | None) -> None:
        self.elector = elector
        self.metrics = metrics
        self._context = context

    def listens(self, url: str) -> None:
        """Say where this process may be asked: others are told so while it leads."""
        if self._context is not None:
            self._context.name = f"{_called()} at {url}"

    @classmethod
    @asynccontextmanager
    async def of(
        cls, options: argparse.Namespace, folder: Path, plugins: Plugins, clock: Clock
    ) -> AsyncIterator[Candidacy]:
        """Open what `--elector` and `--elector-config` say; at the end what is held is given back.

        Raises CommandError that says what is wrong with them.
        """
        metrics = MetricsRegistry()
        declared = declared_elector(options, plugins)
        if declared is None:
            yield cls(None, metrics, None)
            return
        if options.kubernetes:
            raise CommandError("--elector is for manifests in files: on Kubernetes a Lease says who leads", USAGE)
        kind, settings = declared
        credentials = FileCredentials(settings.credentials)
        for missing in credentials.missing():
            log.warning("elector=%s credential_missing=%r", options.elector, missing)
        context = AdapterContext(
            kind="elector",
            name=_called(),
            environment="",
            owner="",
            clock=clock,
            random=random.Random(),
            metrics=metrics.bound(kind="elector", name=options.elector),
            credentials=credentials,
            declared=Declared(),
            state_dir=folder / "adapters" / f"elector-{options.elector}",
            shared=Shared(),
            on_warn=lambda reason, message: log.warning("elector warning=%s message=%r", reason, message),
        )
        async with AsyncExitStack() as stack:
            try:
                elector = await stack.enter_async_context(kind.open(settings.config, context))
            except PermanentError as error:
                raise CommandError(f"--elector: {error}", FAILED) from None
            yield cls(elector, metrics, context)


def declared_elector(options: argparse.Namespace, plugins: Plugins) -> tuple[Any, ElectorSettings] | None:
    """Return the type and the settings that `--elector` and `--elector-config` name, None where there are none.

    Raises CommandError that says what is wrong with them.
    """
    if options.elector is None:
        if options.elector_config is not None:
            raise CommandError("--elector-config is given without --elector TYPE", USAGE)
        return None
    if options.elector_config is None:
        raise CommandError("--elector needs --elector-config FILE", USAGE)
    try:
        kind: Any = plugins.find("electors", options.elector)
        return kind, read_elector(options.elector_config, kind)
    except (UnknownType, BrokenPlugin) as error:
        raise CommandError(f"--elector: {error.args[0]}", USAGE) from None
    except PermanentError as error:
        raise CommandError(f"--elector-config: {error}", USAGE) from None


def _called() -> str:
    return f"{socket.gethostname()} pid {os.getpid()}"
