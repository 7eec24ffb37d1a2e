"""The package to begin a plugin from: copied out of the tree, it passes its tests and is found by its entry point."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"
MANIFEST = """\
apiVersion: waypost.dev/v1alpha1
kind: ServiceSource
metadata: {name: racks}
spec: {type: inventory, environment: test, config: {path: inventory.txt}}
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The example as pip would install it, without asking any index."""
    folder = tmp_path / "plugin"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    sources = project["entry-points"]["waypost.sources"]
    (info / "entry_points.txt").write_text(
        "[waypost.sources]\n" + "".join(f"{name} = {value}\n" for name, value in sources.items())
    )
    return folder


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_it_passes_what_every_source_promises_and_its_own_tests(copy: Path) -> None:
    done = python(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "--tb=short")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_waypost_finds_it_and_says_what_it_sees(copy: Path) -> None:
    (copy / "racks.yaml").write_text(MANIFEST)
    (copy / "inventory.txt").write_text("web 10.0.0.7 8080\n# end\n")
    done = python(copy, "-m", "waypost", "discover", "-f", "racks.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "web" in done.stdout
