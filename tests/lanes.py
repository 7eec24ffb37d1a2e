"""How `make test` divides the tests: what shares a server goes to one worker, and what takes long begins first.

`pytest -n N --dist loadfile` hands out files; by this module lanes too, which are several files that one worker runs
in their order. A lane's tests share what is dear to start (a Kubernetes API server, a Mesos, a Swarm), or they do
little but wait, so that other workers have the processors meanwhile. Tests that share nothing are handed out one by
one, at the end: no worker is left with a long file while the others have nothing to do.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# Lane → the files and folders in it; the longest lane first. What is in none is handed out after them, by files.
LANES: dict[str, tuple[str, ...]] = {
    "platforms' adapters": (
        "tests/adapters/mesos/",
        "tests/adapters/swarm/",
        "tests/real/test_everything.py",
        "tests/testbed/test_servers.py",
    ),
    "Kubernetes": ("tests/chart/", "tests/kube/", "tests/settings/"),
    "platforms": ("tests/matrix/test_idle.py", "tests/matrix/test_platforms.py"),
    "matrix": ("tests/matrix/test_matrix.py",),
    "failover": ("tests/docs/", "tests/ha/"),
    "Kubernetes' adapters": ("tests/adapters/kubernetes/", "tests/kit/kubernetes/"),
}
ONE_BY_ONE = ("tests/mutants/", "tests/simulation/", "tests/testing/")
DEAR = {"kubernetes", "mesos", "swarm"}  # fixtures of which not every worker should make its own


def unit(nodeid: str) -> str:
    """Return what a test is handed out with: its lane, its file, or itself alone."""
    for lane, places in LANES.items():
        if nodeid.startswith(places):
            return lane
    return nodeid if nodeid.startswith(ONE_BY_ONE) else nodeid.partition("::")[0]


def turn(name: str) -> int:
    """Return when a unit is handed out; of those with the same number, that with the most tests first."""
    return list(LANES).index(name) if name in LANES else len(LANES) + ("::" in name)


class InLanes(LoadScopeScheduling):
    """Hands out units; the base class keeps them by name, sorted by their number of tests."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=turn), last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> InLanes | None:
    """Divide the work as above, where it is to be divided by files."""
    return InLanes(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse a place that is not there, and a test that shares what is dear and is in no lane."""
    places = [*ONE_BY_ONE, *(place for lane in LANES.values() for place in lane)]
    if missing := [place for place in places if not Path(config.rootpath, place).exists()]:
        raise pytest.UsageError(f"tests/lanes.py names what is not there: {', '.join(missing)}")
    for item in items:
        dear = DEAR.intersection(getattr(item, "fixturenames", ()))
        if dear and unit(item.nodeid) not in LANES:
            raise pytest.UsageError(f"{item.nodeid} uses {', '.join(sorted(dear))}: name a lane in tests/lanes.py")
