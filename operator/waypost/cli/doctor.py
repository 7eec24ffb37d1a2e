"""`waypost doctor`: tries each connection and permission that manifests ask for, and changes nothing."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from waypost.cli.arguments import Verbs, add_elector, add_manifests, add_output, add_timeout
from waypost.cli.exits import FAILED, OK, SOMETHING
from waypost.cli.output import Colour

if TYPE_CHECKING:
    from waypost.engine.doctor import Line
    from waypost.settings import Settings

__all__ = ["add"]

COLOURS: Mapping[str, Colour] = {"ok": "green", "warning": "yellow", "failed": "red"}

EPILOG = """
Of each source and sink is tried, in this order: its credentials (there, and for Waypost alone), names, connections and
TLS of the places it connects to, whether it lets us in and may be read; of a sink its stamp, and whether it may be
written, where the target tells that without being written. Of an elector, whether it lets us in and may be read.

examples:
  waypost doctor -f manifests/
  waypost doctor -f manifests/ --timeout 3
  waypost doctor -f manifests/ --elector etcd --elector-config elector.yaml
  waypost doctor -f manifests/ --output json
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "doctor",
        help="try each connection and permission",
        description="Tries each connection and permission that manifests ask for. Claims and writes nothing.",
        epilog=EPILOG,
    )
    add_manifests(parser, required=True)
    parser.add_argument(
        "--admin",
        metavar="ADDRESS:PORT",
        default=os.environ.get("WAYPOST_ADMIN", "127.0.0.1:7470"),
        help="where `run` will listen (default: $WAYPOST_ADMIN, else 127.0.0.1:7470)",
    )
    add_elector(parser)
    add_timeout(parser, 10.0, "each step")
    add_output(parser)
    parser.set_defaults(verb=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    import random

    from waypost.cli import state
    from waypost.cli.candidacy import declared_elector
    from waypost.cli.once import borrowed_state, run_once
    from waypost.engine.doctor import Candidate, Doctor
    from waypost.kit.clock import LoopClock
    from waypost.plugins import Plugins
    from waypost.settings import read_once

    folder: Path = options.state_dir or state.default_state_dir(options.files)
    plugins = Plugins()
    declared = declared_elector(options, plugins)
    settings = read_once(options.files, plugins)
    told: list[Line] = []

    def tell(line: Line) -> None:
        if options.output != "json":
            _print(line, head=not told or told[-1].about != line.about)
        told.append(line)

    for line in _before(options, settings, folder):
        tell(line)
    with borrowed_state(folder) as copy:
        doctor = Doctor(
            settings,
            plugins.find,
            copy,
            LoopClock(),
            random.Random(),
            options.timeout,
            runs=state.is_locked(folder),
            elector=Candidate(options.elector, declared[0], declared[1].config, declared[1].credentials)
            if declared is not None
            else None,
        )
        run_once(lambda: doctor.run(tell))
    counts = Counter[str](line.finding.status for line in told)
    _end(options, told, counts)
    return FAILED if counts["failed"] else SOMETHING if counts["warning"] else OK


def _before(options: argparse.Namespace, settings: Settings, folder: Path) -> Iterator[Line]:
    """Yield what needs no other system: the manifests, and this machine."""
    from waypost.adapter import Finding
    from waypost.cli.premises import premises
    from waypost.engine.doctor import Line

    for problem in settings.problems:
        yield Line("manifests", Finding("config", "failed", str(problem)))
    if not settings.problems:
        counts = (len(settings.sources), len(settings.sinks), len(settings.registrations))
        yield Line("manifests", Finding("config", "ok", "{} sources, {} sinks, {} registrations".format(*counts)))
    for finding in premises(folder, options.admin):
        yield Line("this machine", finding)


def _print(line: Line, *, head: bool) -> None:
    from waypost.cli.output import clean, lines, paint

    colours = paint()
    if head:
        lines(clean(line.about))
    status = colours(f"{line.finding.status:8}", COLOURS[line.finding.status])
    lines(f"  {status} {line.finding.what:11} {clean(line.finding.message)}")
    if line.finding.remedy:
        lines(f"{'':22}→ {clean(line.finding.remedy)}")


def _end(options: argparse.Namespace, told: list[Line], counts: Counter[str]) -> None:
    import msgspec

    from waypost.cli.output import lines, write_json

    if options.output == "json":
        findings = [{"about": line.about, **msgspec.structs.asdict(line.finding)} for line in told]
        write_json(
            {"failed": counts["failed"], "warnings": counts["warning"], "ok": counts["ok"], "findings": findings}
        )
    else:
        lines(f"{counts['failed']} failed, {counts['warning']} warnings, {counts['ok']} ok")
