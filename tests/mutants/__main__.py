"""Flips the engine's decisions one at a time and runs the quick tests on each: every flip must make one fail.

    python -m tests.mutants [PART OF A NAME…]

Tests most likely to see it run first; what they let pass meets all the quick tests. Ends with 1 when one survived.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.decisions import DECISIONS, Decision

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "operator" / "waypost" / "engine"
QUICK = ("-m", "not server and not slow")
JOBS = int(os.environ.get("JOBS", "2"))
LIMIT_SECONDS = 900  # a flip that makes the tests hang is seen by their own time-outs long before


def first_tests(decision: Decision) -> list[str]:
    """Return the tests that should see it: the module's own, then those of the engine and of the promises."""
    own = f"tests/engine/test_{decision.module}.py"
    return [*([own] if (ROOT / own).exists() else []), "tests/engine", "tests/promises"]


def flip(decision: Decision, source: str) -> str:
    """Return the module's text with the decision flipped. Raises ValueError where it is not there exactly once."""
    if (found := source.count(decision.text)) != 1:
        raise ValueError(f"{decision.module}.py has {found} × {decision.text!r}")
    return source.replace(decision.text, decision.flipped)


def killed_by(decision: Decision | None) -> str:
    """Run the tests on a copy with the decision flipped (None: as it is); the first that failed, "" where none did."""
    with tempfile.TemporaryDirectory(prefix="waypost-mutant-") as folder:
        shutil.copytree(ROOT / "operator", Path(folder) / "operator", ignore=shutil.ignore_patterns("__pycache__"))
        if decision is not None:
            copy = Path(folder) / "operator" / "waypost" / "engine" / f"{decision.module}.py"
            copy.write_text(flip(decision, copy.read_text()))
        for paths in (*([path] for path in first_tests(decision)), ["tests"]) if decision is not None else (["tests"],):
            if found := _failing(Path(folder), paths):
                return found
    return ""


def _failing(folder: Path, paths: list[str]) -> str:
    environment = os.environ | {"PYTHONPATH": str(folder / "operator"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", *QUICK, *paths]
    base = ["--basetemp", str(folder / "tmp")]
    ran = subprocess.run(
        [*command, *base], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )
    if ran.returncode == 0:
        return ""
    if ran.returncode != 1:
        return f"the tests could not run: {ran.stdout[-200:]}{ran.stderr[-200:]}"
    return next((line.split(" ")[1] for line in ran.stdout.splitlines() if line.startswith("FAILED ")), "a test")


def main(wanted: list[str]) -> int:
    """Try the decisions whose module or meaning has one of the words; all where none is given."""
    chosen = [d for d in DECISIONS if not wanted or any(word in f"{d.module} {d.breaks}" for word in wanted)]
    began = time.monotonic()
    print("mutants: first the quick tests as they are: what fails then would seem to see every flip", flush=True)
    if failed := killed_by(None):
        print(f"mutants: {failed} fails with nothing flipped; mend that first")
        return 1
    survivors = []
    with ThreadPoolExecutor(JOBS) as pool:
        for decision, by in zip(chosen, pool.map(killed_by, chosen), strict=True):
            print(f"{'killed  ' if by else 'SURVIVED'} {decision.module:7} {decision.breaks}: {by or '—'}", flush=True)
            if not by:
                survivors.append(decision)
    print(f"mutants: {len(chosen) - len(survivors)} of {len(chosen)} killed in {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
