"""What a new leader learns before it leads, and what a leader hands on: budgets, decisions, paused sinks, releases.

All of it is kept beside the elector's lease (see `beside`); what one process alone knows stands in its state folder.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import msgspec

from waypost.adapter import AdapterError
from waypost.engine.releases import Release

if TYPE_CHECKING:
    from waypost.engine.engine import Engine

__all__ = ["forget_decisions", "hand_on", "take_up"]

T = TypeVar("T")
PAUSED, RELEASED, HOLD, BUDGET = "paused", "released", "hold.", "budget."

log = logging.getLogger(__name__)


async def take_up(engine: Engine) -> None:
    """Learn what the former leader was told. Raises AdapterError.

    Where nothing was ever kept, what this process knows is: it may have run alone before.
    """
    beside = engine.beside
    if not beside.active:
        return
    await beside.recall()
    if beside.value(PAUSED) is None:
        for sink, content in engine.spent_files():
            await beside.keep(f"{BUDGET}{sink}", content)
        await hand_on(engine)
        return
    for name in beside.names(HOLD):
        engine.take_decision(beside.value(name) or b"")
    given = _decoded(beside.value(RELEASED), RELEASED, set[Release], engine.releases.given)
    for release in sorted(given ^ engine.releases.given):
        try:
            engine.release(release, undo=release not in given)
        except OSError as error:
            raise AdapterError(f"a release cannot be kept in the state folder: {error}") from None
    await engine.replace_paused(_decoded(beside.value(PAUSED), PAUSED, set[str], engine.paused))


async def hand_on(engine: Engine) -> None:
    """Have the next leader know what people decided. Raises AdapterError where it cannot be kept."""
    beside = engine.beside
    if not beside.active:
        return
    decided = {f"{HOLD}{hold.name}": msgspec.json.encode(hold) for hold in engine.holds.decided()}
    for name in set(beside.names(HOLD)) - decided.keys():
        await beside.keep(name, None)
    for name, content in decided.items():
        await beside.keep(name, content)
    await beside.keep(RELEASED, msgspec.json.encode(sorted(engine.releases.given)))
    await beside.keep(PAUSED, msgspec.json.encode(sorted(engine.paused)))


async def forget_decisions(engine: Engine) -> None:
    """Keep decisions that ran out no longer. Where that cannot be done now, the next time is soon enough."""
    beside = engine.beside
    if beside.active and engine.leadership.leads() and len(beside.names(HOLD)) > len(engine.holds.decided()):
        try:
            await hand_on(engine)
        except AdapterError as error:
            log.debug("kept=%s error=%r", HOLD, str(error))


def _decoded(content: bytes | None, what: str, to: type[T], known: T) -> T:
    """Return what was kept; what cannot be read is said, and stays as this process knows it."""
    try:
        return msgspec.json.decode(content or b"", type=to)
    except msgspec.MsgspecError as error:
        log.error("kept=%s error=%r effect='what this process knows of it holds'", what, str(error))
        return known
