"""`waypost run` as a process: how it starts, ends, and comes back."""

from __future__ import annotations

import json
import re
import signal
import socket
import stat
from pathlib import Path

from tests.cli.conftest import Command

LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warning|error) +\S+ \S.*")


def test_it_registers_what_the_manifests_ask_for_and_follows_them(waypost: Command) -> None:
    waypost.declare(["a", "b"])
    waypost.start()
    waypost.settle(2)
    waypost.declare(["a", "b", "c"])
    waypost.settle(3)
    (report,) = waypost.json("status")["registrations"]
    assert report["key"] == "shop/web"
    assert {c["type"]: c["status"] for c in report["status"]["conditions"]}["Ready"] == "True"


def test_it_ends_within_five_seconds_and_nothing_is_deregistered(waypost: Command) -> None:
    waypost.declare(["a", "b"])
    for number in (signal.SIGTERM, signal.SIGINT):
        running = waypost.start()
        waypost.settle(2)
        status, seconds = running.end(number)
        assert status == 0
        assert seconds < 5
        assert "deregistered=0" in running.told()
        assert not (waypost.state / "admin.url").exists()
    waypost.start()
    waypost.settle(2)
    assert waypost.ask("changes").stdout == ""  # the third process found all as it should be


def test_killed_it_comes_back_and_writes_nothing(waypost: Command) -> None:
    waypost.declare(["a", "b"])
    running = waypost.start()
    waypost.settle(2)
    running.end(signal.SIGKILL)
    assert (waypost.state / "admin.url").exists()  # as a kill leaves it
    gone = waypost.ask("status")
    assert gone.returncode == 1
    assert "no server runs" in gone.stderr
    waypost.start()
    waypost.settle(2)
    assert waypost.ask("changes").stdout == ""


def test_two_processes_do_not_share_a_state_folder(waypost: Command) -> None:
    waypost.declare(["a"])
    running = waypost.start()
    waypost.settle(1)
    second = waypost.ask("run", "-f", str(waypost.manifests), "--admin", "127.0.0.1:0")
    assert second.returncode == 1
    assert f"process {running.process.pid}" in second.stderr
    assert "--state-dir" in second.stderr
    assert waypost.json("status")["sinks"][0]["records"] == 1
    running.end(signal.SIGKILL)
    waypost.start()  # a lock goes with its process


def test_the_default_state_folder_belongs_to_the_manifests_and_is_private(waypost: Command) -> None:
    waypost.declare(["a"])
    home = Path(waypost.environ["XDG_STATE_HOME"]) / "waypost"
    done = waypost("run", "-f", str(waypost.manifests), "--admin", "nonsense")
    assert done.returncode == 64
    assert "nonsense" in done.stderr
    (folder,) = home.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "admin.token").stat().st_mode) == 0o600
    waypost("run", "-f", f"{waypost.manifests}/../manifests", "--admin", "nonsense")
    assert list(home.iterdir()) == [folder]


def test_a_taken_admin_port_is_said_and_nothing_runs(waypost: Command) -> None:
    waypost.declare(["a"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = waypost.ask("run", "-f", str(waypost.manifests), "--admin", f"127.0.0.1:{port}")
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "change --admin" in done.stderr
    assert "Tried again" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_hangup_reads_the_manifests_again(waypost: Command) -> None:
    waypost.declare(["a"])
    running = waypost.start()
    waypost.settle(1)
    before = running.told().count("manifests sources=")
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: running.told().count("manifests sources=") > before, "it read again")
    assert waypost.json("status")["sinks"][0]["records"] == 1


def test_a_problem_of_the_manifests_is_logged_once_and_its_end_too(waypost: Command) -> None:
    waypost.declare(["a"])
    running = waypost.start()
    waypost.settle(1)
    waypost.write("bad.yaml", "kind: [\n")
    running.until(lambda: "manifest_problem=" in running.told(), "the problem is logged")
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: "cause=SIGHUP" in running.told(), "it read again")
    assert running.told().count("manifest_problem=") == 1
    assert "bad.yaml:" in running.told()
    assert not waypost.json("status")["manifests"]["complete"]
    (waypost.manifests / "bad.yaml").unlink()
    running.until(lambda: "manifest_problem_gone=" in running.told(), "its end is logged")


def test_logs_are_one_line_a_fact_in_text_or_json(waypost: Command) -> None:
    waypost.declare(["a"])
    running = waypost.start()
    waypost.settle(1)
    running.end()
    lines = running.told().splitlines()
    assert lines
    assert all(LOG_LINE.fullmatch(line) for line in lines), lines
    running = waypost.start("--log-format", "json", "--log-level", "info")
    waypost.settle(1)
    running.end()
    facts = [json.loads(line) for line in running.told().splitlines()]
    assert all({"time", "level", "logger", "message"} <= fact.keys() for fact in facts)
    assert any(fact.get("sink") == "dns" for fact in facts)
    running = waypost.start("--log-level", "error")
    waypost.settle(1)
    running.end()
    assert running.told() == ""


def test_no_secret_is_in_any_output(waypost: Command) -> None:
    waypost.declare(["a", "b"])
    running = waypost.start("--log-level", "debug")
    waypost.settle(2)
    token = (waypost.state / "admin.token").read_text().strip()
    outputs = []
    for verb in ("status", "explain shop/web", "changes", "holds", "plan", "pause dns", "resume dns", "approve none"):
        done = waypost.ask(*verb.split())
        outputs += [done.stdout, done.stderr]
    running.end()
    outputs.append(running.told())
    assert all(token not in output for output in outputs)
