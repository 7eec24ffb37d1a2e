"""How far a release is, and an engine that does it and no more: for `waypost release` where no server runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from waypost.cli.exits import FAILED, OK, CommandError

if TYPE_CHECKING:
    from pathlib import Path

    from waypost.engine.releases import Release
    from waypost.plugins import Plugins
    from waypost.server.wire import Released
    from waypost.settings import Settings

__all__ = ["told", "until_released"]


def told(options: argparse.Namespace, releases: list[Released]) -> int:
    """Print how far releases are, as asked; OK."""
    from waypost.cli.output import clean, lines, write_json

    if options.output == "json":
        write_json(releases)
        return OK
    if not releases:
        lines("nothing is released")
    for each in releases:
        left = {sink: count for sink, count in sorted(each.records.items()) if count}
        rest = "; ".join(f"{count} records in sink {clean(sink)} are ours yet" for sink, count in left.items())
        state = (rest or "no record that it covers is ours") if each.given else "asked for, as the manifests say"
        lines(f"{clean(each.text)}: {state}")
    return OK


async def until_released(
    options: argparse.Namespace, folder: Path, plugins: Plugins, settings: Settings, release: Release, **more: Any
) -> int:
    """Run an engine that releases until all is, or time is up. `more` is the engine's. Raises CommandError."""
    import asyncio

    from waypost.cli.once import releasing_engine
    from waypost.server.wire import Released

    async with releasing_engine(folder, plugins, settings, **more) as engine:
        wanted = [name for name in settings.sinks if release.sink in {"", name}]
        loop = asyncio.get_running_loop()
        until = loop.time() + options.timeout
        targets = engine.reconciler.targets

        def done() -> bool:
            read = all(name in targets and targets[name].loaded for name in wanted)
            return read and not any(engine.orders.covered(release).values())

        while not done() and loop.time() < until:  # noqa: ASYNC110 - no event tells it of all sinks
            await asyncio.sleep(0.05)
        told(options, [Released(release, True, engine.orders.covered(release), str(release))])
        unread = [name for name in wanted if name not in targets or not targets[name].loaded]
        if unread:
            why = targets[unread[0]].condition.message if unread[0] in targets else ""
            raise CommandError(f"sink {unread[0]} could not be read: {why or 'it took too long'}")
        return OK if done() else FAILED
