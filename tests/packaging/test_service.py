"""The unit for systemd: it is one, it is tight, and what it starts says when it is ready."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Command, waypost

__all__ = ["waypost"]  # a fixture

UNIT = Path(__file__).parents[2] / "packaging" / "waypost.service"
TOOL = shutil.which("systemd-analyze")
needs_tool = pytest.mark.skipif(TOOL is None, reason="systemd-analyze is not here (Debian: systemd)")


def analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze on the unit, with a program that is there on this machine in place of the installed one."""
    copy = folder / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/waypost/bin/waypost", sys.executable))
    assert TOOL is not None
    return subprocess.run(
        [TOOL, *arguments, str(copy)], capture_output=True, text=True, check=False, timeout=60, cwd=folder
    )


@needs_tool
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    done = analyze(tmp_path, "verify", "--man=no")
    told = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, told) == (0, []), done.stderr


@needs_tool
def test_systemd_calls_it_tight(tmp_path: Path) -> None:
    done = analyze(tmp_path, "security", "--offline=true", "--no-pager", "--threshold=20")
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd is older than 250 and cannot tell")
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_port_53_takes_the_two_lines_that_the_unit_names() -> None:
    text = UNIT.read_text()
    for name in ("AmbientCapabilities", "CapabilityBoundingSet"):
        assert f"\n#{name}=CAP_NET_BIND_SERVICE\n" in text
        given = re.findall(rf"^#?{name}=(.*)$", text, re.MULTILINE)
        assert given[-1] == "CAP_NET_BIND_SERVICE", "an empty assignment after it would take it back"


def test_its_command_line_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    from waypost.cli import parser

    (command,) = re.findall(r"^ExecStart=/opt/waypost/bin/waypost (.*)$", UNIT.read_text(), re.MULTILINE)
    options = parser().parse_args(command.split())
    assert options.files == ["/etc/waypost/manifests"]
    assert str(options.state_dir) == "%S/waypost"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("abstract", [False, True])
def test_it_says_when_it_is_ready_and_when_it_ends(waypost: Command, abstract: bool) -> None:
    waypost.declare(["a"])
    address = f"@{waypost.folder.name}-{id(waypost)}" if abstract else str(waypost.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{address[1:]}" if abstract else address)
        manager.settimeout(30)
        waypost.environ["NOTIFY_SOCKET"] = address
        waypost.start(answers=False)
        assert manager.recv(100) == b"READY=1"
        assert waypost.running[-1].answers(), "it is ready, and does not answer"
        status, seconds = waypost.running[-1].end()
        assert manager.recv(100) == b"STOPPING=1"
    assert status == 0
    assert seconds < 10


def test_who_was_not_asked_or_whose_manager_is_gone_runs_all_the_same(waypost: Command) -> None:
    waypost.declare(["a"])
    waypost.environ["NOTIFY_SOCKET"] = str(waypost.folder / "nobody")
    waypost.start()
    assert waypost.running[-1].end()[0] == 0
