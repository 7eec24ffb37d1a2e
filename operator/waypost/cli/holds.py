"""`waypost holds`, `approve`, `reject`: what waits for a person, and the decision."""

from __future__ import annotations

import argparse
import functools
import time
from typing import TYPE_CHECKING

from waypost.cli.arguments import Verbs, add_asking
from waypost.cli.exits import OK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waypost.engine.status import HoldReport

__all__ = ["add", "expires", "print_holds"]

PROGRAM = "waypost"  # `kubectl waypost` says in the options that it is another
HOLDS_EPILOG = """
examples:
  waypost holds
  waypost holds --output json
"""
DECIDE_EPILOG = """
A decision is on exactly what the hold names: what is added later makes another hold.

examples:
  waypost {verb} consul-prod-7f3a9c21 --reason 'CHG-4711: old Mesos switched off'
  waypost {verb} consul-prod-7f3a9c21 --expires 3600
"""


def add(verbs: Verbs) -> None:
    """Add the verbs."""
    parser = verbs.add_parser(
        "holds",
        help="what waits for a person",
        description="Lists what a running server will not do until a person says so, and why.",
        epilog=HOLDS_EPILOG,
    )
    add_asking(parser)
    parser.set_defaults(verb=_holds)
    for verb, decision, told in (
        ("approve", "Approve", "let what a hold names be done"),
        ("reject", "Reject", "do not let what a hold names be done"),
    ):
        parser = verbs.add_parser(
            verb,
            help=told,
            description=f"{told.capitalize()}. Needs the token.",
            epilog=DECIDE_EPILOG.format(verb=verb),
        )
        parser.add_argument("name", metavar="HOLD", help="the hold's name")
        parser.add_argument("--reason", metavar="TEXT", default="", help="why, for whoever reads it later")
        parser.add_argument(
            "--expires",
            metavar="SECONDS",
            type=expires,
            default=900,
            help="how long it holds, 10 to 86400 (default: 900)",
        )
        add_asking(parser)
        parser.set_defaults(verb=functools.partial(_decide, decision=decision))


def expires(text: str) -> int:
    """Read how long a decision holds, for argparse."""
    if not text.isdigit() or not 10 <= int(text) <= 86_400:
        raise argparse.ArgumentTypeError(f"`{text}` is no number of seconds from 10 to 86400")
    return int(text)


def _holds(options: argparse.Namespace) -> int:
    from waypost.cli.asking import find
    from waypost.cli.output import write_json
    from waypost.engine.status import HoldReport

    found = find(options).get("/v1/holds", list[HoldReport])
    if options.output == "json":
        write_json(found)
    else:
        print_holds(found, getattr(options, "program", PROGRAM))
    return OK


def _decide(options: argparse.Namespace, *, decision: str) -> int:
    from waypost.cli.asking import find
    from waypost.cli.output import write_json
    from waypost.engine.status import HoldReport

    body = {"decision": decision, "reason": options.reason, "expiresSeconds": options.expires}
    hold = find(options).act("/v1/holds", options.name, body, HoldReport)
    if options.output == "json":
        write_json(hold)
    else:
        print_holds([hold], getattr(options, "program", PROGRAM))
    return OK


def print_holds(holds: Sequence[HoldReport], program: str = PROGRAM) -> None:
    """Tell of holds, for people; `program` is what they decide them by."""
    from waypost.cli.output import clean, lines, paint

    colour = paint()
    if not holds:
        lines("nothing waits for a person")
    for hold in holds:
        counts = f"{hold.removals} removals and {hold.changes} changes of {hold.of}"
        if hold.cause == "Takeover":
            counts = f"{hold.changes} records that are there already, and the same,"
        source = f" from source {hold.source}" if hold.source else ""
        lines(
            colour(hold.name, "bold"),
            f"  {hold.cause}: {counts} in sink {clean(hold.sink)}{clean(source)}",
            f"  {_decision(hold, program)}",
            *(f"    {clean(text)}" for text in hold.sample),
        )
        rest = hold.removals + hold.changes - len(hold.sample)
        if rest > 0:
            lines(f"    … and {rest} more")


def _decision(hold: HoldReport, program: str) -> str:
    if not hold.decision or hold.decided_time is None:
        return f"undecided; {program} approve {hold.name}  or  {program} reject {hold.name}"
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(hold.decided_time + hold.expires_seconds))
    return f"{hold.decision} until {until}" + (f": {hold.reason}" if hold.reason else "")
