"""What status and explanations say of health checks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

from tests.rig import Rig, instance, registration, service
from waypost.engine.explain import Question, explain
from waypost.engine.overlay import HealthOverlay
from waypost.engine.standing import standing
from waypost.engine.trace import Line
from waypost.health.check import PASSED, Outcome, Target, failed
from waypost.testing.context import RecordedMetrics
from waypost.testing.virtual import VirtualClock, virtual_test

CHECK = {"tcpSocket": {}, "periodSeconds": 10, "timeoutSeconds": 2, "failureThreshold": 2}


async def health(rig: Rig, name: str) -> Line:
    found = await explain(rig.engine, Question("default/web", instance=name), rig.clock.monotonic())
    return next(line for trace in found.traces for line in trace.lines if line.step == "health")


@virtual_test
async def test_a_check_that_fails_is_told_with_its_reason_and_panic_as_panic(tmp_path: Path) -> None:
    down: set[str] = set()

    async def probe(target: Target) -> Outcome:
        await asyncio.sleep(1)
        return failed("no connection: ECONNREFUSED") if target.instance in down else PASSED

    rig = Rig(tmp_path)
    names = [f"i{n}" for n in range(10)]
    rig.memory["mem"].set(service("web", *names, instance("portless", port=0)))
    rig.declare(registration("web", healthCheck=CHECK))
    overlay = HealthOverlay(VirtualClock(), Random(0), RecordedMetrics(), probe=probe, most=64)
    async with rig.running(overlay=overlay) as engine:
        await rig.settle(0.1)  # read, and not yet checked
        assert (await health(rig, "i1")).ok is None
        await rig.settle(30)
        assert (await health(rig, "i1")).ok
        assert "cannot be checked" in (await health(rig, "portless")).text
        down.add("i1")
        await rig.settle(60)
        told = await health(rig, "i1")
        assert (told.ok, "ECONNREFUSED" in told.text) == (False, True)
        stands = standing(engine, "default/web", rig.clock.monotonic())
        assert stands is not None
        assert stands.ready_instances == 9
        down.update(names)
        await rig.settle(120)
        assert "panic" in (await health(rig, "i2")).text
        stands = standing(engine, "default/web", rig.clock.monotonic())
        assert stands is not None
        assert any("10 of 10 fail" in problem for problem in stands.problems)
