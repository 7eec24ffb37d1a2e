"""`waypost doctor` on what is well, and on servers that are down, refuse a token, or belong to another environment."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from testbed.ports import free_port
from testbed.servers import Bind, Consul, Etcd, MesosCluster
from testbed.tls import Authority
from tests.cli.conftest import Command

SINK = """\
apiVersion: waypost.dev/v1alpha1
kind: ServiceSink
metadata: {{name: target}}
spec:
  type: {type}
  environment: {environment}
  ownerID: tests
  config: {config}
  credentials: {credentials}
"""


def findings(waypost: Command, status: int, *more: str, **environ: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What it found, by resource and step; of several of one step the worst."""
    where = ("-f", str(waypost.manifests), "--state-dir", str(waypost.state), "--timeout", "5")
    done = waypost("doctor", *where, "--output", "json", *more, **environ)
    assert done.returncode == status, (done.stdout, done.stderr)
    told = json.loads(done.stdout)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for each in sorted(told["findings"], key=lambda each: ["ok", "warning", "failed"].index(each["status"])):
        found[each["about"], each["what"]] = each
    assert told["failed"] == sum(each["status"] == "failed" for each in told["findings"])
    return found


def sink(waypost: Command, type: str, config: object, environment: str = "test", **credentials: str | Path) -> None:
    places = [{"name": name, "file": str(path)} for name, path in credentials.items()]
    text = SINK.format(type=type, environment=environment, config=json.dumps(config), credentials=json.dumps(places))
    waypost.write("sink.yaml", text)


def secret(waypost: Command, name: str, text: str, mode: int = 0o600) -> Path:
    path = waypost.folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


def test_where_all_is_well_it_exits_0_and_leaves_nothing_behind(waypost: Command) -> None:
    waypost.declare(["a", "b"])
    found = findings(waypost, 0)
    assert {each["status"] for each in found.values()} == {"ok"}
    assert found["source machines", "read"]["message"] == "1 services, 2 instances"
    assert found["sink dns", "stamp"]["message"].startswith("none yet")
    assert {("this machine", what) for what in ("state_dir", "space", "admin")} < found.keys()
    assert not waypost.state.exists()


def test_for_people_there_is_a_line_a_finding_and_a_sum(waypost: Command) -> None:
    waypost.declare(["a"])
    waypost.write(
        "mesos.yaml",
        "apiVersion: waypost.dev/v1alpha1\nkind: ServiceSource\nmetadata: {name: mesos}\n"
        f'spec: {{type: mesos, environment: test, config: {{masters: ["http://127.0.0.1:{free_port()}"]}}}}\n',
    )
    done = waypost("doctor", "-f", str(waypost.manifests), "--state-dir", str(waypost.state))
    assert done.returncode == 1
    assert re.search(
        r"^source mesos\n  ok +config .*\n  failed +connect +127.0.0.1:\d+: .*\n +→ ", done.stdout, re.MULTILINE
    )
    assert re.search(r"^1 failed, 0 warnings, \d+ ok$", done.stdout, re.MULTILINE)


def test_manifests_with_problems_are_told_and_the_rest_is_tried(waypost: Command) -> None:
    waypost.declare(["a"])
    waypost.write("bad.yaml", "kind: [\n")
    found = findings(waypost, 1)
    assert "bad.yaml" in found["manifests", "config"]["message"]
    assert found["sink dns", "read"]["status"] == "ok"


def test_beside_the_running_server_what_listens_is_no_failure(waypost: Command) -> None:
    waypost.declare(["a"])
    waypost.start()
    waypost.settle(1)
    found = findings(waypost, 2)
    assert waypost.running[-1].url in found["this machine", "admin"]["message"]
    assert found["sink dns", "open"]["status"] == "warning"
    assert "waypost status" in found["sink dns", "open"]["remedy"]
    waypost.running[-1].end()
    again = findings(waypost, 0)
    assert again["sink dns", "stamp"]["message"] == "environment test, epoch 1"


def test_a_state_folder_that_cannot_be_and_a_taken_port_are_told(waypost: Command) -> None:
    import socket

    waypost.declare(["a"])
    blocked = secret(waypost, "a-file", "")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        admin = f"127.0.0.1:{taken.getsockname()[1]}"
        found = findings(waypost, 1, "--state-dir", str(blocked / "state"), "--admin", admin)
    assert found["this machine", "state_dir"]["status"] == "failed"
    assert "--state-dir" in found["this machine", "state_dir"]["remedy"]
    assert "--admin" in found["this machine", "admin"]["message"]
    waypost.state.mkdir(mode=0o755)
    waypost.state.chmod(0o755)
    assert "0755" in findings(waypost, 2)["this machine", "state_dir"]["message"]


