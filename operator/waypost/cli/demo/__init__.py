"""`waypost demo`: the main job on this machine, in a minute, needing nothing but Waypost.

Local processes stand in for an orchestrator here. `stage` says what a demonstration needs of one, so that the same play
can be given with a real one.
"""

from __future__ import annotations

import argparse
import asyncio
import signal

from waypost.cli.arguments import Verbs

__all__ = ["add"]

EPILOG = """
examples:
  waypost demo            start three processes, register them, look them up, kill one, see it gone
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "demo",
        help="see it work on this machine",
        description="Starts processes, registers them in the embedded registry and DNS server, kills one, "
        "shows it gone, and leaves nothing behind.",
        epilog=EPILOG,
    )
    parser.set_defaults(verb=_demo)


def _demo(_options: argparse.Namespace) -> int:
    from waypost.cli.demo.local import LocalStage
    from waypost.cli.demo.play import play

    return run(play(LocalStage()))


def run(main: object) -> int:
    """Run a play to its end; SIGTERM ends it as tidily as the end does."""

    async def guarded() -> int:
        task = asyncio.ensure_future(main)  # type: ignore[call-overload]
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            return int(await task)
        except asyncio.CancelledError:
            return 128 + signal.SIGTERM

    return asyncio.run(guarded())
