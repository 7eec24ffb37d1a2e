"""The simulation sees what it is there to see: engines that are broken on purpose, and the one that is not."""

import re
from itertools import chain
from pathlib import Path

import pytest

from tests.simulation.judge import PROMISES
from tests.simulation.variants import ROOT, SEEDS, Found, Variant, broken_by, broken_copy, variants

VARIANTS = variants()
each = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)


def test_each_promise_is_broken_by_one_and_the_docs_name_them() -> None:
    assert {variant.promise for variant in VARIANTS} == set(PROMISES) - {0}
    rows = re.findall(r"^\| `([\w-]+)` \| (\d+) \| (.+) \|$", (ROOT / "docs/simulation.md").read_text(), re.MULTILINE)
    assert rows == [(variant.name, str(variant.promise), variant.breaks) for variant in VARIANTS]


@each
def test_it_applies_to_the_engine_as_it_is(variant: Variant, tmp_path: Path) -> None:
    assert variant.promise in PROMISES
    broken_copy(variant, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # seconds, where the seed that the patch names shows it no more
@each
def test_a_broken_engine_is_seen_within_the_first_thousand_schedules(variant: Variant, tmp_path: Path) -> None:
    assert variant.seed < SEEDS
    engine = broken_copy(variant, tmp_path)
    found = broken_by(variant.seeds, engine, until=variant.promise)
    if variant.promise not in _promises(found):
        found = broken_by(range(SEEDS), engine, until=variant.promise)
    assert variant.promise in _promises(found), (
        f"no seed below {SEEDS} shows that {variant.name} breaks promise {variant.promise}; what is shown: {found}. "
        "See docs/simulation.md, Broken engines"
    )


def _promises(found: list[Found]) -> set[int]:
    return {violation.promise for violation in found}


@pytest.mark.slow
@pytest.mark.timeout(900)  # seconds, for a hundred schedules, on a machine that is busy
def test_the_engine_that_is_not_broken_breaks_nothing_on_the_same_schedules() -> None:
    assert broken_by(sorted(set(chain.from_iterable(variant.seeds for variant in VARIANTS)))) == []
