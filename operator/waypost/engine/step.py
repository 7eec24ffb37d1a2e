"""One step of a plan: what to do for one instance of one publication in one sink."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from waypost.adapter import Change
from waypost.model import PublicationKey

if TYPE_CHECKING:
    from waypost.engine.policy import Cause, HoldCause

__all__ = ["Step"]


class Step(msgspec.Struct, frozen=True):
    """What to do for one instance: `puts` first; `removals` (keys) when those are acknowledged.

    `withdraws`: it is ready in the sink and will not be after the whole step. `changes`: a ready record is rewritten in
    place. `hold`: a cause for which a person must be asked, whatever the budgets say. `release`: what is removed stays
    in the sink, and is ours no more.
    """

    key: PublicationKey
    instance: str
    puts: tuple[Change, ...] = ()
    removals: tuple[str, ...] = ()
    withdraws: bool = False
    changes: bool = False
    cause: Cause = "source"
    hold: HoldCause | None = None
    release: bool = False
    reason: str = ""
