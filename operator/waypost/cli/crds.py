"""`waypost crds`: the custom resource definitions of this version."""

from __future__ import annotations

import argparse
from pathlib import Path

from waypost.cli.arguments import Verbs
from waypost.cli.exits import OK

__all__ = ["add"]

EPILOG = """
examples:
  waypost crds | kubectl apply --server-side -f -
  waypost crds --write crds/
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "crds",
        help="the custom resource definitions",
        description="Prints the custom resource definitions of this version as YAML, or writes a file for each.",
        epilog=EPILOG,
    )
    parser.add_argument("--write", metavar="FOLDER", type=Path, help="write a file a kind into this folder")
    parser.set_defaults(verb=_crds)


def _crds(options: argparse.Namespace) -> int:
    import yaml

    from waypost.cli.output import lines
    from waypost.settings import KINDS, schema

    if options.write is not None:
        schema.write(options.write)
        return OK
    text = yaml.safe_dump_all(
        [schema.definition(kind) for kind in KINDS], sort_keys=False, width=120, allow_unicode=True
    )
    lines(text.rstrip())
    return OK
