"""What pyproject.toml asks for is pinned, by hash, and from no particular package index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

TREE = Path(__file__).parents[2]
PROJECT = tomllib.loads((TREE / "pyproject.toml").read_text(encoding="utf-8"))
PINS = sorted((TREE / "requirements").glob("*.txt"))


def requirements(*, dev: bool) -> list[Requirement]:
    lists = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    if dev:
        lists += [PROJECT["dependency-groups"]["dev"], PROJECT["build-system"]["requires"]]
    found = [Requirement(line) for lines in lists for line in lines]
    return [requirement for requirement in found if requirement.name != PROJECT["project"]["name"]]


def pins(name: str) -> dict[str, str]:
    text = (TREE / "requirements" / name).read_text(encoding="utf-8")
    return {
        canonicalize_name(match[1]): match[2] for match in re.finditer(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE)
    }


@pytest.mark.parametrize(("name", "dev"), [("run.txt", False), ("dev.txt", True)])
def test_what_is_asked_for_is_pinned_to_a_version_that_fits(name: str, dev: bool) -> None:
    pinned = pins(name)
    unmet = [
        str(requirement)
        for requirement in requirements(dev=dev)
        if not requirement.specifier.contains(pinned.get(canonicalize_name(requirement.name), "0"), prereleases=True)
    ]
    assert unmet == [], "run: make pins"


def test_the_tools_run_on_the_versions_that_the_product_is_pinned_to() -> None:
    assert pins("run.txt").items() <= pins("dev.txt").items()


@pytest.mark.parametrize("path", PINS, ids=lambda path: path.name)
def test_pins_have_hashes_and_name_no_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    for block in re.split(r"\n(?=[\w])", text):
        if not block.startswith("#"):
            assert "--hash=sha256:" in block, block.splitlines()[0]


def test_the_protobuf_asked_for_can_load_the_generated_modules() -> None:
    [asked] = [requirement.specifier for requirement in requirements(dev=False) if requirement.name == "protobuf"]
    floor = next(Version(part.version) for part in asked if part.operator == ">=")
    modules = [path.read_text(encoding="utf-8") for path in (TREE / "operator").rglob("*_pb2.py")]
    made_by = [
        Version(match[1])
        for text in modules
        if (match := re.search(r"^# Protobuf Python Version: (.+)$", text, re.MULTILINE))
    ]
    assert made_by
    assert max(made_by) <= floor
