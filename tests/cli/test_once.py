"""The verbs that need no server: validate, plan, discover, crds, help, and those that are not there yet."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Command
from waypost.cli import main, parser
from waypost.cli.later import LATER

VERBS = sorted(parser()._subparsers._group_actions[0].choices)  # type: ignore[union-attr,arg-type]


def test_valid_manifests_exit_0_and_problems_exit_1_with_file_and_line(waypost: Command) -> None:
    waypost.declare(["a"])
    done = waypost("validate", "-f", str(waypost.manifests))
    assert (done.returncode, done.stderr) == (0, "")
    waypost.write(
        "bad.yaml", "apiVersion: waypost.dev/v1alpha1\nkind: ServiceSink\nmetadata: {name: x}\nspec: {tipe: etcd}\n"
    )
    done = waypost("validate", "-f", str(waypost.manifests))
    assert done.returncode == 1
    assert re.search(r"bad\.yaml:4: spec", done.stdout), done.stdout
    found = json.loads(waypost("validate", "-f", str(waypost.manifests), "-o", "json").stdout)
    assert not found["valid"]
    assert {problem["line"] for problem in found["problems"]} == {4}
    assert waypost("validate", "-f", str(waypost.folder / "none")).returncode == 1


def test_a_name_that_leads_nowhere_is_a_problem(waypost: Command) -> None:
    waypost.declare(["a"])
    path = waypost.manifests / "all.yaml"
    path.write_text(path.read_text().replace("sinkRef: {name: ", "sinkRef: {name: no-"))
    done = waypost("validate", "-f", str(waypost.manifests))
    assert done.returncode == 1, done.stdout
    assert "there is no ServiceSink `no-" in done.stdout


def test_plan_exits_2_with_something_to_do_0_with_nothing_and_changes_nothing(waypost: Command) -> None:
    waypost.declare(["a", "b"])
    where = ("-f", str(waypost.manifests), "--state-dir", str(waypost.state))
    first = waypost("plan", *where)
    assert first.returncode == 2, first.stderr
    assert first.stdout.count("  + shop/web[dns]") == 2
    assert not waypost.state.exists()
    waypost.start()
    waypost.settle(2)
    waypost.running[-1].end()
    before = {path: path.read_bytes() for path in waypost.state.rglob("*") if path.is_file()}
    assert waypost("plan", *where).returncode == 0
    waypost.declare(["a", "c"])
    changed = waypost("plan", *where, "--output", "json")
    assert changed.returncode == 2
    (sink,) = json.loads(changed.stdout)["sinks"]
    assert (sink["add"], sink["change"], sink["remove"]) == (1, 0, 1)
    assert {path: path.read_bytes() for path in waypost.state.rglob("*") if path.is_file()} == before


def test_plan_exits_1_when_it_could_not_find_out_and_says_which(waypost: Command) -> None:
    waypost.write(
        "all.yaml",
        """\
apiVersion: waypost.dev/v1alpha1
kind: ServiceSource
metadata: {name: mesos}
spec: {type: mesos, environment: test, config: {masters: ["http://127.0.0.1:9"]}}
""",
    )
    done = waypost("plan", "-f", str(waypost.manifests), "--timeout", "1")
    assert done.returncode == 1
    assert "source mesos" in done.stderr
    waypost.write("bad.yaml", "kind: [\n")
    done = waypost("plan", "-f", str(waypost.manifests), "--timeout", "1")
    assert done.returncode == 1
    assert "bad.yaml" in done.stderr


def test_discover_tells_what_a_source_sees_of_manifests_or_of_a_type(waypost: Command) -> None:
    waypost.declare(["a", "b"])
    where = ("-f", str(waypost.manifests))
    done = waypost("discover", *where, "--instances")
    assert done.returncode == 0, done.stderr
    assert "2/2" in done.stdout
    assert "10.0.0.2" in done.stdout
    (source,) = json.loads(waypost("discover", *where, "-o", "json", "--source", "machines").stdout)
    assert [i["id"] for i in source["services"][0]["instances"]] == ["a", "b"]
    assert "machines" in waypost("discover", *where, "--source", "none").stderr
    assert waypost("discover", "static").returncode == 0
    down = waypost("discover", "mesos", "--config", "masters=['http://127.0.0.1:9']", "--timeout", "1")
    assert down.returncode == 1
    assert "not read whole" in down.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("discover",), 64, "-f PATH"),
        (("discover", "nonsense"), 1, "unknown source type"),
        (("discover", "mesos", "--config", "masters"), 64, "KEY=VALUE"),
        (("discover", "mesos", "--config", "mastres=1"), 1, "masters"),
        (("discover", "mesos", "--credential", "password=hunter2"), 64, "file:PATH"),
        (("run",), 64, "-f"),
        (("nonsense",), 64, "--help"),
        (("status", "--output", "xml"), 64, "json"),
    ],
)
def test_wrong_usage_is_told(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, told: str
) -> None:
    try:
        found = main(arguments)
    except SystemExit as ended:
        found = int(ended.code or 0)
    error = capsys.readouterr().err
    assert (found, told in error) == (status, True), error
    assert "hunter2" not in error


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_has_an_example_and_the_exit_status(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert "examples:" in told
    assert f"waypost {verb}" in told.partition("examples:")[2]
    assert "exit status:" in told


def test_every_verb_of_the_design_is_there() -> None:
    design = (
        "run validate plan discover status explain whois changes holds approve reject pause resume adopt release token"
        " backup restore doctor crds"
    )
    assert set(design.split()) <= set(VERBS)


@pytest.mark.parametrize("verb", sorted(LATER))
def test_what_is_not_there_yet_says_so_and_fails(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "something", "--else"]) == 1
    assert "not yet" in capsys.readouterr().err


def test_crds_are_one_definition_a_kind_and_one_policy_a_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["crds"]) == 0
    printed = list(yaml.safe_load_all(capsys.readouterr().out))
    named = [(each["kind"], each["metadata"]["name"]) for each in printed]
    assert {each["spec"]["names"]["kind"] for each in printed if each["kind"] == "CustomResourceDefinition"} == {
        *("ServiceSource", "ServiceSink", "ServiceRegistration", "ServiceMirror", "ServiceHold"),
    }
    assert ("ValidatingAdmissionPolicy", "consul.servicesinks.waypost.dev") in named
    assert ("ValidatingAdmissionPolicyBinding", "mesos.servicesources.waypost.dev") in named
    assert main(["crds", "--write", str(tmp_path / "crds")]) == 0
    written = [each for path in (tmp_path / "crds").iterdir() for each in yaml.safe_load_all(path.read_text())]
    assert sorted((each["kind"], each["metadata"]["name"]) for each in written) == sorted(named)


def test_plan_does_not_wait_out_its_time_for_what_only_fails(waypost: Command) -> None:
    waypost.declare(["a"])
    waypost.write(
        "mesos.yaml",
        """\
apiVersion: waypost.dev/v1alpha1
kind: ServiceSource
metadata: {name: mesos}
spec: {type: mesos, environment: test, config: {masters: ["http://127.0.0.1:9"]}}
""",
    )
    done = waypost("plan", "-f", str(waypost.manifests), "--timeout", "3600")  # the rig ends it after 60
    assert done.returncode == 1
    assert "source mesos" in done.stderr
    assert "connection refused" in done.stderr


def test_a_plan_of_its_own_does_not_call_the_sinks_dry_runs(waypost: Command) -> None:
    waypost.declare(["a"])
    assert "sink dns: 1 to add" in waypost("plan", "-f", str(waypost.manifests)).stdout