@pytest.mark.parametrize(
    ("text", "mode", "status", "says"),
    [
        (None, 0o600, "failed", "No such file"),
        ("", 0o600, "failed", "is empty"),
        ("s3cr3t", 0o644, "warning", "mode 0644"),
        ("s3cr3t", 0o640, "ok", "token"),
    ],
)
def test_credentials_are_looked_at(waypost: Command, text: str | None, mode: int, status: str, says: str) -> None:
    path = waypost.folder / "token"
    if text is not None:
        secret(waypost, "token", text, mode)
    sink(waypost, "consul", {"address": f"http://127.0.0.1:{free_port()}"}, token=path)
    found = findings(waypost, 1)
    assert found["sink target", "credential"]["status"] == status
    assert says in found["sink target", "credential"]["message"]
    assert found["sink target", "connect"]["status"] == "failed"
    assert ("sink target", "read") not in found, "it would say the same once more"
    assert "s3cr3t" not in json.dumps([*found.values()])


@pytest.mark.server("etcd")
async def test_etcd_that_is_well_or_down_or_refuses_or_is_of_another_environment(
    waypost: Command, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "tls")
    async with Etcd(tmp_path / "etcd", unsafe_no_fsync=True, tls=authority, auth=True) as etcd:
        await etcd.add_user("writer", "right", "/waypost/")
        await etcd.add_user("other", "right", "/elsewhere/")
        mine = authority.issue("waypost", common_name="")
        files: dict[str, Any] = {
            "ca": authority.certificate,
            "clientCert": mine.certificate,
            "clientKey": mine.key,
            "username": secret(waypost, "user", "writer"),
            "password": secret(waypost, "password", "right"),
        }
        for path in files.values():
            Path(path).chmod(0o600)
        config = {"endpoints": [etcd.endpoint, f"https://127.0.0.1:{free_port()}"]}
        sink(waypost, "etcd", config, **files)
        found = findings(waypost, 2)
        for step in ("credential", "read", "stamp", "write"):
            assert found["sink target", step]["status"] == "ok", found["sink target", step]
        assert "ends in 0 days" in found["sink target", "tls"]["message"]
        assert found["sink target", "connect"]["status"] == "warning", "the other member does its part"
        assert await etcd.read("/waypost/") == {}, "nothing was written"

        await etcd.put("/waypost/.waypost/owners/x", '{"environment":"staging","epoch":3,"generation":0}')
        stamp = findings(waypost, 1)["sink target", "stamp"]
        assert (stamp["status"], "`staging`" in stamp["message"]) == ("failed", True)

        secret(waypost, "user", "other")
        assert "permission" in findings(waypost, 1)["sink target", "read"]["message"].lower()
        secret(waypost, "password", "wrong")
        assert findings(waypost, 1)["sink target", "read"]["status"] == "failed"
    assert findings(waypost, 1)["sink target", "connect"]["status"] == "failed"


@pytest.mark.server("consul")
async def test_consul_with_tokens_that_may_and_may_not(waypost: Command, tmp_path: Path) -> None:
    rules = (
        'node_prefix "waypost-tests-" {policy = "write"}\n'
        'key_prefix "waypost/" {policy = "read"}\nkey "waypost/tests/stamp" {policy = "%s"}\n'
        'service_prefix "%s" {policy = "write"}\nservice_prefix "" {policy = "read"}\n'
    )
    async with Consul(tmp_path / "consul", acl=True) as consul:
        sink(waypost, "consul", {"address": consul.address}, token=waypost.folder / "token")
        secret(waypost, "token", await consul.limited_token(rules % ("write", "")))
        found = findings(waypost, 0)
        assert {found["sink target", step]["status"] for step in ("read", "stamp", "write")} == {"ok"}
        assert await consul.call("GET", "/v1/kv/?keys", token=consul.token) in ([], b"")
        services = await consul.call("GET", "/v1/catalog/services")
        assert set(services) == {"consul"}

        secret(waypost, "token", await consul.limited_token(rules % ("write", "web")))
        assert findings(waypost, 2)["sink target", "write"]["status"] == "warning"
        secret(waypost, "token", await consul.limited_token(rules % ("read", "")))
        write = findings(waypost, 1)["sink target", "write"]
        assert (write["status"], "may not write the stamp" in write["message"]) == ("failed", True)
        secret(waypost, "token", "00000000-0000-0000-0000-000000000000")
        assert "token is unknown" in findings(waypost, 1)["sink target", "read"]["message"]


def elector(waypost: Command, type: str, config: object, **credentials: str | Path) -> tuple[str, ...]:
    """The options that name an elector."""
    places = [{"name": name, "file": str(path)} for name, path in credentials.items()]
    file = waypost.folder / "elector.yaml"
    file.write_text(f"config: {json.dumps(config)}\ncredentials: {json.dumps(places)}\n")
    return ("--elector", type, "--elector-config", str(file))


