"""`waypost explain`: why something is, or is not, in a sink, step by step."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from waypost.cli.arguments import Verbs, add_asking
from waypost.cli.exits import FAILED, OK, USAGE, CommandError

if TYPE_CHECKING:
    from waypost.engine.explain import Explanation

__all__ = ["add"]

EPILOG = """
examples:
  waypost explain shop/web
  waypost explain shop/web --instance web.1a2b --sink consul-prod
  waypost explain --service billing          which registration publishes it, if any
  waypost explain --name www.shop --output json
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "explain",
        help="why something is, or is not, in a sink",
        description="Asks a running server, step by step from the source to the record, what is well and what to do.",
        epilog=EPILOG,
    )
    parser.add_argument("registration", nargs="?", default="", metavar="NAMESPACE/NAME", help="a registration")
    parser.add_argument("--instance", metavar="ID", default="", help="one instance")
    parser.add_argument("--service", metavar="NAME", default="", help="a service, as its source names it")
    parser.add_argument("--name", metavar="NAME", default="", help="a name that is published, or should be")
    parser.add_argument("--sink", metavar="SINK", default="", help="this sink only")
    add_asking(parser)
    parser.set_defaults(verb=_explain)


def _explain(options: argparse.Namespace) -> int:
    from waypost.cli.asking import find
    from waypost.cli.output import write_json
    from waypost.engine.explain import Explanation

    asked = {name: getattr(options, name) for name in ("registration", "instance", "service", "name")}
    if not any(asked.values()):
        raise CommandError("say what to explain: NAMESPACE/NAME, --service, --instance or --name", USAGE)
    answer = find(options).get("/v1/explain", Explanation, sink=options.sink, **asked)
    if options.output == "json":
        write_json(answer)
    else:
        _print(answer)
    return OK if answer.ok else FAILED


def _print(answer: Explanation) -> None:
    from waypost.cli.output import clean, lines, paint

    colour = paint()
    marks = {True: colour("ok  ", "green"), False: colour("NO  ", "red"), None: "    "}
    for trace in answer.traces:
        lines(colour(trace.subject, "bold"))
        for line in trace.lines:
            lines(f"  {marks[line.ok]}{clean(line.text)}")
            if line.do:
                lines(f"        → {colour(line.do, 'yellow')}")
        lines("")
    if answer.omitted:
        lines(f"and {answer.omitted} more instances; --instance ID tells of one")
