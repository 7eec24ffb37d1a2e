"""What the process does about its garbage collector while the first sync is under way, and after it."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import Any

from waypost.cli.process import STARTING, _Process
from waypost.testing.virtual import VirtualClock, virtual_test


@virtual_test
async def test_the_collector_looks_rarely_until_all_is_settled_and_as_usual_from_then_on() -> None:
    usual, frozen = gc.get_threshold(), gc.get_freeze_count()
    settled: list[bool] = []
    engine: Any = SimpleNamespace(settled=lambda: bool(settled), reconciler=SimpleNamespace(targets={}))
    process: Any = SimpleNamespace(_clock=VirtualClock())
    tidying = asyncio.create_task(_Process._tidy(process, engine))
    try:
        await asyncio.sleep(5)
        assert (gc.get_threshold(), tidying.done()) == (STARTING, False)
        settled.append(True)
        await tidying
        assert gc.get_threshold() == usual
        assert gc.get_freeze_count() > frozen
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
