"""How checks are run: on virtual time, with checks that the test scripts."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import pytest

from waypost.health.check import PASSED, Check, Outcome, Target, TcpSocket, failed, unknown
from waypost.health.checker import Checker
from waypost.health.subject import Subject
from waypost.testing.context import RecordedMetrics
from waypost.testing.virtual import VirtualClock, virtual_test

CHECK = Check(TcpSocket(), 10, 2, 1, 3)


def target(number: int = 0, check: Check = CHECK) -> Target:
    return Target(check, "mem", str(number), "10.0.0.1", 80)


class Scripted:
    """A probe that keeps what was asked; `script` may raise, or return how long it takes and what it finds."""

    def __init__(self, script: Callable[[Target], tuple[float, Outcome]] = lambda _: (0.01, PASSED)) -> None:
        self.script = script
        self.times: dict[str, list[float]] = defaultdict(list)
        self.running = 0
        self.most = 0
        self.ended = 0

    async def __call__(self, target: Target) -> Outcome:
        self.times[target.instance].append(asyncio.get_running_loop().time())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            seconds, outcome = self.script(target)
            await asyncio.sleep(seconds)
        finally:
            self.running -= 1
            self.ended += 1
        return outcome


class Bench:
    def __init__(self, probe: Scripted, most: int = 256) -> None:
        self.probe = probe
        self.heard: list[tuple[str, bool | None]] = []
        self.metrics = RecordedMetrics()
        self.checker = Checker(VirtualClock(), Random(0), probe, self._heard, self.metrics, most=most)

    def _heard(self, subject: Subject, was_failing: bool, was_verdict: bool | None) -> None:
        if subject.verdict is not was_verdict:
            self.heard.append((subject.target.instance, subject.verdict))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Checker]:
        task = asyncio.ensure_future(self.checker.run())
        try:
            yield self.checker
            assert not task.done()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert self.probe.running == 0


@virtual_test
async def test_ten_thousand_are_checked_each_period_at_their_own_time_and_few_at_once() -> None:
    probe = Scripted(lambda _: (0.02, PASSED))
    bench = Bench(probe, most=100)
    for number in range(10_000):
        bench.checker.subscribe(target(number), "me")
    async with bench.running():
        await asyncio.sleep(60.5)
        tasks = len(asyncio.all_tasks())
    assert tasks <= 103
    assert probe.most <= 100
    assert bench.checker.counts == {True: 10_000, False: 0, None: 0}
    late = 0.0
    for times in probe.times.values():
        steady = [time for time in times if time >= 10.01]
        assert len(steady) in {5, 6}
        late = max(late, *(abs(later - sooner - 10) for sooner, later in pairwise(steady)))
    assert late < 0.2  # a crowd may delay a check, and the next comes at its own time again
    seconds = Counter(int(time) for times in probe.times.values() for time in times if 20 <= time < 60)
    assert max(seconds.values()) < 1.2 * min(seconds.values())
    assert probe.ended - 100 <= bench.metrics.total("health_checks") <= probe.ended


@virtual_test
async def test_a_crowd_waits_for_a_place() -> None:
    bench = Bench(Scripted(lambda _: (0.05, PASSED)), most=10)
    for number in range(1000):
        bench.checker.soon(bench.checker.subscribe(target(number, Check(TcpSocket(), 3600)), "me"))
    async with bench.running():
        await asyncio.sleep(6)
    assert bench.probe.most == 10
    assert bench.checker.counts[True] == 1000


@virtual_test
async def test_a_check_does_not_drift_in_a_day() -> None:
    bench = Bench(Scripted(lambda _: (0.7, PASSED)))
    bench.checker.subscribe(target(), "me")
    async with bench.running():
        await asyncio.sleep(86_400)
    times = bench.probe.times["0"]
    place = times[-1] % 10
    assert all(abs(time % 10 - place) < 0.01 for time in times[1:])
    assert len(times) in {8640, 8641}


@virtual_test
async def test_a_target_that_two_ask_for_is_one_check_until_both_have_gone() -> None:
    bench = Bench(Scripted())
    checker = bench.checker
    one, two = checker.subscribe(target(), "one"), checker.subscribe(target(), "two")
    assert one is two
    async with bench.running():
        await asyncio.sleep(95)
        assert len(bench.probe.times["0"]) in {10, 11}
        checker.unsubscribe(one, "one")
        before = len(bench.probe.times["0"])
        await asyncio.sleep(10)
        assert len(bench.probe.times["0"]) == before + 1
        checker.unsubscribe(two, "two")
        await asyncio.sleep(100)
        assert len(bench.probe.times["0"]) == before + 1
    assert not checker.subjects
    assert checker.counts == {True: 0, False: 0, None: 0}


@virtual_test
async def test_other_thresholds_are_another_check() -> None:
    bench = Bench(Scripted())
    bench.checker.subscribe(target(0, CHECK), "me")
    bench.checker.subscribe(target(0, Check(TcpSocket(), 10, 2, 1, 5)), "me")
    assert len(bench.checker.subjects) == 2


@virtual_test
async def test_a_check_that_hangs_is_ended_by_its_time_out_and_is_a_failure() -> None:
    bench = Bench(Scripted(lambda _: (1e9, PASSED)))
    it = bench.checker.subscribe(target(0, Check(TcpSocket(), 10, 2, 1, 1)), "me")
    async with bench.running():
        await asyncio.sleep(3)
        assert bench.heard == [("0", False)]
        assert it.reason == "no answer within 2 s"
        assert bench.probe.running == 0


@virtual_test
async def test_a_network_that_swallows_packets_delays_no_other_check() -> None:
    probe = Scripted(lambda t: (1e9 if int(t.instance) >= 1000 else 0.01, PASSED))
    bench = Bench(probe, most=40)
    for number in range(2000):  # a thousand that hang need 200 places, there are 40
        bench.checker.subscribe(target(number), "me")
    async with bench.running():
        await asyncio.sleep(600)
        begun = asyncio.get_running_loop().time()
        await asyncio.sleep(100)
    well = [len([time for time in probe.times[str(n)] if time >= begun]) for n in range(1000)]
    assert min(well) >= 9
    ill = [len([time for time in probe.times[str(n)] if time >= begun]) for n in range(1000, 2000)]
    assert sum(ill) >= 0.9 * 20 * 100 / 2  # half of the places are theirs, all of the time
    assert probe.most <= 40


@virtual_test
async def test_a_process_that_was_stopped_blames_no_instance() -> None:
    bench = Bench(Scripted(lambda _: (1e9, PASSED)))
    it = bench.checker.subscribe(target(0, Check(TcpSocket(), 10, 2, 1, 1)), "me")
    async with bench.running():
        await asyncio.sleep(0.5)
        asyncio.get_running_loop()._virtual += 30  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)
        assert it.standing.blind == 1
        assert not it.failing
        assert "too busy" in bench.checker.trouble


@virtual_test
async def test_trouble_of_our_own_is_no_failure_is_told_and_ends() -> None:
    probe = Scripted(lambda _: (0.01, unknown("no descriptor is free")))
    bench = Bench(probe)
    it = bench.checker.subscribe(target(), "me")
    async with bench.running():
        await asyncio.sleep(5)
        assert (it.verdict, it.failing) == (None, False)
        assert bench.checker.trouble == "no descriptor is free"
        assert bench.metrics.counters["health_checks", (("result", "unknown"),)] >= 1
        probe.script = lambda _: (0.01, PASSED)
        await asyncio.sleep(100)
        assert it.verdict is True
        assert bench.checker.trouble == ""


@virtual_test
async def test_a_check_with_a_bug_ends_nothing_but_itself() -> None:
    def script(t: Target) -> tuple[float, Outcome]:
        if t.instance == "0":
            raise ZeroDivisionError
        return 0.01, PASSED

    bench = Bench(Scripted(script))
    broken = bench.checker.subscribe(target(0), "me")
    bench.checker.subscribe(target(1), "me")
    async with bench.running():
        await asyncio.sleep(100)
    assert broken.verdict is None
    assert "ZeroDivisionError" in broken.reason
    assert bench.heard == [("1", True)]


@virtual_test
async def test_a_suspect_is_checked_now_and_not_twice_within_a_second() -> None:
    bench = Bench(Scripted())
    it = bench.checker.subscribe(target(0, Check(TcpSocket(), 3600, 2)), "me")
    async with bench.running():
        await asyncio.sleep(30)
        before = len(bench.probe.times["0"])
        for _ in range(1000):
            bench.checker.soon(it)
            await asyncio.sleep(0.001)
        await asyncio.sleep(10)
        times = bench.probe.times["0"][before:]
    assert len(times) == 2
    assert times[0] == pytest.approx(30, abs=0.02)
    assert times[1] - times[0] == pytest.approx(1, abs=0.02)


@virtual_test
async def test_an_answer_for_who_has_gone_is_told_to_nobody() -> None:
    bench = Bench(Scripted(lambda _: (1.0, failed("no"))))
    it = bench.checker.subscribe(target(0, Check(TcpSocket(), 10, 2, 1, 1)), "me")
    async with bench.running():
        await asyncio.sleep(0.5)
        bench.checker.unsubscribe(it, "me")
        again = bench.checker.subscribe(target(0, Check(TcpSocket(), 10, 2, 1, 1)), "me")
        await asyncio.sleep(0.6)
        assert bench.heard == []
        assert again.verdict is None
        await asyncio.sleep(15)
    assert bench.heard == [("0", False)]


@virtual_test
async def test_idle_costs_nothing() -> None:
    bench = Bench(Scripted())
    async with bench.running():
        loop = asyncio.get_running_loop()
        steps = loop._steps  # type: ignore[attr-defined]
        await asyncio.sleep(10_000)
        assert steps - loop._steps < 20  # type: ignore[attr-defined]


@virtual_test
async def test_who_runs_again_checks_also_what_was_broken_off() -> None:
    bench = Bench(Scripted(lambda _: (1.5, PASSED)))
    bench.checker.subscribe(target(), "me")
    async with bench.running():
        await asyncio.sleep(0.5)
    assert bench.heard == []
    async with bench.running():
        await asyncio.sleep(15)
    assert bench.heard == [("0", True)]
    assert bench.checker.in_flight == 0
