"""`waypost plan`: what would be changed, and why; nothing is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from waypost.cli.arguments import Verbs, add_asking, add_timeout
from waypost.cli.exits import FAILED, OK, SOMETHING, CommandError

if TYPE_CHECKING:
    from pathlib import Path

    from waypost.engine.outlook import Outlook, SinkOutlook
    from waypost.plugins import Plugins
    from waypost.settings import Settings

__all__ = ["add"]

EPILOG = """
With -f and no --server it reads sources and sinks itself, claims and writes nothing, and plans as a server would.
Without -f, or with --server, it asks a running server what it has yet to do. An embedded registry or DNS server that
runs already can only be asked so: two processes cannot have one port.

examples:
  waypost plan -f manifests/
  waypost plan -f manifests/ --timeout 60 --output json
  waypost plan --server http://127.0.0.1:7470
"""

_MARKS = {"add": "+", "change": "~", "remove": "-", "release": "="}


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "plan",
        help="what would be changed, and why",
        description="Shows what would be added, changed, removed and held in each sink. Changes nothing.",
        epilog=EPILOG,
    )
    parser.add_argument("--sink", metavar="SINK", default="", help="this sink only")
    add_timeout(parser, 30.0, "sources and sinks", "; 5 where all that is missing fails")
    add_asking(parser)
    parser.set_defaults(verb=_plan)


def _plan(options: argparse.Namespace) -> int:
    from waypost.cli.output import write_json

    asks = bool(options.server or not options.files)
    outlook = _asked(options) if asks else _found(options)
    if options.output == "json":
        write_json(outlook)
    else:
        _print(outlook, unsaid="Apply" if asks else "DryRun")  # by itself it reads every sink as in DryRun
    if not outlook.known:
        return FAILED
    return SOMETHING if outlook.anything else OK


def _asked(options: argparse.Namespace) -> Outlook:
    from waypost.cli.asking import find
    from waypost.engine.outlook import Outlook

    return find(options).get("/v1/plan", Outlook, sink=options.sink)


def _found(options: argparse.Namespace) -> Outlook:
    from waypost.cli import state
    from waypost.cli.once import borrowed_state, run_once
    from waypost.cli.output import complain
    from waypost.plugins import Plugins
    from waypost.settings import read_once

    plugins = Plugins()
    settings = read_once(options.files, plugins)
    for problem in settings.problems:
        complain(problem)
    if settings.problems:
        raise CommandError(f"{len(settings.problems)} problems in the manifests: correct them, then plan again")
    if options.sink and options.sink not in settings.sinks:
        raise CommandError(
            f"there is no sink `{options.sink}`; there are: {', '.join(sorted(settings.sinks)) or 'none'}"
        )
    folder = options.state_dir or state.default_state_dir(options.files)
    with borrowed_state(folder) as copy:
        return run_once(lambda: _read(copy, plugins, settings, options.sink, options.timeout))


async def _read(folder: Path, plugins: Plugins, settings: Settings, sink: str, timeout: float) -> Outlook:
    from waypost.cli.once import dry_engine, wait_until_known
    from waypost.engine.outlook import outlook

    async with dry_engine(folder, plugins, settings) as engine:
        await wait_until_known(engine, timeout, "reading sources and sinks")
        return await outlook(engine, sink=sink)


def _print(outlook: Outlook, *, unsaid: str) -> None:
    from waypost.cli.output import clean, complain, lines, paint

    colour = paint()
    for source in outlook.sources:
        if not source.known:
            complain(f"source {source.name}: {source.error}")
    for sink in outlook.sinks:
        if not sink.known:
            complain(f"sink {sink.name}: {sink.error}")
            continue
        held = f", of which {sink.held} wait for a person" if sink.held else ""
        left = f", {sink.release} to leave behind" if sink.release else ""
        told = f"{sink.add} to add, {sink.change} to change, {sink.remove} to remove{left}{held}"
        mode = "" if sink.mode == unsaid else f" ({clean(sink.mode)})"
        lines(f"{colour(f'sink {sink.name}', 'bold')}{mode}: {told}")
        _steps(sink)
    if not outlook.known:
        lines("could not find out everything: see above")
    elif not outlook.anything:
        lines("nothing to do")


def _steps(sink: SinkOutlook) -> None:
    from waypost.cli.output import Paint, clean, lines, paint

    colour: Paint = paint()
    shades = {"add": "green", "change": "yellow", "remove": "red", "release": "yellow"}
    for step in sink.steps:
        what = f"{step.registration}[{step.entry}] {step.service} {step.instance}"
        held = f"  held: {step.hold}" if step.hold else ""
        why = f"  ({clean(step.reason)})" if step.reason else ""
        keys = f"  {clean(step.keys[0])}" if step.keys else ""
        lines(f"  {colour(f'{_MARKS[step.action]} {what}', shades[step.action])}{keys}{why}{held}")  # type: ignore[arg-type]
    if sink.omitted:
        lines(f"  … and {sink.omitted} more")
    for problem in sink.problems:
        lines(f"  {colour(f'! {problem}', 'yellow')}")
