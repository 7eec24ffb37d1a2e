"""docs/cli.md and docs/operations.md: each command is run in its order, and each metric and path is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.cli.conftest import Command, waypost
from waypost.cli import parser
from waypost.cli.exits import FAILED, INTERRUPTED, OK, SOMETHING, USAGE

__all__ = ["waypost"]  # a fixture

DOCS = Path(__file__).parents[2] / "docs"
EXIT = re.compile(r"#\s*exit (\d+)")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_each_command_does_what_the_page_says(waypost: Command) -> None:
    text = (DOCS / "cli.md").read_text()
    (manifest,) = blocks(text, "yaml")
    waypost.write("all.yaml", manifest.replace("127.0.0.1:7453", f"127.0.0.1:{waypost.dns_port}"))
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    assert len(lines) > 20
    for line in lines:
        arguments = shlex.split(line, comments=True)
        assert arguments[0] == "waypost", line
        if arguments[-1] == "&":
            state = Path(waypost.environ["XDG_STATE_HOME"]) / "waypost"
            waypost.start_as(arguments[1:-1], lambda state=state: next(state.iterdir(), state))  # type: ignore[misc]
            waypost.settle(2)
            continue
        if "http://127.0.0.1:7470" in arguments:
            arguments[arguments.index("http://127.0.0.1:7470")] = waypost.running[-1].url
        wanted = int(told.group(1)) if (told := EXIT.search(line)) else 0
        done = waypost(*arguments[1:])
        assert done.returncode == wanted, f"{line}\n{done.stdout}{done.stderr}"


def test_every_verb_and_every_exit_status_is_on_the_page() -> None:
    text = (DOCS / "cli.md").read_text()
    verbs = parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    assert verbs is not None
    assert [verb for verb in verbs if f"`{verb}`" not in text] == []
    assert [code for code in (OK, FAILED, SOMETHING, USAGE, INTERRUPTED) if f"| {code} |" not in text] == []


def test_every_metric_and_every_path_of_the_server_is_on_the_page_and_no_other() -> None:
    text = (DOCS / "operations.md").read_text()
    server = Path(__file__).parents[2] / "operator" / "waypost" / "server"
    gauges = set(re.findall(r'gauge\(\s*"(\w+)"', (server / "gauges.py").read_text()))
    assert gauges
    told = set(re.findall(r"`waypost_(\w+)`", text))
    assert told == gauges
    paths = set(re.findall(r'web\.(get|post)\("([^"]+)"', (server / "app.py").read_text()))
    assert paths == {(verb.lower(), path) for verb, path in re.findall(r"`(GET|POST) (/[\w/{}]*)", text)}
