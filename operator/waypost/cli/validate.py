"""`waypost validate`: what is wrong with manifests and an elector's file, and where. Reads files, asks nobody."""

from __future__ import annotations

import argparse

from waypost.cli.arguments import Verbs, add_elector, add_manifests, add_output
from waypost.cli.exits import FAILED, OK, CommandError

__all__ = ["add"]

EPILOG = """
examples:
  waypost validate -f manifests/
  waypost validate -f sources.yaml -f shop/ --output json
  waypost validate -f manifests/ --elector etcd --elector-config elector.yaml
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "validate",
        help="what is wrong with manifests, with file and line",
        description="Reads manifests, and an elector's file, and tells every problem as `file:line: field: message`. "
        "Asks no other system.",
        epilog=EPILOG,
    )
    add_manifests(parser, required=True)
    add_elector(parser)
    add_output(parser)
    parser.set_defaults(verb=_validate)


def _validate(options: argparse.Namespace) -> int:
    from waypost.cli.candidacy import declared_elector
    from waypost.cli.output import clean, lines, write_json
    from waypost.plugins import Plugins
    from waypost.settings import not_adopted, read_once, unresolved

    plugins = Plugins()
    settings = read_once(options.files, plugins)
    lost = [
        f"ServiceRegistration {key}: {what}"
        for key, r in settings.registrations.items()
        for what in (*unresolved(settings, r), *not_adopted(settings, r))
    ]
    try:
        declared_elector(options, plugins)
    except CommandError as error:
        lost.append(str(error))
    wrongs = len(settings.problems) + len(lost)
    counts = {
        "sources": len(settings.sources),
        "sinks": len(settings.sinks),
        "registrations": len(settings.registrations),
    }
    if options.output == "json":
        write_json({"valid": not wrongs, **counts, "problems": settings.problems, "unresolved": lost})
    else:
        lines(*(clean(problem) for problem in (*settings.problems, *lost)))
        told = ", ".join(_counted(count, what) for what, count in counts.items())
        wrong = _counted(wrongs, "problems")
        lines(f"{wrong}; what is right: {told}" if wrongs else f"all is well: {told}")
    return FAILED if wrongs else OK


def _counted(count: int, what: str) -> str:
    return f"{count} {what.removesuffix('s') if count == 1 else what}"
