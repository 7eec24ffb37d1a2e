"""`waypost whois`: who wrote what stands under a name."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from waypost.cli.arguments import Verbs, add_asking
from waypost.cli.exits import FAILED, OK

if TYPE_CHECKING:
    from waypost.engine.whois import Whois, Whose

__all__ = ["add"]

EPILOG = """
Names are as the registrations publish them: in DNS relative to the zone.

examples:
  waypost whois web
  waypost whois web --sink dns-prod --output json
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "whois",
        help="who wrote what stands under a name",
        description="Tells of each record under a name whose it is: ours (by which registration, of which service and "
        "instance, by which path), another installation's, or written by hand.",
        epilog=EPILOG,
    )
    parser.add_argument("name", metavar="NAME", help="a published name")
    parser.add_argument("--sink", metavar="SINK", default="", help="in this sink only")
    add_asking(parser)
    parser.set_defaults(verb=_whois)


def _whois(options: argparse.Namespace) -> int:
    from waypost.cli.asking import find
    from waypost.cli.output import write_json
    from waypost.engine.whois import Whois

    found = find(options).get("/v1/whois", Whois, name=options.name, sink=options.sink)
    if options.output == "json":
        write_json(found)
    else:
        _print(options.name, found)
    return OK if found.records and not found.unread else FAILED


def _print(name: str, found: Whois) -> None:
    from waypost.cli.output import clean, complain, lines, paint

    colour = paint()
    for sink, why in sorted(found.unread.items()):
        complain(f"sink {sink} could not say everything: {why}")
    if not found.records:
        lines(f"nobody has the name {clean(name)}")
    for each in found.records:
        whose = colour(each.whose, "green" if each.whose == "ours" else "yellow")
        lines(f"{clean(each.sink)}  {clean(each.key)}  {whose}: {clean(_told(each))}")
    if found.omitted:
        lines(f"… and {found.omitted} more of ours")


def _told(each: Whose) -> str:
    if each.whose == "ours":
        path = f", path {each.path}" if each.path else ""
        return f"{each.registration}[{each.entry}] of {each.service}, instance {each.instance}{path}, {each.summary}"
    return f"owner {each.owner}: {each.summary}" if each.owner else each.summary
