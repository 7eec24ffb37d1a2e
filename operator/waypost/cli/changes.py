"""`waypost changes`: what was changed in the sinks lately, and why."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from waypost.cli.arguments import Verbs, add_asking
from waypost.cli.exits import OK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waypost.engine.changes import Changed

__all__ = ["add"]

EPILOG = """
examples:
  waypost changes
  waypost changes --follow
  waypost changes --since 120 --output json     # with JSON, one change a line
"""

WAIT_SECONDS = 30.0


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "changes",
        help="what was changed lately, and why",
        description="Lists the latest changes that a running server made (it remembers 10,000), the oldest first.",
        epilog=EPILOG,
    )
    parser.add_argument("--since", metavar="NUMBER", type=int, default=0, help="only those after this one")
    parser.add_argument("--follow", action="store_true", help="go on, until interrupted")
    add_asking(parser)
    parser.set_defaults(verb=_changes)


def _changes(options: argparse.Namespace) -> int:
    from waypost.cli.asking import find
    from waypost.server.wire import Changes

    server = find(options)
    since, run, wait = max(0, options.since), "", 0.0
    while True:
        page = server.get("/v1/changes", Changes, wait=wait, since=since, run=run)
        _print(page.changes, json=options.output == "json")
        if not page.changes and not options.follow:
            return OK
        since, run = page.latest, page.run
        wait = WAIT_SECONDS if options.follow and not page.changes else 0.0


def _print(changes: Sequence[Changed], *, json: bool) -> None:
    import sys

    import msgspec

    from waypost.cli.output import clean, lines, paint

    colour = paint()
    shades = {"added": "green", "changed": "yellow", "removed": "red", "released": "yellow", "refused": "red"}
    for each in changes:
        if json:
            lines(msgspec.json.encode(each).decode())
            continue
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.time))
        what = f"{each.registration}[{each.entry}] {each.service} {each.instance}"
        why = f"{each.cause}: {each.reason}" if each.reason else each.cause
        action = colour(f"{each.action:8}", shades[each.action])  # type: ignore[arg-type]
        lines(f"{each.number:6} {when} {action} {clean(each.sink)} {clean(what)}  ({clean(why)})")
    sys.stdout.flush()