@pytest.mark.server("etcd")
async def test_an_elector_in_etcd_is_tried_without_standing_for_election(waypost: Command, tmp_path: Path) -> None:
    waypost.declare(["a"])
    async with Etcd(tmp_path / "etcd", unsafe_no_fsync=True, auth=True) as etcd:
        await etcd.add_user("writer", "right", "/waypost-election/")
        given = {"username": secret(waypost, "user", "writer"), "password": secret(waypost, "password", "right")}
        asked = elector(waypost, "etcd", {"endpoints": [etcd.endpoint], "election": "tests"}, **given)
        found = findings(waypost, 0, *asked)
        for step in ("config", "credential", "connect", "read"):
            assert found["elector etcd", step]["status"] == "ok", found["elector etcd", step]
        assert "0 values are kept" in found["elector etcd", "read"]["message"]
        assert await etcd.read("/waypost-election/") == {}, "it stood for no election"
        secret(waypost, "password", "wrong")
        assert findings(waypost, 1, *asked)["elector etcd", "read"]["status"] == "failed"
    assert findings(waypost, 1, *asked)["elector etcd", "connect"]["status"] == "failed"


@pytest.mark.server("consul")
async def test_an_elector_in_consul_whose_token_may_not_read(waypost: Command, tmp_path: Path) -> None:
    waypost.declare(["a"])
    async with Consul(tmp_path / "consul", acl=True) as consul:
        asked = elector(
            waypost, "consul", {"address": consul.address, "election": "tests"}, token=waypost.folder / "token"
        )
        secret(waypost, "token", await consul.limited_token('key_prefix "waypost-election/" {policy = "write"}'))
        assert findings(waypost, 0, *asked)["elector consul", "read"]["status"] == "ok"
        assert await consul.call("GET", "/v1/kv/?keys", token=consul.token) in ([], b"")
        secret(waypost, "token", "00000000-0000-0000-0000-000000000000")
        assert findings(waypost, 1, *asked)["elector consul", "read"]["status"] == "failed"


def test_an_elector_whose_file_is_wrong_is_told_as_run_tells_it(waypost: Command) -> None:
    waypost.declare(["a"])
    asked = elector(waypost, "etcd", {"endpoints": ["http://127.0.0.1:1"], "elections": "x"})
    done = waypost("doctor", "-f", str(waypost.manifests), "--state-dir", str(waypost.state), *asked)
    assert (done.returncode, "--elector-config" in done.stderr, "elections" in done.stderr) == (64, True, True)


class ReadOnly(Bind):
    """A BIND that lets nobody update."""

    def configuration(self) -> str:
        return super().configuration().replace("allow-update { key waypost; }", "allow-update { none; }")


@pytest.mark.server("bind")
async def test_a_zone_whose_key_may_read_and_not_update(waypost: Command, tmp_path: Path) -> None:
    config = {"zone": "prod.example.com"}
    async with Bind(tmp_path / "named") as bind:
        sink(waypost, "dns", {**config, "server": bind.address}, tsigKey=secret(waypost, "key", bind.key))
        serial = await bind.serial()
        assert findings(waypost, 0)["sink target", "write"]["status"] == "ok"
        assert await bind.serial() == serial, "the zone was changed"
        secret(waypost, "key", bind.key.replace("waypost:", "stranger:"))
        assert findings(waypost, 1)["sink target", "read"]["status"] == "failed"
    async with ReadOnly(tmp_path / "other") as bind:
        sink(waypost, "dns", {**config, "server": bind.address}, tsigKey=secret(waypost, "key", bind.key))
        write = findings(waypost, 1)["sink target", "write"]
        assert (write["status"], "REFUSED" in write["message"]) == ("failed", True)


@pytest.mark.server("mesos")
async def test_mesos_with_a_wrong_password(waypost: Command, tmp_path: Path) -> None:
    async with MesosCluster(tmp_path / "mesos", agents=1, credentials=("user", "right")) as mesos:
        waypost.write(
            "mesos.yaml",
            "apiVersion: waypost.dev/v1alpha1\nkind: ServiceSource\nmetadata: {name: mesos}\n"
            f'spec: {{type: mesos, environment: test, config: {{masters: ["{mesos.url}"]}}, credentials: '
            "[{name: username, env: MESOS_USER}, {name: password, env: MESOS_PASSWORD}]}\n",
        )
        found = findings(waypost, 0, MESOS_USER="user", MESOS_PASSWORD="right")
        assert found["source mesos", "read"]["status"] == "ok"
        found = findings(waypost, 1, MESOS_USER="user", MESOS_PASSWORD="wrong")
        assert found["source mesos", "connect"]["status"] == "ok"
        assert found["source mesos", "read"]["status"] == "failed"
        found = findings(waypost, 1, MESOS_USER="user")
        assert "MESOS_PASSWORD is not set" in found["source mesos", "credential"]["message"]
