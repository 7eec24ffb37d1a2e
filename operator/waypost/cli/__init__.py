"""The command line: one module a verb or a family of verbs; its `add(verbs)` makes the parser and names the function.

Only here is anything printed. A verb imports what it needs when it runs, so that `waypost --help` is quick.
"""

from __future__ import annotations

from collections.abc import Sequence

from waypost import __version__
from waypost.cli import (
    adopt,
    changes,
    crds,
    demo,
    discover,
    doctor,
    explain,
    holds,
    later,
    pause,
    plan,
    release,
    run,
    status,
    validate,
    whois,
)
from waypost.cli.arguments import Parser
from waypost.cli.ending import ended

__all__ = ["main"]

EPILOG = """
examples:
  waypost run -f manifests/               keep the sinks equal to what the manifests ask for
  waypost validate -f manifests/          what is wrong with the manifests
  waypost plan -f manifests/              what would be changed, without changing anything
  waypost status                          how a running server sees everything
  waypost explain shop/web                why a registration is, or is not, in its sinks
"""


def parser() -> Parser:
    """Return the parser of all verbs."""
    made = Parser(
        prog="waypost",
        description="Keeps service registries equal to what manifests ask for, whatever runs the services.",
        epilog=EPILOG,
    )
    made.add_argument("--version", action="version", version=f"waypost {__version__}")
    verbs = made.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=Parser)
    for verb in (
        run,
        validate,
        plan,
        discover,
        status,
        explain,
        whois,
        changes,
        holds,
        pause,
        adopt,
        release,
        doctor,
        crds,
        demo,
        later,
    ):
        verb.add(verbs)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status."""
    options = parser().parse_args(arguments)
    return ended(lambda: options.verb(options))
