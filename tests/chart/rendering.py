"""What the chart makes, with some values."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from testbed.cache import program

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/waypost"
SECONDS = 120


def helm(*arguments: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm, with a home of its own for what it caches; the values are read from its standard input."""
    given = ["--values", "-"] if values is not None else []
    with tempfile.TemporaryDirectory(prefix="waypost-helm-") as home:
        return subprocess.run(
            [program("helm", "helm"), *arguments, *given],
            input=json.dumps(values) if values is not None else None,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env={"HOME": home, "PATH": "/usr/bin:/bin"},
        )


def rendered(**values: Any) -> dict[tuple[str, str], Any]:
    """Return the objects by kind and name, as a release `waypost` in the namespace `operators`."""
    done = helm("template", "waypost", str(CHART), "--namespace", "operators", values=values)
    assert done.returncode == 0, done.stderr
    found = [each for each in yaml.load_all(done.stdout, yaml.CSafeLoader) if each]
    made = {(each["kind"], each["metadata"]["name"]): each for each in found}
    assert len(made) == len(found)
    return made
