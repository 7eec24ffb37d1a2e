"""The verbs that ask a running server, and how they find it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

from tests.cli.conftest import Command


def test_status_explain_and_changes_of_a_running_server(waypost: Command) -> None:
    waypost.declare(["a", "b"])
    waypost.start()
    waypost.settle(2)
    told = waypost.ask("status").stdout
    assert "shop/web" in told
    assert "machines" in told
    one = waypost.ask("status", "shop/web")
    assert "Ready=True" in one.stdout
    assert waypost.json("status", "shop/web")["status"]["readyInstances"] == 2
    missing = waypost.ask("status", "shop/nothing")
    assert missing.returncode == 1
    assert "no registration" in missing.stderr
    explained = waypost.ask("explain", "shop/web", "--instance", "a")
    assert explained.returncode == 0
    assert "NO" not in explained.stdout
    assert waypost.ask("explain", "shop/nothing").returncode == 1
    assert waypost.ask("explain").returncode == 64
    assert waypost.json("explain", "--service", "web")["ok"]
    changes = waypost.ask("changes", "--output", "json").stdout.splitlines()
    assert [json.loads(line)["instance"] for line in changes] == ["a", "b"]
    assert waypost.ask("changes").stdout.count(" added ") == 2
    assert waypost.ask("plan").returncode == 0


def test_the_only_running_server_is_found_by_itself_and_one_of_several_is_not_guessed(waypost: Command) -> None:
    waypost.declare(["a"])
    nobody = waypost("status", "--server", "http://127.0.0.1:9")
    assert nobody.returncode == 1
    assert "waypost run -f" in nobody.stderr
    home = waypost.folder / "state-home" / "waypost"
    waypost.start(state_dir=home / "one")
    found = waypost("status", "--output", "json")
    assert found.returncode == 0, found.stderr
    assert waypost("pause", "dns").returncode == 0  # the token is found with it
    assert waypost("resume", "dns").returncode == 0
    waypost.start(state_dir=home / "two")
    several = waypost("status")
    assert several.returncode == 1
    assert str(home / "one") in several.stderr
    assert waypost("status", "--state-dir", str(home / "two")).returncode == 0


def test_a_hold_is_shown_and_approved(waypost: Command) -> None:
    names = [f"i{n:02}" for n in range(20)]
    waypost.declare(names)
    running = waypost.start()
    waypost.settle(20)
    waypost.declare(names[15:])
    running.until(lambda: bool(waypost.json("holds")), "a hold")
    (hold,) = waypost.json("holds")
    told = waypost.ask("holds").stdout
    assert hold["name"] in told
    assert "waypost approve" in told
    assert "wait for a person" in waypost.ask("plan").stdout
    assert waypost.ask("plan").returncode == 2
    assert waypost.ask("approve", "none").returncode == 1
    assert waypost.ask("approve", hold["name"], "--expires", "1").returncode == 64
    assert waypost.ask("reject", hold["name"], "--reason", "wait").returncode == 0
    assert waypost.json("holds")[0]["decision"] == "Reject"
    approved = waypost.ask("approve", hold["name"], "--reason", "CHG-1", "--expires", "60")
    assert approved.returncode == 0
    assert "CHG-1" in approved.stdout
    waypost.settle(5)


def test_a_paused_sink_stays_as_it_is_across_a_restart(waypost: Command) -> None:
    waypost.declare(["a"])
    running = waypost.start()
    waypost.settle(1)
    assert "paused" in waypost.ask("pause", "dns").stdout
    assert waypost.json("status")["sinks"][0]["mode"] == "Paused"
    running.end()
    waypost.start()
    assert waypost.json("status")["sinks"][0]["mode"] == "Paused"
    assert waypost.ask("pause", "none").returncode == 1
    assert waypost.ask("resume", "dns").returncode == 0
    waypost.settle(1)


def test_a_verb_that_acts_needs_the_token(waypost: Command) -> None:
    waypost.declare(["a"])
    running = waypost.start()
    waypost.settle(1)
    without = waypost("pause", "dns", "--server", running.url)
    assert without.returncode == 1
    assert "--token-file" in without.stderr
    wrong = waypost.folder / "wrong"
    wrong.write_text("w" * 43 + "\n")
    refused = waypost("pause", "dns", "--server", running.url, "--token-file", str(wrong))
    assert refused.returncode == 1
    assert "Authorization" in refused.stderr
    assert "w" * 43 not in refused.stderr
    missing = waypost("pause", "dns", "--server", running.url, "--token-file", str(waypost.folder / "none"))
    assert missing.returncode == 1
    assert "none" in missing.stderr
    assert waypost.json("status")["sinks"][0]["mode"] == "Apply"
    token = waypost.state / "admin.token"
    assert waypost("pause", "dns", "--server", running.url, "--token-file", str(token)).returncode == 0
    assert waypost("status", "--server", running.url).returncode == 0


def test_the_token_never_crosses_a_network_in_clear_text(waypost: Command) -> None:
    waypost.declare(["a"])
    waypost.start()
    refused = waypost.ask("pause", "dns", "--server", "http://192.0.2.1:7470")
    assert refused.returncode == 1
    assert "https" in refused.stderr


def test_a_server_that_listens_on_all_addresses_is_asked_on_loopback_and_given_the_token(waypost: Command) -> None:
    waypost.declare(["a"])
    waypost.start()
    waypost.settle(1)
    address = waypost.state / "admin.url"
    address.write_text(address.read_text().replace("127.0.0.1", "0.0.0.0"))
    for verb in (["status"], ["pause", "dns"]):
        done = waypost.ask(*verb)
        assert done.returncode == 0, done.stderr


def test_the_address_of_a_server_is_checked(waypost: Command) -> None:
    for url in ("ftp://127.0.0.1", "http://", "http://user:secret@127.0.0.1:1", "http://127.0.0.1:99999"):
        done = waypost("status", "--server", url)
        assert done.returncode == 1, url
        assert "no address of a server" in done.stderr, url


def test_following_changes_sees_new_ones_and_ends_with_an_interrupt(waypost: Command) -> None:
    waypost.declare(["a"])
    waypost.start()
    waypost.settle(1)
    arguments = ["changes", "--follow", "--output", "json", "--state-dir", str(waypost.state)]
    with subprocess.Popen(
        [sys.executable, "-m", "waypost", *arguments],
        stdout=subprocess.PIPE,
        env=waypost.environ,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - a shell's job ignores it
    ) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["instance"] == "a"
            waypost.declare(["a", "b"])
            assert json.loads(process.stdout.readline())["instance"] == "b"
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
        finally:
            process.kill()
