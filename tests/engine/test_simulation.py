"""Whatever happens, in whatever order: the promises hold all through it, and at the end the sink equals the plan.

WAYPOST_SEEDS is how many lives are lived; a failing one is repeated by its seed.
"""

import os
from pathlib import Path

import pytest

from tests.engine.simulation import Life
from waypost.testing.virtual import virtual_test

SEEDS = int(os.environ.get("WAYPOST_SEEDS", "24"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_life_of_one_engine(tmp_path: Path, seed: int) -> None:
    @virtual_test
    async def life() -> None:
        await Life(tmp_path, seed).live(60)

    life()


@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_a_random_life_of_two_that_lead_in_turn(tmp_path: Path, seed: int) -> None:
    @virtual_test
    async def life() -> None:
        await Life(tmp_path, seed, leaders=2).live(60)

    life()
