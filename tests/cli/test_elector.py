"""`waypost run --elector`: what is wrong in its file is told as in manifests; a standby does nothing, and says so."""

from __future__ import annotations

from tests.cli.conftest import Command, free_port

GOOD = "config: {endpoints: ['http://127.0.0.1:%d'], election: tests, ttlSeconds: 2}\n"


def test_wrong_options_are_told(waypost: Command) -> None:
    waypost.declare(["a"])
    file = waypost.folder / "elector.yaml"
    file.write_text("config:\n  endpoint: x\n  election: a\n")
    for options, told in (
        (["--elector", "etc", "--elector-config", "x"], "did you mean etcd?"),
        (["--elector", "etcd"], "--elector-config"),
        (["--elector", "etcd", "--elector-config", str(file)], "elector.yaml:2: config.endpoint: "),
    ):
        done = waypost.ask("run", "-f", str(waypost.manifests), *options)
        assert (done.returncode, told in done.stderr) == (64, True), done.stderr
        done = waypost.ask("validate", "-f", str(waypost.manifests), *options)
        assert (done.returncode, told in done.stdout) == (1, True), done.stdout
    file.write_text(GOOD % 1)
    done = waypost.ask("validate", "-f", str(waypost.manifests), "--elector", "etcd", "--elector-config", str(file))
    assert done.returncode == 0, done.stdout


def test_a_standby_writes_and_does_nothing_and_says_so(waypost: Command) -> None:
    waypost.declare(["a"])
    file = waypost.folder / "elector.yaml"
    file.write_text(GOOD % free_port())
    running = waypost.start("--elector", "etcd", "--elector-config", str(file))
    running.until(lambda: bool(waypost.json("status")["leadership"]["problem"]), "the elector cannot be asked")
    found = waypost.json("status")
    assert not found["leads"]
    assert found["leadership"]["term"] is None
    assert [sink["condition"]["reason"] for sink in found["sinks"]] == ["Standby"]
    said = waypost.ask("status").stdout
    assert "standby: nobody is known to lead" in said
    assert "elector: etcd http://127.0.0.1" in said
    paused = waypost.ask("pause", "dns")
    assert paused.returncode == 1
    assert "this process is a standby, and does nothing: nobody is known to lead now" in paused.stderr
    assert not (waypost.state / "paused.json").exists()
