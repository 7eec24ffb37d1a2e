"""What a stamp found in the target means for who may write."""

from __future__ import annotations

import pytest

from waypost.adapter import Fence, Fenced, NotClaimed, PermanentError
from waypost_adapters.etcd.stamp import Stamp, judge, stamp_key

KEY = stamp_key("/waypost/.waypost", "prod/eu")
FENCE = Fence(5, 2)


def test_the_stamp_stands_below_the_layouts_root() -> None:
    assert KEY == b"/waypost/.waypost/owners/prod%2Feu"
    assert Stamp("prod", 5, 2).encode() == b'{"environment":"prod","epoch":5,"generation":2}'


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        (None, NotClaimed, "is absent"),
        (Stamp("prod", 6, 0).encode(), Fenced, "epoch 6, ours is 5"),
        (Stamp("prod", 4, 9).encode(), NotClaimed, "older than ours"),
        (Stamp("prod", 5, 1).encode(), NotClaimed, "older than ours"),
        (b'{"environment": "prod", "epoch": 5, "generation": 2}', NotClaimed, "not as Waypost writes it"),
        (Stamp("staging", 5, 2).encode(), PermanentError, "says environment `staging`, this sink `prod`"),
        (b"", PermanentError, "cannot be read"),
        (b"\xff", PermanentError, "cannot be read"),
        (b'{"epoch":5}', PermanentError, "cannot be read"),
    ],
)
def test_a_stamp_that_is_not_the_fences_own_stops_the_write(
    value: bytes | None, kind: type[Exception], says: str
) -> None:
    verdict = judge(KEY, value, "prod", FENCE)
    assert type(verdict) is kind
    assert says in str(verdict)
    assert "/waypost/.waypost/owners/prod%2Feu" in str(verdict)


def test_the_fences_own_stamp_lets_it_pass_and_a_newer_generation_is_told() -> None:
    assert judge(KEY, Stamp("prod", 5, 2).encode(), "prod", FENCE) is None
    assert judge(KEY, Stamp("prod", 5, 3).encode(), "prod", FENCE) == Stamp("prod", 5, 3)
