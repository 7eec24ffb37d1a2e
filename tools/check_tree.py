"""Checks of the tree that no other tool makes; prints each finding and fails if there is one.

Looks at what git tracks, as it stands in the working tree. It changes nothing and asks no network.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

SOURCE_ROOTS = ("operator", "adapters")
INDEX_SETTINGS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "GOPROXY")
PATTERNS = {
    "names a package index": re.compile(
        r"index[-_]url[\"']?[ =:]+[\"']?https?:"
        r"|pypi[.]org/simple|files[.]pythonhosted[.]org|proxy[.]golang[.]org|registry[.]npmjs[.]org"
        r"|(?:deb|security)[.]debian[.]org|(?:index|static)[.]crates[.]io|repo1?[.]maven[.]"
        r"|https?://[^\s\"'<>]+/simple/?(?=[\s\"'<>]|$)",
        re.IGNORECASE,
    ),
    "names a path of one machine": re.compile(r"(?<![\w.-])/(?:work|root|home/[\w.-]+)/"),
    "has a merge conflict": re.compile(r"^(?:<{7}|>{7}|[|]{7}) ", re.MULTILINE),
}


def main(root: Path) -> int:
    """Print what is wrong with the tree at root; the exit status, 1 if anything is."""
    paths = tracked(root)
    hosts = index_hosts(os.environ)
    found = [*source_roots(root), *documented(root), *decisions(root)]
    for path in paths:
        found.extend(f"{path}{finding}" for finding in text_findings(read(root / path), hosts))
    for finding in found:
        print(finding)
    return 1 if found else 0


def tracked(root: Path) -> list[str]:
    """What git tracks under root, except for what is deleted in the working tree."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True).stdout
    return [path for path in listing.split("\0") if path and (root / path).is_file()]


def read(path: Path) -> str:
    """The file's text; empty when there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def source_roots(root: Path) -> Iterator[str]:
    """A source root must not be a package: it would shadow the standard library's `operator`."""
    for name in SOURCE_ROOTS:
        if (root / name / "__init__.py").exists():
            yield f"{name}/__init__.py: {name}/ is a source root and must not be a package; remove the file"


def text_findings(text: str, hosts: Iterable[str]) -> Iterator[str]:
    """What a tracked file must not say, each as `:LINE: …`."""
    for meaning, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            yield f":{line_of(text, match.start())}: {meaning}: {match[0].strip()}"
    for host in hosts:
        if (position := text.find(host)) >= 0:
            yield f":{line_of(text, position)}: names this machine's package index: {host}"


def line_of(text: str, position: int) -> int:
    """The 1-based line of a position."""
    return text.count("\n", 0, position) + 1


def index_hosts(environment: Mapping[str, str]) -> set[str]:
    """The hosts of the package indexes this machine is set to use, by environment or pip's configuration."""
    settings = [environment.get(name, "") for name in INDEX_SETTINGS]
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=False, capture_output=True, text=True
    ).stdout
    settings += [line for line in pip.splitlines() if "index" in line.partition("=")[0]]
    urls = [url for setting in settings for url in re.findall(r"https?://[^\s,|'\"]+", setting)]
    return {host for url in urls if (host := urlsplit(url).hostname) and host not in {"localhost", "127.0.0.1", "::1"}}


def documented(root: Path) -> Iterator[str]:
    """Every adapter has a README, and every dependency and extra its reason in docs/dependencies.md."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for group, entries in project.get("entry-points", {}).items():
        for name, target in entries.items():
            folder = Path("adapters", *target.partition(":")[0].split("."))
            if not (root / folder / "README.md").exists():
                yield f"pyproject.toml: {group} names {name}, and {folder}/README.md does not describe it"
    reasons = read(root / "docs/dependencies.md").lower()
    extras = project.get("optional-dependencies", {})
    requirements = [*project.get("dependencies", []), *(item for items in extras.values() for item in items)]
    names = {re.split(r"[\s\[<>=!~;]", requirement)[0] for requirement in requirements} - {project["name"]}
    for name in sorted(names | set(extras)):
        if f"`{name.lower()}`" not in reasons:
            yield f"docs/dependencies.md: says nothing of `{name}`, which pyproject.toml names"


def decisions(root: Path) -> Iterator[str]:
    """No two decisions have one number: what was written side by side is renumbered when it meets."""
    numbers: dict[str, str] = {}
    for path in sorted((root / "docs/adr").glob("*.md")):
        number = path.name.partition("-")[0]
        if number in numbers:
            yield f"docs/adr/{path.name}: {numbers[number]} has this number; take the next one"
        numbers[number] = path.name


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parents[1]))
