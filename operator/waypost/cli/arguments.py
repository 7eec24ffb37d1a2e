"""The options that several verbs share, and a parser whose errors say how to go on."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, NoReturn

from waypost.cli.exits import LEGEND, USAGE

__all__ = ["Parser", "Verbs", "add_asking", "add_elector", "add_manifests", "add_output", "add_timeout"]

Verbs = Any  # argparse names the type of `add_subparsers` with an underscore


class Parser(argparse.ArgumentParser):
    """Ends with status 64 on wrong usage: 2 has a meaning of its own here."""

    finds_server = False  # whether the server is found by other means than by the options of the verb

    def __init__(self, *args: Any, **more: Any) -> None:
        """Keep the epilog as it is written, and add what the exit status means."""
        more.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        if "epilog" in more:
            more["epilog"] = f"{more['epilog'].strip()}\n\n{LEGEND}"
        more["allow_abbrev"] = False
        super().__init__(*args, **more)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the help is."""
        self.exit(USAGE, f"waypost: {message}; see {self.prog} --help\n")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Let the output be chosen."""
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="for people or for programs (default: text)"
    )


def add_timeout(parser: argparse.ArgumentParser, default: float, what: str, besides: str = "") -> None:
    """Let be said how many seconds something may take."""
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=default,
        help=f"how long {what} may take (default: {default:g}{besides})",
    )


def add_manifests(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Let manifests and a state folder be named."""
    parser.add_argument(
        "-f",
        "--file",
        dest="files",
        metavar="PATH",
        action="append",
        default=[],
        required=required,
        help="a manifest, or a folder of them; may be given several times",
    )
    parser.add_argument(
        "--state-dir",
        metavar="DIR",
        type=Path,
        default=_from_environment("WAYPOST_STATE_DIR"),
        help="where state is kept (default: $WAYPOST_STATE_DIR, else $XDG_STATE_HOME/waypost/<hash of the -f paths>)",
    )


def add_asking(parser: argparse.ArgumentParser) -> None:
    """Let a running server be named: by its URL, its state folder, or the manifests that it was started with."""
    if getattr(parser, "finds_server", False):
        add_output(parser)
        return
    parser.add_argument(
        "--server",
        metavar="URL",
        default=os.environ.get("WAYPOST_SERVER"),
        help="the admin address of a running server (default: $WAYPOST_SERVER, else the one on the state folder, "
        "else the only one running)",
    )
    add_manifests(parser)
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        type=Path,
        default=_from_environment("WAYPOST_TOKEN_FILE"),
        help="the token for verbs that act (default: $WAYPOST_TOKEN_FILE, else admin.token in the state folder)",
    )
    add_output(parser)


def _seconds(text: str) -> float:
    """Read a number of seconds, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 86_400:
        raise argparse.ArgumentTypeError(f"`{text}` is no number of seconds from 0 to 86400")
    return number


def _from_environment(name: str) -> Path | None:
    value = os.environ.get(name)
    return Path(value) if value else None


def add_elector(parser: argparse.ArgumentParser) -> None:
    """Add the options that name an elector."""
    parser.add_argument(
        "--elector",
        metavar="TYPE",
        help="several processes of one installation, of which one writes: how they find out which (consul, etcd, …)",
    )
    parser.add_argument(
        "--elector-config", metavar="FILE", type=Path, help="the elector's `config` and `credentials`, as YAML"
    )
