"""`waypost pause` and `resume`: let a sink be, and go on with it."""

from __future__ import annotations

import argparse
import functools

import msgspec

from waypost.cli.arguments import Verbs, add_asking
from waypost.cli.exits import OK

__all__ = ["add"]

EPILOG = """
A paused sink is neither read nor written; what it holds stays as it is. It stays paused across restarts.

examples:
  waypost {verb} consul-prod
  waypost {verb} consul-prod --state-dir /var/lib/waypost
"""


class _Answer(msgspec.Struct, rename="camel"):
    sink: str
    paused: bool
    manifest_mode: str = ""


def add(verbs: Verbs) -> None:
    """Add the verbs."""
    for verb, told in (("pause", "neither read nor write a sink"), ("resume", "go on with a paused sink")):
        parser = verbs.add_parser(
            verb, help=told, description=f"{told.capitalize()}. Needs the token.", epilog=EPILOG.format(verb=verb)
        )
        parser.add_argument("sink", metavar="SINK", help="the sink's name")
        add_asking(parser)
        parser.set_defaults(verb=functools.partial(_set, mode=verb))


def _set(options: argparse.Namespace, *, mode: str) -> int:
    from waypost.cli.asking import find
    from waypost.cli.output import clean, lines, write_json

    answer = find(options).act("/v1/sinks", options.sink, {"mode": mode}, _Answer)
    if options.output == "json":
        write_json(answer)
    else:
        still = f"; its manifest says {answer.manifest_mode}" if answer.manifest_mode not in {"", "Apply"} else ""
        lines(f"sink {clean(answer.sink)}: {'paused' if answer.paused else 'going on'}{still}")
    return OK
