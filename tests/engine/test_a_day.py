"""A day of nothing, on virtual time: nothing is written, and nothing grows."""

from __future__ import annotations

import gc
from pathlib import Path

from tests.rig import Rig, registration, service, source
from waypost.testing.virtual import virtual_test

HOURS = 24


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@virtual_test
async def test_a_day_in_which_nothing_happens_writes_nothing_and_grows_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.declare(source("far"), registration("far", services=["*"], source="far", names=["far-{service}"]))
    for name in ("web", "api"):
        rig.memory["mem"].set(service(name, *(f"i{n}" for n in range(50))))
        rig.declare(registration(name, drainSeconds=20))
    rig.memory["far"].set(service("db", "a", "b", source="far"))
    async with rig.running() as engine:
        await rig.settle(3600)
        log, stamp, state = len(rig.target().log), rig.target().stamps["me"], size(tmp_path)
        changes, looks = len(engine.ring.since()), rig.sinks["out"].calls["observe"]
        gc.collect()
        objects = len(gc.get_objects())
        for hour in range(HOURS - 1):
            await rig.settle(3600)
            rig.memory["mem"].snapshot_now()  # the source is read again, as it is
            rig.memory["far"].snapshot_now() if hour % 2 else None
        await rig.settle(10)
        gc.collect()
        assert len(rig.target().log) == log, "0 writes"
        assert rig.target().stamps["me"] == stamp, "nor of the stamp"
        assert len(engine.ring.since()) == changes
        assert size(tmp_path) == state
        assert rig.sinks["out"].calls["observe"] >= looks + (HOURS - 1) * 12 - 1, "it did look"
        assert len(gc.get_objects()) < objects + 500
