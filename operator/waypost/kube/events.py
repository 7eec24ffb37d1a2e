"""Which Events are posted about an object, and in which words. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from waypost.kube.holds import What
from waypost.kube.objects import Item
from waypost.kube.report import Status
from waypost.settings.status import Condition

__all__ = ["Post", "tell_hold", "tell_status", "tell_timeout"]

Post = Callable[[Item, Literal["Normal", "Warning"], str, str], None]


def tell_status(post: Post, _kind: str, item: Item, status: Status, before: Status | None) -> None:
    """Post what a status says that the one before did not: refused, held, in conflict."""
    for type_, bad, reason in (("Accepted", "False", "NotAccepted"), ("Held", "True", ""), ("Conflicted", "True", "")):
        now, former = _condition(status, type_), _condition(before, type_)
        if now is None or now.status != bad:
            continue
        news = former is None or former.status != bad or (type_ == "Accepted" and former.message != now.message)
        if news:
            post(item, "Warning", reason or type_, now.message)


def tell_timeout(post: Post, item: Item, left: int) -> None:
    """Post that a deletion waited long enough."""
    text = f"its deletion waited long enough: {left} publications are still to be withdrawn, and wait in a ServiceHold"
    post(item, "Warning", "DeletionTimedOut", text)


def tell_hold(post: Post, item: Item, what: What, message: str) -> None:
    """Post a hold's beginning, and what was decided."""
    post(item, "Warning" if what == "Held" else "Normal", what, message)


def _condition(status: Status | None, type_: str) -> Condition | None:
    return next((each for each in status.conditions if each.type == type_), None) if status is not None else None
