"""Health verdicts, as the reconciler asks for them; engine.overlay gives them. Without checks there are none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from waypost.engine.publish import Showing
    from waypost.model import Instance, PublicationKey

__all__ = ["NO_OVERLAY", "Overlay"]


class Overlay(Protocol):
    """What gives verdicts, and is told what they are needed of."""

    def verdict(self, showing: Showing, instance: Instance) -> bool | None:
        """Return True for ready, False for not, None where nothing is known yet."""

    def follow(
        self, target: str, showing: Showing, instances: Mapping[str, Instance], changed: Collection[str] | None
    ) -> None:
        """Take note that a publication shows these instances; those `changed` may be new or gone (None: any)."""

    def forget(self, target: str, key: PublicationKey) -> None:
        """Take note that a publication is gone from a sink."""


class _NoOverlay:
    """No checks: every instance is as ready as its source says."""

    def verdict(self, showing: Showing, instance: Instance) -> bool | None:
        """See plan.World."""
        return True

    def follow(
        self, target: str, showing: Showing, instances: Mapping[str, Instance], changed: Collection[str] | None
    ) -> None:
        pass

    def forget(self, target: str, key: PublicationKey) -> None:
        pass


NO_OVERLAY = _NoOverlay()
