"""What a new leader learns before it leads, and what a leader hands on: budgets, decisions, paused sinks, releases.

All of it is kept beside the elector's lease (see `beside`); what one process alone knows stands in its state folder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from waypost.adapter import AdapterError
from waypost.engine.releases import Release

if TYPE_CHECKING:
    from waypost.engine.beside import Beside
    from waypost.engine.orders import Orders

__all__ = ["Succession"]

T = TypeVar("T")
PAUSED, RELEASED, HOLD = "paused", "released", "hold."

log = logging.getLogger(__name__)


class Succession:
    """Between this process and whoever led before it, or leads after it."""

    def __init__(
        self,
        beside: Beside,
        orders: Orders,
        spent: Callable[[], Iterable[tuple[str, bytes]]],
        leads: Callable[[], bool],
    ) -> None:
        """`spent` returns what this process kept of budgets, by name; `leads` says whether it leads now."""
        self._beside = beside
        self._orders = orders
        self._spent = spent
        self._leads = leads

    async def take_up(self) -> None:
        """Learn what the former leader was told. Raises AdapterError.

        Where nothing was ever kept, what this process knows is: it may have run alone before.
        """
        beside, orders = self._beside, self._orders
        if not beside.active:
            return
        await beside.recall()
        if beside.value(PAUSED) is None:
            for name, content in self._spent():
                await beside.keep(name, content)
            await self.hand_on()
            return
        for name in beside.names(HOLD):
            orders.take_decision(beside.value(name) or b"")
        given = _decoded(beside.value(RELEASED), RELEASED, set[Release], orders.releases.given)
        for release in sorted(given ^ orders.releases.given):
            try:
                orders.release(release, undo=release not in given)
            except OSError as error:
                raise AdapterError(f"a release cannot be kept in the state folder: {error}") from None
        await orders.replace_paused(_decoded(beside.value(PAUSED), PAUSED, set[str], orders.paused))

    async def hand_on(self) -> None:
        """Have the next leader know what people decided. Raises AdapterError where it cannot be kept."""
        beside, orders = self._beside, self._orders
        if not beside.active:
            return
        decided = {f"{HOLD}{hold.name}": msgspec.json.encode(hold) for hold in orders.holds.decided()}
        for name in set(beside.names(HOLD)) - decided.keys():
            await beside.keep(name, None)
        for name, content in decided.items():
            await beside.keep(name, content)
        await beside.keep(RELEASED, msgspec.json.encode(sorted(orders.releases.given)))
        await beside.keep(PAUSED, msgspec.json.encode(sorted(orders.paused)))

    async def forget_decisions(self) -> None:
        """Keep decisions that ran out no longer. Where that cannot be done now, the next time is soon enough."""
        beside = self._beside
        if beside.active and self._leads() and len(beside.names(HOLD)) > len(self._orders.holds.decided()):
            try:
                await self.hand_on()
            except AdapterError as error:
                log.debug("kept=%s error=%r", HOLD, str(error))


def _decoded(content: bytes | None, what: str, to: type[T], known: T) -> T:
    """Return what was kept; what cannot be read is said, and stays as this process knows it."""
    try:
        return msgspec.json.decode(content or b"", type=to)
    except msgspec.MsgspecError as error:
        log.error("kept=%s error=%r effect='what this process knows of it holds'", what, str(error))
        return known
