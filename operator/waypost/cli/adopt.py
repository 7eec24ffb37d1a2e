"""`waypost adopt`: what could be taken over, and the word to do it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from waypost.cli.arguments import Verbs, add_asking
from waypost.cli.exits import OK, CommandError
from waypost.cli.holds import expires, print_holds

if TYPE_CHECKING:
    from waypost.engine.status import HoldReport

__all__ = ["add"]

EPILOG = """
Records that are in a sink already, the same as ours would be and nobody's, wait in a hold of the cause Takeover, where
the sink says `adoption: Identical` and the registration's entry `adopt: Identical`. Approved, they become ours where
they are, without a moment's absence; what has changed since is left as it is, and told as a conflict.

examples:
  waypost adopt                                     # what could be taken over
  waypost adopt dns-prod-7f3a9c21 --reason 'CHG-4711: ours since 2019'
  waypost adopt --sink dns-prod --yes               # all that waits there now
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "adopt",
        help="take over records that are there already, and the same",
        description="Lists what could be taken over; with a hold or a sink, takes it over. Asks. Needs the token.",
        epilog=EPILOG,
    )
    parser.add_argument("name", metavar="HOLD", nargs="?", default="", help="the hold's name")
    parser.add_argument("--sink", metavar="SINK", default="", help="all that waits to be taken over in this sink")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why, for whoever reads it later")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--expires", metavar="SECONDS", type=expires, default=900, help="how long it holds, 10 to 86400 (default: 900)"
    )
    add_asking(parser)
    parser.set_defaults(verb=_adopt)


def _adopt(options: argparse.Namespace) -> int:
    from waypost.cli.asking import find
    from waypost.engine.status import HoldReport

    if options.name and options.sink:
        raise CommandError("name a hold or a sink, not both")
    server = find(options)
    waiting = [each for each in server.get("/v1/holds", list[HoldReport]) if each.cause == "Takeover"]
    if not (options.name or options.sink):
        return _told(options, waiting)
    chosen = [
        each
        for each in waiting
        if (each.name == options.name if options.name else each.sink == options.sink and not each.decision)
    ]
    if not chosen:
        known = ", ".join(each.name for each in waiting) or "none"
        raise CommandError(f"nothing of that name waits to be taken over; there are: {known}")
    _ask(options, chosen)
    body = {"decision": "Approve", "reason": options.reason, "expiresSeconds": options.expires}
    return _told(options, [server.act("/v1/holds", each.name, body, HoldReport) for each in chosen])


def _ask(options: argparse.Namespace, chosen: list[HoldReport]) -> None:
    if options.yes:
        return
    count = sum(each.changes for each in chosen)
    if not sys.stdin.isatty():
        raise CommandError(f"it would take over {count} records: say --yes where nobody can be asked")
    sys.stderr.write(f"Take over {count} records that are there? They become ours, and go as ours do. [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise CommandError("nothing was taken over")


def _told(options: argparse.Namespace, holds: list[HoldReport]) -> int:
    from waypost.cli.output import lines, write_json

    if options.output == "json":
        write_json(holds)
    elif holds:
        print_holds(holds)
    else:
        lines("nothing waits to be taken over")
    return OK
