"""The demonstration, as a new user runs it: it ends well, tells its story, and leaves nothing behind."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def play(command: list[str]) -> str:
    """Run a demonstration in a session of its own; return what it printed."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "WAYPOST_DEMO": "this one"},
    )
    said, _ = process.communicate(timeout=110)
    assert process.returncode == 0, said
    assert left_over() == [], said
    return said


def left_over() -> list[str]:
    """Return the command lines of processes that still carry the demonstration's environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"WAYPOST_DEMO=this one" in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it has ended, or is not ours to read
    return found


def check_story(said: str) -> None:
    """The numbers that a reader looks at."""
    assert "three instances are registered" in said
    for place in ("registry", "DNS server"):
        (milliseconds,) = re.findall(rf"from the {place} after (-?\d+) ms", said)
        assert int(milliseconds) < 10_000
    assert re.search(r"SIGTERM: ended in \d+ ms, nothing deregistered", said)


@pytest.mark.server("mesos")
def test_make_demo_runs_the_main_job_on_a_real_mesos() -> None:
    said = play([sys.executable, "-m", "testbed.demo"])
    assert "a real Mesos" in said
    assert "Mesos' own time stamp" in said
    check_story(said)


def test_waypost_demo_does_the_same_with_local_processes() -> None:
    said = play([str(Path(sys.executable).with_name("waypost")), "demo"])
    assert "local processes" in said
    check_story(said)
