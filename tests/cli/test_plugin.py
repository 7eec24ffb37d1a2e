"""The command line with an adapter that misbehaves, installed as any plugin is."""

from __future__ import annotations

import os
import signal

import pytest

from tests.cli.conftest import Command

MODULE = """\
import asyncio, sys, threading, time
from contextlib import asynccontextmanager
import msgspec
from waypost.adapter import AdapterType
from waypost.model import Address, Instance, Port, Service, ServiceKey


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    how: str = "well"


class Source:
    def __init__(self, how, context):
        self.how, self.context = how, context

    async def watch(self, out):
        key = ServiceKey(self.context.name, "", "web")
        evil = "\\x1b]0;owned\\x07\\x1b[2J\\r\\nforged=line\\u202e"
        async with out.snapshot() as snapshot:
            instance = Instance("a" + evil, (Address("10.0.0.1"),), (Port(80, "http"),))
            snapshot.put(Service(key, {"team": evil}, (instance,)))
        self.context.log.info("read label=%s", evil)
        if self.how == "blocks":
            time.sleep(60)
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if self.how == "well":
                    raise


@asynccontextmanager
async def opened(config, context):
    yield Source(config.how, context)


SOURCE = AdapterType("odd", Config, opened)
"""

MANIFEST = """\
apiVersion: waypost.dev/v1alpha1
kind: ServiceSource
metadata: {{name: odd}}
spec: {{type: odd, environment: test, config: {{how: {how}}}}}
"""


@pytest.fixture
def plugin(waypost: Command) -> Command:
    packages = waypost.folder / "packages"
    info = packages / "odd-1.0.dist-info"
    info.mkdir(parents=True)
    (packages / "odd.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[waypost.sources]\nodd = odd:SOURCE\n")
    former = waypost.environ.get("PYTHONPATH")
    waypost.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(packages), former)))
    return waypost


@pytest.mark.parametrize("how", ["clings", "blocks"])
def test_an_adapter_that_does_not_end_is_left_behind_within_five_seconds(plugin: Command, how: str) -> None:
    plugin.write("odd.yaml", MANIFEST.format(how=how))
    running = plugin.start(answers=False)
    running.until(lambda: "read label=" in running.told(), "it was read")
    status, seconds = running.end()
    assert seconds < 5
    assert status == 1
    assert "nothing was deregistered" in running.told()


def test_a_second_signal_ends_it_at_once(plugin: Command) -> None:
    plugin.write("odd.yaml", MANIFEST.format(how="clings"))
    running = plugin.start()
    running.until(lambda: "read label=" in running.told(), "it was read")
    running.process.send_signal(signal.SIGTERM)
    running.until(lambda: "ending" in running.told(), "it is ending")
    status, seconds = running.end(signal.SIGTERM)
    assert status == 128 + signal.SIGTERM
    assert seconds < 2


def test_what_others_wrote_cannot_drive_a_terminal_or_forge_a_line(plugin: Command) -> None:
    plugin.write("odd.yaml", MANIFEST.format(how="well"))
    running = plugin.start()
    running.until(lambda: "read label=" in running.told(), "it was read")
    outputs = [
        plugin("discover", "-f", str(plugin.manifests), "--instances").stdout,
        plugin.ask("explain", "--service", "web").stdout,
        plugin.ask("explain", "--instance", "a\x1b[2J").stdout,
        running.told(),
    ]
    for output in outputs:
        assert output
        assert "\x1b" not in output
        assert "\u202e" not in output
        assert not any(line.startswith("forged=line") for line in output.splitlines())


def test_a_plugin_is_found_by_validate_and_one_that_cannot_be_imported_is_named(plugin: Command) -> None:
    plugin.write("odd.yaml", MANIFEST.format(how="well"))
    assert plugin("validate", "-f", str(plugin.manifests)).returncode == 0
    (plugin.folder / "packages" / "odd.py").write_text("import nothing_of_that_name\n")
    done = plugin("validate", "-f", str(plugin.manifests))
    assert done.returncode == 1
    assert "odd 1.0" in done.stdout
