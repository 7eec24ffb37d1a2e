"""`waypost crds`: the custom resource definitions of this version, and the policies for the installed types."""

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
        description="Prints the custom resource definitions of this version as YAML, and an admission policy for the "
        "`config` of every installed type of source and sink, plugins included; or writes them into files.",
        epilog=EPILOG,
    )
    parser.add_argument("--write", metavar="FOLDER", type=Path, help="write them into files of this folder")
    parser.set_defaults(verb=_crds)


def _crds(options: argparse.Namespace) -> int:
    from waypost.cli.output import lines
    from waypost.plugins import Plugins
    from waypost.settings import KINDS, admission, schema

    types = Plugins()
    if options.write is not None:
        schema.write(options.write, types)
        return OK
    lines(schema.text([*map(schema.definition, KINDS), *admission.policies(types)]).rstrip())
    return OK
