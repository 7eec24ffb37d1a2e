"""The decisions that `make mutants` flips are there, and each flip is a program."""

import ast

import pytest

from tests.mutants.__main__ import ENGINE, flip
from tests.mutants.decisions import DECISIONS, Decision


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda decision: f"{decision.module}: {decision.breaks}")
def test_it_stands_there_once_and_its_flip_is_a_program(decision: Decision) -> None:
    flipped = flip(decision, (ENGINE / f"{decision.module}.py").read_text())
    ast.parse(flipped)


def test_there_are_enough_of_them_in_each_part() -> None:
    assert len(DECISIONS) >= 30
    assert len(set(DECISIONS)) == len(DECISIONS)
    for module in ("plan", "policy", "holds", "writer"):
        assert sum(decision.module == module for decision in DECISIONS) >= 6
