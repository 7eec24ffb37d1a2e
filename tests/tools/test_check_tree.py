"""What the tree must not contain is found, and named with its line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import check_tree

TREE = Path(__file__).parents[2]


def findings(text: str, *hosts: str) -> list[str]:
    return list(check_tree.text_findings(text, hosts))


# Put together here, so that this file itself passes the check.
@pytest.mark.parametrize(
    "text",
    [
        "pip install --index-" + "url https://mirror.test/x",
        "url = https://mirror.test/api/pypi" + "/simple/",
        "GOPROXY=https://proxy." + "golang.org",
        "cd /" + "work/main",
        '"/' + 'root/.cache"',
        "see /" + "home/ann/notes",
        "a\n" + "<" * 7 + " ours\nb",
        "b\n" + ">" * 7 + " theirs",
    ],
)
def test_what_belongs_to_one_machine_or_an_unfinished_merge_is_found(text: str) -> None:
    assert len(findings(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "uv pip compile --no-emit-index-url",
        "https://example.test/work/flow",
        "network/root/hints",
        "a simple/plain text, ./work/ here",
        "======= a heading =======",
        "home/",
    ],
)
def test_what_only_looks_alike_is_left_alone(text: str) -> None:
    assert findings(text) == []


def test_a_finding_names_its_line() -> None:
    assert findings("one\ntwo\nat packages.test:\n", "packages.test") == [
        ":3: names this machine's package index: packages.test"
    ]


def test_the_hosts_of_the_machines_indexes_come_from_its_settings_without_credentials() -> None:
    hosts = check_tree.index_hosts(
        {"UV_DEFAULT_INDEX": "https://me:secret@packages.test/x", "GOPROXY": "https://go.test,direct"}
    )
    assert {"packages.test", "go.test"} <= hosts
    assert not any("secret" in host for host in hosts)


@pytest.mark.parametrize("root", check_tree.SOURCE_ROOTS)
def test_a_source_root_that_became_a_package_is_found(tmp_path: Path, root: str) -> None:
    (tmp_path / root).mkdir()
    assert list(check_tree.source_roots(tmp_path)) == []
    (tmp_path / root / "__init__.py").touch()
    assert len(list(check_tree.source_roots(tmp_path))) == 1


def test_an_adapter_or_dependency_without_a_word_of_documentation_is_found(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        """
        [project]
        name = "waypost"
        dependencies = ["alpha>=1", "Beta; sys_platform != 'win32'"]
        [project.optional-dependencies]
        gamma = ["delta[x]>=2"]
        all = ["waypost[gamma]"]
        [project.entry-points."waypost.sinks"]
        box = "some_adapters.box:SINK"
        """,
        encoding="utf-8",
    )
    assert len(list(check_tree.documented(tmp_path))) == 6
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/dependencies.md").write_text("`alpha` `beta` `gamma` `delta` `all`", encoding="utf-8")
    (tmp_path / "adapters/some_adapters/box").mkdir(parents=True)
    (tmp_path / "adapters/some_adapters/box/README.md").touch()
    assert list(check_tree.documented(tmp_path)) == []


def test_no_two_decisions_have_one_number(tmp_path: Path) -> None:
    (tmp_path / "docs/adr").mkdir(parents=True)
    for name in ("0001-a.md", "0002-b.md", "0002-c.md"):
        (tmp_path / "docs/adr" / name).touch()
    (finding,) = check_tree.decisions(tmp_path)
    assert finding.startswith("docs/adr/0002-c.md: 0002-b.md has this number")


def test_a_finding_in_a_tracked_file_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/check_tree.py").write_bytes((TREE / "tools/check_tree.py").read_bytes())
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "waypost"\n', encoding="utf-8")
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    command = [sys.executable, "tools/check_tree.py"]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    (tmp_path / "notes.md").write_text("in /" + "home/ann/notes", encoding="utf-8")
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    result = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stdout.startswith("notes.md:1: names a path of one machine")
