"""The loop on virtual time: exact, quick, and never silent about a program that waits for nothing."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.testing.virtual import Deadlock, OutOfBounds, VirtualClock, run, virtual_test


async def now() -> float:
    return asyncio.get_running_loop().time()


async def sleeping(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return await now()


def test_a_month_takes_no_time_and_ends_on_the_second() -> None:
    started = time.monotonic()
    assert run(sleeping(29 * 86_400)) == pytest.approx(29 * 86_400)
    assert time.monotonic() - started < 60


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=20))
def test_timers_fire_in_their_order_at_their_time(delays: list[float]) -> None:
    async def main() -> list[tuple[float, float]]:
        fired: list[tuple[float, float]] = []

        async def wait(delay: float) -> None:
            fired.append((delay, await sleeping(delay)))

        await asyncio.gather(*map(wait, delays))
        return fired

    fired = run(main())
    assert [at for _, at in fired] == sorted(at for _, at in fired)
    assert all(at == pytest.approx(delay, abs=1e-3) for delay, at in fired)


def test_timeouts_are_virtual_too() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        return await now()

    assert run(main()) == pytest.approx(3600)


def test_two_runs_are_the_same() -> None:
    async def main() -> list[str]:
        said: list[str] = []

        async def say(name: str, every: float) -> None:
            while True:
                await asyncio.sleep(every)
                said.append(f"{name} {await now():.6f}")

        tasks = [asyncio.create_task(say("a", 0.3)), asyncio.create_task(say("b", 0.7))]
        await asyncio.wait(tasks, timeout=100)
        return said

    first = run(main())
    assert first == run(main())
    assert len(first) > 400


def test_who_waits_for_what_never_comes_is_told() -> None:
    async def forgotten() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(forgotten(), name="the one")
        await task

    with pytest.raises(Deadlock, match=r"the one \(.*forgotten\) at .*test_virtual.py:\d+"):
        run(main())


def test_a_program_that_spins_is_ended() -> None:
    async def spin() -> None:
        while True:  # noqa: ASYNC110 - that is the point
            await asyncio.sleep(0)

    with pytest.raises(OutOfBounds, match="more steps"):
        run(spin(), steps=1000)


def test_a_program_that_never_ends_is_ended() -> None:
    async def tick() -> None:
        while True:  # noqa: ASYNC110 - that is the point
            await asyncio.sleep(10)

    with pytest.raises(OutOfBounds, match="more than 1000 virtual seconds"):
        run(tick(), seconds=1000)


def test_while_a_thread_runs_time_stands() -> None:
    async def main() -> float:
        background = asyncio.create_task(sleeping(1e6))
        await asyncio.to_thread(time.sleep, 0.05)
        background.cancel()
        return await now()

    assert run(main()) == 0


def test_tasks_that_are_left_are_cancelled() -> None:
    ended: list[str] = []

    async def left() -> None:
        try:
            await asyncio.sleep(1e9)
        finally:
            await asyncio.sleep(0)
            ended.append("left")

    async def main() -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(left())]
        await asyncio.sleep(1)
        return tasks

    assert len(run(main())) == 1
    assert ended == ["left"]


def test_what_the_program_raises_is_raised() -> None:
    async def main() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(main())


@virtual_test
async def test_the_wall_clock_jumps_and_the_other_does_not() -> None:
    clock = VirtualClock(epoch=1000.0)
    await clock.sleep(5)
    assert (clock.wall(), clock.monotonic()) == (1005.0, 5.0)
    clock.jump(-100)
    assert (clock.wall(), clock.monotonic()) == (905.0, 5.0)


@virtual_test
async def test_fixtures_reach_a_virtual_test(tmp_path: Path) -> None:
    assert tmp_path.is_dir()
    await asyncio.sleep(3600)


@virtual_test
async def test_sockets_within_the_process_work() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()
        await writer.wait_closed()
