"""Verbs that this version does not have yet: each says so, and what helps meanwhile."""

from __future__ import annotations

import argparse
import functools

from waypost.cli.arguments import Verbs
from waypost.cli.exits import CommandError

__all__ = ["LATER", "add"]

LATER = {
    "token": "meanwhile remove admin.token from the state folder and restart, and a new one is made",
    "backup": "meanwhile copy the state folder while the server is stopped",
    "restore": "meanwhile put a copy of the state folder back while the server is stopped",
}


def add(verbs: Verbs) -> None:
    """Add the verbs."""
    for verb, meanwhile in LATER.items():
        parser = verbs.add_parser(
            verb,
            help="not yet in this version",
            description=f"This version has no `{verb}` yet; {meanwhile}.",
            epilog=f"examples:\n  waypost {verb}     # says what helps meanwhile",
        )
        parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
        parser.set_defaults(verb=functools.partial(_refuse, name=verb, meanwhile=meanwhile))


def _refuse(_options: argparse.Namespace, *, name: str, meanwhile: str) -> int:
    raise CommandError(f"`{name}` is not yet in this version; {meanwhile}")
