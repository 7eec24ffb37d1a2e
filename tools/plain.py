"""The plain manifests, charts/waypost.yaml: what the chart makes with its defaults, for `kubectl apply --server-side`.

Where helm is not in the testbed, it says so and leaves the file as it is; a test compares it where helm is.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PLAIN = ROOT / "charts/waypost.yaml"
NAMESPACE = "waypost"
HEADER = f"""\
# Made by `make generate` from the chart charts/waypost with its defaults; for `kubectl apply --server-side -f`.
# Everything that has a namespace is in `{NAMESPACE}`.
"""
HELMS = ("helm.sh/chart", "helm.sh/resource-policy")  # labels and annotations that say nothing without helm


def rendered(helm: str) -> list[dict[str, Any]]:
    """What the chart makes."""
    command = [helm, "template", "waypost", str(ROOT / "charts/waypost"), "--namespace", NAMESPACE, "--no-hooks"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]


def plain(helm: str) -> str:
    """The plain manifests as text."""
    space = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    documents = [space, *rendered(helm)]
    for each in documents:
        for key in ("labels", "annotations"):
            given = each["metadata"].pop(key, {}).items()
            if kept := {name: text for name, text in given if name not in HELMS and text != "Helm"}:
                each["metadata"][key] = kept
    return HEADER + yaml.safe_dump_all(documents, sort_keys=False, width=120, allow_unicode=True)


def main() -> None:
    """Write the file."""
    sys.path.insert(0, str(ROOT))
    from testbed.cache import program
    from testbed.parts import MissingError, require

    try:
        require("helm")
    except MissingError as error:
        print(f"generate: charts/waypost.yaml is left as it is: {error}")
        return
    PLAIN.write_text(plain(program("helm", "helm")), encoding="utf-8")


if __name__ == "__main__":
    main()
