"""A program that is run says why it failed, and is not left behind."""

import asyncio
from pathlib import Path

import pytest

from testbed.command import CommandError, run


async def test_it_gives_what_the_program_prints() -> None:
    assert await run(["sh", "-c", "cat; echo aside >&2"], stdin=b"said\n") == "said\n"


async def test_a_failure_shows_the_status_and_what_was_complained_of() -> None:
    with pytest.raises(CommandError, match=r"(?s)ended with 3: .*no such thing"):
        await run(["sh", "-c", "echo no such thing >&2; exit 3"])


async def test_what_takes_too_long_ends_with_all_that_it_started(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! >{tmp_path}/pid; wait"
    with pytest.raises(CommandError, match=r"not done after 0\.5 s"):
        await run(["sh", "-c", script], timeout=0.5)
    pid = int((tmp_path / "pid").read_text())
    for _ in range(500):  # whoever adopted it reaps it
        if not _runs(pid):
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"{pid} runs still")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
