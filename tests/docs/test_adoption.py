"""docs/adoption.md: each command is run in its order, on a real Consul, and does what the page says."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path

import pytest

from testbed.servers import Consul
from tests.cli.conftest import SECONDS, Command, waypost
from tests.docs.test_cli import DOCS, blocks

__all__ = ["waypost"]  # a fixture

WORDS = {
    "by hand": "by hand",
    "ours": "ours:",
    "it waits": "Takeover",
    "what is released": "no record that it covers is ours",
}


@pytest.mark.server("consul")
async def test_each_command_does_what_the_page_says(consul: Consul, waypost: Command) -> None:
    for node in await consul.call("GET", "/v1/catalog/nodes?consistent"):
        if node["Node"] != "testbed":
            await consul.call("PUT", "/v1/catalog/deregister", {"Node": node["Node"]})
    await consul.call("DELETE", "/v1/kv/waypost/?recurse")
    text = (DOCS / "adoption.md").read_text()
    (manifest,), (record,) = blocks(text, "yaml"), blocks(text, "json")
    waypost.write("all.yaml", manifest.replace("http://127.0.0.1:8500", consul.address))
    created = 0
    for line in [line for block in blocks(text, "sh") for line in block.splitlines()]:
        arguments = shlex.split(line, comments=True)
        if arguments[0] == "curl":
            assert arguments[-1].endswith("/v1/catalog/register")
            await consul.request("PUT", "/v1/catalog/register", json.loads(record))
            (made,) = await consul.call("GET", "/v1/catalog/service/db?consistent")
            created = made["CreateIndex"]
        elif arguments[-1] == "&":
            state = Path(waypost.environ["XDG_STATE_HOME"]) / "waypost"
            waypost.start_as(arguments[1:-1], lambda state=state: next(state.iterdir(), state))  # type: ignore[misc]
            waypost.settle(0)
        else:
            if "is stopped" in line:
                waypost.running[-1].end()
            _ran(waypost, line, arguments)
    (left,) = await consul.call("GET", "/v1/catalog/service/db?consistent")
    assert left["CreateIndex"] == created, "it was deleted at some time"
    assert left["ServiceMeta"] == {}


def _ran(waypost: Command, line: str, arguments: list[str]) -> None:
    """Run a command; the first words of its comment say what it shows, as soon as what was asked for is done."""
    comment = (re.search(r"# (.*)", line) or [line, ""])[1]
    shown = next((shown for words, shown in WORDS.items() if comment.startswith(words)), "")
    end = time.monotonic() + SECONDS
    while True:
        done = waypost(*arguments[1:])
        if done.returncode == 0 and shown in done.stdout:
            return
        assert shown, f"{line}\n{done.stdout}{done.stderr}"
        assert time.monotonic() < end, f"{line}\n{done.stdout}{done.stderr}"
