"""The guide for authors of adapters is true: its code is a package that works and passes the conformance suites."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from waypost import adapter

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "adapters.md").read_text()
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", GUIDE, re.DOTALL))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The guide's files, installed as pip would: with the entry points of its pyproject.toml."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    shutil.copy(Path(__file__).with_name("systems.py"), tmp_path)
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    entries = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in names.items())
        for group, names in project["entry-points"].items()
    ]
    info.joinpath("entry_points.txt").write_text("\n".join(entries))
    return tmp_path


def python(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(package), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=package,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_its_adapters_pass_the_conformance_suites(package: Path) -> None:
    (package / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    options = ["-q", "-p", "no:cacheprovider", "-W", "error", "--tb=short", "-rs"]
    done = python(package, "-m", "pytest", *options, "test_depot_and_shelf.py")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    counted = re.search(r"(\d+) passed", done.stdout)
    assert counted is not None
    assert int(counted[1]) >= 40, done.stdout[-2000:]


def test_its_package_adds_both_types(package: Path) -> None:
    code = "p = Plugins(); print(p.find('sources', 'depot').name, p.find('sinks', 'shelf').name)"
    done = python(package, "-c", f"from waypost.plugins import Plugins; {code}")
    assert done.stdout.split() == ["depot", "shelf"], done.stderr


def test_a_newcomer_s_source_is_short() -> None:
    code = FILES["waypost_depot.py"]
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith(("import", "from", '"""'))]
    assert len(lines) <= 45


def test_every_python_block_is_python() -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len(blocks) == len([name for name in FILES if name.endswith(".py")]) + 1
    for block in blocks:
        ast.parse(block)


def test_every_error_is_explained() -> None:
    errors = [
        name
        for name in adapter.__all__
        if isinstance(kind := getattr(adapter, name), type) and issubclass(kind, Exception)
    ]
    assert len(errors) == 5
    for name in errors:
        assert re.search(rf"\| `{name}`", GUIDE), f"{name} is not in the table of errors"


@pytest.mark.parametrize("link", re.findall(r"\]\((\.\./[^)]+)\)", GUIDE))
def test_its_links_lead_somewhere(link: str) -> None:
    assert (ROOT / "docs" / link).exists()
