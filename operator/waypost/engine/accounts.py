"""The books of one target: what its ledger holds and what its policy counts, changed together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waypost.model import PublicationKey

if TYPE_CHECKING:
    from waypost.engine.target import Target

__all__ = ["drop", "own"]


def own(target: Target, now: float, key: PublicationKey, delta: int) -> None:
    """Count that the ready instances of a publication in the ledger changed by `delta`."""
    if delta:
        target.policy.own(now, key, delta)


def drop(target: Target, now: float, key: PublicationKey, instance: str, record: str) -> None:
    """Take note that a record is gone; where it was the publication's last, its names are free for others."""
    own(target, now, key, target.ledger.drop(key, instance, record))
    if key not in target.ledger.shelves:
        for other in target.names.emptied(key):
            target.mark(other, None)
