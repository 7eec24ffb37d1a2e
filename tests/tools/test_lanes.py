"""The tests are divided so that lanes stay whole and go first, and each test is handed out once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.lanes import LANES, InLanes, turn, unit

COLLECTED = [
    "tests/adapters/kubernetes/test_a.py::test_1",
    "tests/adapters/kubernetes/test_a.py::test_2",
    "tests/adapters/kubernetes/test_b.py::TestB::test_3",
    *(f"tests/engine/test_a.py::test_{n}" for n in range(9)),
    *(f"tests/kit/test_a.py::test_{n}" for n in range(12)),
    "tests/kit/kubernetes/test_a.py::test_4",
    *(f"tests/matrix/test_matrix.py::test_fault[{n}]" for n in range(4)),
    *(f"tests/simulation/test_simulation.py::test_seeds[{n}]" for n in range(6)),
]


class Worker:
    """Stands in for a worker: runs what it is sent, in order, and says so."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.sent: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.sent += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def divided(workers: int) -> list[list[str]]:
    """Return what each worker runs, in order, where all tests take the same time."""
    nodes: list[Any] = [Worker(f"gw{n}") for n in range(workers)]
    config: Any = SimpleNamespace(
        option=SimpleNamespace(loadscopereorder=True), getvalue=lambda _name: [f"{workers}*popen"]
    )
    made = InLanes(config)
    for node in nodes:
        made.add_node(node)
        made.add_node_collection(node, COLLECTED)
    made.schedule()
    for step in range(len(COLLECTED)):
        for node in nodes:
            if step < len(node.sent):
                made.mark_test_complete(node, node.sent[step])
    assert made.tests_finished
    return [[COLLECTED[index] for index in node.sent] for node in nodes]


@pytest.mark.parametrize("workers", [1, 2, 3, 6])
def test_each_test_is_handed_out_once_and_a_lane_to_one_worker_in_order(workers: int) -> None:
    found = divided(workers)
    assert sorted(test for tests in found for test in tests) == sorted(COLLECTED)
    for lane in ("matrix", "Kubernetes' adapters"):
        in_lane = [[test for test in tests if unit(test) == lane] for tests in found]
        (whole,) = filter(None, in_lane)
        assert whole == [test for test in COLLECTED if unit(test) == lane]


def test_lanes_go_first_then_files_by_their_number_of_tests_and_at_the_end_what_shares_nothing() -> None:
    (alone,) = divided(1)
    units = list(dict.fromkeys(map(unit, alone)))
    assert units[:4] == ["matrix", "Kubernetes' adapters", "tests/kit/test_a.py", "tests/engine/test_a.py"]
    assert [name for name in units if "::" in name] == units[4:] == alone[-6:]


def test_no_lane_takes_another_s_tests() -> None:
    for lane, places in LANES.items():
        assert [unit(f"{place}::test") for place in places] == [lane] * len(places)
        assert turn(lane) < turn("tests/kit/test_grammar.py") < turn("tests/simulation/test_broken.py::test_a")
