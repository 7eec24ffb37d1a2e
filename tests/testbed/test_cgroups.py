"""What a killed test leaves of an engine is removed later, and nobody else's is touched."""

import os
from pathlib import Path

import pytest

from testbed.servers import swarm

NOBODY = 2**30  # no process has such a number


def test_old_groups_of_processes_that_are_gone_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarm, "CGROUPS", tmp_path)
    names = {
        "gone": f"waypost-testbed-{NOBODY}-wpsw-a",
        "there": f"waypost-testbed-{os.getpid()}-wpsw-b",
        "new": f"waypost-testbed-{NOBODY}-wpsw-c",
        "foreign": "system.slice",
    }
    for hierarchy in (tmp_path, tmp_path / "cpu"):
        for which, name in names.items():
            (hierarchy / name / "container" / "inner").mkdir(parents=True)
            if which != "new":
                os.utime(hierarchy / name, (0, 0))
    swarm.clear_after_the_killed()
    for hierarchy in (tmp_path, tmp_path / "cpu"):
        assert {path.name for path in hierarchy.iterdir()} - {"cpu"} == set(names.values()) - {names["gone"]}
