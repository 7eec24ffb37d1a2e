"""The import contracts of pyproject.toml fail when a line of code breaks them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A tree with our contracts and one empty module for every part that they name."""
    shutil.copy(TREE / "pyproject.toml", tmp_path)
    product, adapters = tmp_path / "operator/waypost", tmp_path / "adapters/waypost_adapters"
    for package in (
        *(product / part for part in ("", "engine", "kube", "kit", "kit/kubernetes")),
        *(adapters / system for system in ("", "static", "mesos")),
    ):
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
    for module in ("model", "choice", "adapter", "settings", "plugins"):
        (product / f"{module}.py").touch()
    (product / "kube/lifecycle.py").write_text("import kopf\n")  # a contract names it
    return tmp_path


def broken(tree: Path) -> str:
    """What lint-imports says of the tree; empty when every contract is kept."""
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": f"{tree}/operator:{tree}/adapters"},
        check=False,
        capture_output=True,
        text=True,
    )
    return result.stdout + result.stderr if result.returncode else ""


def test_parts_that_keep_to_the_layers_pass(copy: Path) -> None:
    (copy / "operator/waypost/engine/match.py").write_text("import waypost.settings\nimport waypost.model\n")
    (copy / "operator/waypost/kube/shell.py").write_text("import waypost.kube.lifecycle\n")
    (copy / "operator/waypost/kit/kubernetes/client.py").write_text("import kubernetes\n")
    (copy / "adapters/waypost_adapters/mesos/source.py").write_text(
        "import waypost.kit.kubernetes\nimport waypost.adapter\n"
    )
    assert broken(copy) == ""


@pytest.mark.parametrize(
    ("path", "line", "sentence"),
    [
        ("operator/waypost/engine/plan.py", "import waypost_adapters.static", "The product never imports an adapter"),
        ("operator/waypost/settings.py", "import waypost.engine", "knows only the parts below it"),
        ("operator/waypost/extra.py", "", "knows only the parts below it"),
        ("adapters/waypost_adapters/mesos/source.py", "import waypost.engine", "an adapter imports only"),
        ("adapters/waypost_adapters/mesos/source.py", "import waypost.plugins", "an adapter imports only"),
        ("adapters/waypost_adapters/mesos/source.py", "import waypost_adapters.static", "No adapter imports another"),
        ("operator/waypost/engine/plan.py", "import kopf", "Only waypost.kube.lifecycle imports kopf"),
        ("operator/waypost/kube/shell.py", "import kopf", "Only waypost.kube.lifecycle imports kopf"),
        ("operator/waypost/kube/lifecycle.py", "import kopf, waypost.engine", "No handler of kopf touches"),
        ("operator/waypost/kube/shell.py", "import kubernetes", "Only waypost.kit.kubernetes imports"),
    ],
)
def test_a_line_that_breaks_a_contract_is_named_by_its_sentence(
    copy: Path, path: str, line: str, sentence: str
) -> None:
    (copy / path).write_text(f"{line}\n")
    assert any(sentence in row and "BROKEN" in row for row in broken(copy).splitlines())
