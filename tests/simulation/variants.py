"""Broken variants of the engine: does the simulation see what it is there to see?

`broken/NAME.patch` makes one of them: what it breaks in its first line, the seed that shows it in its second, then a
unified diff from the root of the tree. `python -m tests.simulation.variants [NAME…]` looks for the seeds anew, from 0
on, and writes them into the patches.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

__all__ = ["SEEDS", "Found", "Stale", "Variant", "broken_by", "broken_copy", "variants"]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).with_name("broken")
SEEDS = 1000  # of so many, one must show it
BESIDE = 2  # seeds before the one that shows it, which are run as well
LIMIT_SECONDS = 1800.0
_HEADER = re.compile(r"Promise (\d+): (.+)\.\nFound by seed (\d+)\.\n\n")


class Stale(Exception):
    """A patch does not apply, or does not read as it should; says which, and what is to be done."""


class Found(msgspec.Struct, frozen=True):
    """A violation that a seed shows."""

    seed: int
    promise: int
    what: str


class Variant(msgspec.Struct, frozen=True):
    """One broken variant: the promise, what it breaks, and the seed known to show it."""

    path: Path
    promise: int
    breaks: str
    seed: int

    @property
    def name(self) -> str:
        """Its name, as the docs have it."""
        return self.path.stem

    @property
    def seeds(self) -> range:
        """The seeds that are run: the one that shows it, and those just before."""
        return range(max(0, self.seed - BESIDE), self.seed + 1)


def variants() -> list[Variant]:
    """Return all variants. Raises Stale where a patch has no header as described above."""
    return [_read(path) for path in sorted(FOLDER.glob("*.patch"))]


def _read(path: Path) -> Variant:
    header = _HEADER.match(path.read_text())
    if header is None:
        raise Stale(f"{path} must begin with `Promise N: what it breaks.`, `Found by seed N.` and an empty line")
    return Variant(path, int(header[1]), header[2], int(header[3]))


def broken_copy(variant: Variant, folder: Path) -> Path:
    """Put a copy of `operator/` with the patch applied into a folder; return where Python finds it.

    Raises Stale where the patch does not apply.
    """
    shutil.copytree(ROOT / "operator", folder / "operator", ignore=shutil.ignore_patterns("__pycache__"))
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    outside["GIT_CEILING_DIRECTORIES"] = str(folder.resolve().parent)  # the folder is in no repository, wherever it is
    command = ["git", "apply", "-p1", "--whitespace=nowarn", str(variant.path)]
    applied = subprocess.run(command, cwd=folder, env=outside, capture_output=True, text=True, check=False)
    if applied.returncode != 0:
        raise Stale(
            f"{variant.path.relative_to(ROOT)} does not apply to the engine any more, so it must be renewed (how: "
            f"docs/simulation.md, Broken engines): {applied.stderr.strip()}"
        )
    return folder / "operator"


def broken_by(seeds: Iterable[int], engine: Path | None = None, *, until: int | None = None) -> list[Found]:
    """Run seeds with the engine in a folder (None: the tree's own) in a process of its own; return what they break.

    It ends with the first seed that breaks the promise `until`, if one is given.
    """
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = str(engine if engine is not None else ROOT / "operator")
    asked = json.dumps([environment["PYTHONPATH"], list(seeds), until])
    ran = subprocess.run(
        [sys.executable, "-m", "tests.simulation.variants", "--run", asked],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    if ran.returncode != 0:
        raise RuntimeError(f"the simulation did not run: {ran.stdout[-1000:]}{ran.stderr[-2000:]}")
    return [msgspec.json.decode(line, type=Found) for line in ran.stdout.splitlines()]


def _run(engine: str, seeds: list[int], until: int | None) -> None:
    """Run seeds, and print what they break, a line of JSON each; in the process that `broken_by` starts."""
    import waypost.engine.engine  # the engine that is meant, and no other
    from tests.simulation.draw import drawn
    from tests.simulation.run import run

    if not Path(waypost.engine.engine.__file__).resolve().is_relative_to(Path(engine).resolve()):
        raise RuntimeError(f"the engine of {waypost.engine.engine.__file__} runs, and not that of {engine}")
    for seed in seeds:
        violations = run(drawn(seed)).violations
        for each in violations:
            print(msgspec.json.encode(Found(seed, each.promise, each.what)).decode(), flush=True)
        if any(each.promise == until for each in violations):
            return


def _renew(names: list[str]) -> int:
    """Look for the first seed that shows each variant, and write it into its patch; 1 where one is not shown."""
    missed = 0
    for variant in variants():
        if names and variant.name not in names:
            continue
        with tempfile.TemporaryDirectory(prefix="waypost-broken-") as folder:
            found = broken_by(range(SEEDS), broken_copy(variant, Path(folder)), until=variant.promise)
        shown = [each for each in found if each.promise == variant.promise]
        if shown:
            text = variant.path.read_text()
            variant.path.write_text(text.replace(f"seed {variant.seed}.\n", f"seed {shown[0].seed}.\n", 1))
            print(f"{variant.name}: seed {shown[0].seed}: {shown[0].what}", flush=True)
        else:
            missed = 1
            others = ", ".join(f"seed {each.seed} breaks {each.promise}" for each in found[:5]) or "nothing else either"
            print(f"{variant.name}: no seed below {SEEDS} breaks promise {variant.promise} ({others})", flush=True)
    return missed


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        _run(*json.loads(sys.argv[2]))
    else:
        sys.exit(_renew(sys.argv[1:]))
