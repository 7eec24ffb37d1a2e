"""Adapters are found by entry point: those of other packages as our own, broken ones alone."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from waypost.adapter import AdapterType
from waypost.plugins import BrokenPlugin, Plugins, UnknownType

GOOD = """
from contextlib import asynccontextmanager
import msgspec
from waypost.adapter import AdapterType

class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    pass

class Lamp:
    async def watch(self, out):
        async with out.snapshot():
            pass

@asynccontextmanager
async def _open(config, context):
    yield Lamp()

SOURCE = AdapterType("lamp", Config, _open)
OTHER = AdapterType("candle", Config, _open)
TEXT = "lamp"
"""

ENTRIES = """
[waypost.sources]
lamp = lamp_plugin:SOURCE
misnamed = lamp_plugin:OTHER
text = lamp_plugin:TEXT
absent = lamp_plugin:NOTHING
broken = lamp_broken:SOURCE

[console_scripts]
lamp = lamp_plugin:TEXT
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package outside the tree, as pip would install it."""
    (tmp_path / "lamp_plugin.py").write_text(GOOD)
    (tmp_path / "lamp_broken.py").write_text("import no_such_library\n")
    info = tmp_path / "waypost_lamp-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: waypost-lamp\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    return tmp_path


@pytest.fixture
def plugins(package: Path, monkeypatch: pytest.MonkeyPatch) -> Plugins:
    monkeypatch.syspath_prepend(package)
    for module in ("lamp_plugin", "lamp_broken"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return Plugins()


def test_an_installed_package_adds_a_source_by_its_entry_point_alone(package: Path) -> None:
    code = """
import sys
from waypost.plugins import Plugins
plugins = Plugins()
print(*plugins.known("sources"))
print("lamp_plugin" in sys.modules, plugins.find("sources", "lamp").name, "lamp_plugin" in sys.modules)
print(plugins.find("sources", "static").name)
"""
    path = os.pathsep.join([str(package), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, cwd=package, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    known, lamp, static = done.stdout.splitlines()
    assert {"lamp", "static", "mesos"} <= set(known.split())
    assert lamp == "False lamp True"
    assert static == "static"


def test_an_unknown_type_says_which_are_known(plugins: Plugins) -> None:
    with pytest.raises(UnknownType) as raised:
        plugins.find("sinks", "consull")
    known = ", ".join(plugins.known("sinks"))
    assert str(raised.value) == f"unknown sink type `consull`; known: {known}; did you mean consul?"
    with pytest.raises(UnknownType, match=r"^unknown source type `qqq`; known: .*[a-z]$"):
        plugins.find("sources", "qqq")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken", "cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"),
        ("absent", "cannot be imported: AttributeError: module 'lamp_plugin' has no attribute 'NOTHING'"),
        ("text", "`lamp_plugin:TEXT` is a str; expected an AdapterType"),
        ("misnamed", "calls itself `candle`; the entry point's name must be the same"),
    ],
)
def test_a_broken_plugin_is_told_with_its_package_and_breaks_no_other(name: str, reason: str, plugins: Plugins) -> None:
    for _ in range(2):
        with pytest.raises(BrokenPlugin) as raised:
            plugins.find("sources", name)
        assert str(raised.value).startswith(f"source type `{name}` of package waypost-lamp 1.2")
        assert reason in str(raised.value)
    assert name in plugins.known("sources")
    assert plugins.find("sources", "lamp").name == "lamp"


def test_two_packages_with_one_name_are_refused() -> None:
    entries = [
        importlib.metadata.EntryPoint("lamp", f"{module}:SOURCE", "waypost.sources") for module in ("one", "other")
    ]
    with pytest.raises(BrokenPlugin, match="in several packages"):
        Plugins(entries).find("sources", "lamp")


def test_the_same_entry_found_twice_is_one() -> None:
    entries = [importlib.metadata.EntryPoint("static", "waypost_adapters.static:SOURCE", "waypost.sources")] * 2
    assert Plugins(entries).find("sources", "static").name == "static"
    assert Plugins(entries).known("sources") == ["static"]


def test_nothing_is_known_where_nothing_is_installed() -> None:
    with pytest.raises(UnknownType, match=r"^unknown elector type `x`; known: none$"):
        Plugins([]).find("electors", "x")


def test_every_adapter_of_this_distribution_can_be_opened() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    plugins = Plugins()
    for group in ("sources", "sinks"):
        for name in project["entry-points"][f"waypost.{group}"]:
            assert isinstance(plugins.find("sources" if group == "sources" else "sinks", name), AdapterType)
