"""`waypost release`: leave records where they are, ours no more."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from waypost.cli.arguments import Verbs, add_asking, add_timeout
from waypost.cli.exits import FAILED, OK, USAGE, CommandError
from waypost.cli.leaving import add_options, leave
from waypost.cli.released import told, until_released

if TYPE_CHECKING:
    from pathlib import Path

    from waypost.cli.asking import Server
    from waypost.server.wire import Released

__all__ = ["add"]

EPILOG = """
What is released stays in its sink, as consumers see it; the mark that says whose it is goes, and Waypost neither writes
nor deletes it any more. That holds until `--undo`, across restarts, and whatever the manifests say. After `--undo`,
records that are still there are a conflict, unless the manifests ask for their adoption.

With no server on the state folder it does the same by itself: then -f names the manifests, whose sinks it opens.

examples:
  waypost release                           # what is released
  waypost release shop/web                  # a registration
  waypost release --name web --sink dns-prod
  waypost release --sink consul-prod --yes
  waypost release --all --yes               # before Waypost goes for good
  waypost release --all -f manifests/       # the same, the server being stopped
  waypost release --undo shop/web
  waypost release --all --yes --kubernetes --deployment waypost     # before it is uninstalled from a cluster for good
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "release",
        help="leave records where they are, ours no more",
        description="Takes the owner's mark off records and leaves them in place. Asks first. Needs the token.",
        epilog=EPILOG,
    )
    parser.add_argument("registration", metavar="NAMESPACE/NAME", nargs="?", default="", help="all of a registration")
    parser.add_argument("--name", metavar="NAME", default="", help="what stands under a name")
    parser.add_argument("--sink", metavar="SINK", default="", help="in this sink only; alone: all that is in it")
    parser.add_argument("--all", action="store_true", dest="everything", help="everything in all sinks")
    parser.add_argument("--undo", action="store_true", help="ask for it again")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_timeout(parser, 60.0, "it")
    add_asking(parser)
    add_options(parser)
    parser.set_defaults(verb=_release)


def _release(options: argparse.Namespace) -> int:
    if options.kubernetes:
        return leave(options)
    if options.finalizers:
        raise CommandError("--finalizers goes with --kubernetes", USAGE)
    given = bool(options.registration or options.name or options.sink)
    if given and options.everything:
        raise CommandError("--all stands alone: leave the rest out, or leave --all out")
    if options.undo and not (given or options.everything):
        raise CommandError("say what to ask for again: `waypost release` lists what is released")
    if not options.server and options.files and not _served(options):
        return _alone(options)
    from waypost.cli.asking import find
    from waypost.server.wire import Released

    server = find(options)
    if not given and not options.everything:
        return told(options, server.get("/v1/releases", list[Released]))
    body = {part: getattr(options, part) for part in ("registration", "name", "sink", "everything", "undo")}
    if options.undo:
        return told(options, [server.act("/v1/releases", "change", body, Released)])
    asked = {part: body[part] for part in ("registration", "name", "sink")}
    _ask(options, _asked(server, asked))
    return _waited(options, server, server.act("/v1/releases", "change", body, Released), asked)


def _ask(options: argparse.Namespace, would: Released) -> None:
    """Ask a person, unless told not to. Raises CommandError where the answer is no, or nobody can be asked."""
    from waypost.cli.output import clean

    told = "; ".join(f"{count} records in sink {clean(sink)}" for sink, count in sorted(would.records.items()))
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"it would release {told or 'nothing'}: say --yes where nobody can be asked")
    sys.stderr.write(f"Release {told or 'nothing yet'}? They stay in place, ours no more. [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise CommandError("nothing was released")


def _asked(server: Server, asked: dict[str, str]) -> Released:
    """Return what a release of these parts covers."""
    from waypost.server.wire import Released

    query: dict[str, Any] = asked if any(asked.values()) else {"everything": "yes"}
    (found,) = server.get("/v1/releases", list[Released], **query)
    return found


def _waited(options: argparse.Namespace, server: Server, released: Released, asked: dict[str, str]) -> int:
    """Wait until no record is left that it covers; FAILED where some are."""
    until = time.monotonic() + options.timeout
    while any(released.records.values()) and time.monotonic() < until:
        time.sleep(0.2)
        released = _asked(server, asked)
    told(options, [released])
    return FAILED if any(released.records.values()) else OK


# --- without a server


def _served(options: argparse.Namespace) -> bool:
    from waypost.cli import state

    return state.is_locked(_folder(options))


def _folder(options: argparse.Namespace) -> Path:
    from waypost.cli import state

    folder: Path = options.state_dir or state.default_state_dir(options.files)
    return folder


def _alone(options: argparse.Namespace) -> int:
    """Do it without a server: keep the release, and run an engine that does that and no more."""
    from waypost.cli import state
    from waypost.cli.once import run_once
    from waypost.cli.output import complain
    from waypost.engine.releases import Release, Releases
    from waypost.plugins import Plugins
    from waypost.server.wire import Released
    from waypost.settings import read_once

    plugins = Plugins()
    settings = read_once(options.files, plugins)
    for problem in settings.problems:
        complain(problem)
    if options.sink and options.sink not in settings.sinks:
        raise CommandError(f"there is no sink `{options.sink}`; there are: {', '.join(sorted(settings.sinks))}")
    folder = state.make(_folder(options))
    release = Release(options.registration, options.name, options.sink)
    with state.locked(folder):
        releases = Releases(folder)
        if release == Release() and not options.everything:
            return told(options, [Released(each, True, {}, str(each)) for each in sorted(releases.given)])
        if not options.undo and not options.yes:
            _ask(options, Released(release, False, {}, str(release)))
        releases.change(release, undo=options.undo)
        if options.undo:
            return told(options, [Released(release, False, {}, str(release))])
        return run_once(lambda: until_released(options, folder, plugins, settings, release))
