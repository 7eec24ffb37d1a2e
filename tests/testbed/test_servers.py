"""The servers of the testbed start, serve, survive a kill -9 with their state, and leave no process behind."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from testbed import witness
from testbed.process import NotReadyError, Server
from testbed.servers import Consul, Etcd, EtcdCluster, Kubernetes, MesosCluster
from testbed.servers.framework import ENDED, HTTP_SERVER
from testbed.tls import Authority
from testbed.web import request


def processes_below(directory: Path) -> list[int]:
    """The processes whose command line or working directory names this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            said = (entry / "cmdline").read_bytes().decode(errors="replace") + str((entry / "cwd").readlink())
        except OSError:
            continue
        if str(directory) in said and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


@pytest.mark.server("etcd")
async def test_etcd_keeps_its_state_over_kill9_and_forgets_it_on_demand(tmp_path: Path) -> None:
    async with Etcd(tmp_path) as etcd:
        await etcd.put("/a/b", "c")
        first = etcd.pid
        await etcd.restart(kill=True)
        assert etcd.pid != first
        assert await etcd.read("/a/") == {"/a/b": "c"}
        await etcd.restart(keep_state=False)
        assert await etcd.read() == {}
    assert processes_below(tmp_path) == []


@pytest.mark.server("etcd")
async def test_a_paused_server_accepts_and_does_not_answer_until_it_resumes(tmp_path: Path) -> None:
    async with Etcd(tmp_path) as etcd:
        await etcd.pause()
        with pytest.raises(TimeoutError):
            await request("GET", f"{etcd.endpoint}/health", timeout=0.3)
        await etcd.resume()
        await etcd.ready(timeout=10)


@pytest.mark.server("etcd", "witness")
async def test_etcd_with_tls_and_users_lets_in_who_may(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    async with Etcd(tmp_path / "etcd", tls=authority, auth=True) as etcd:
        await etcd.add_user("waypost", "secret", "/waypost/")
        await etcd.put("/waypost/a", "b")
        mine = authority.issue("waypost")
        read = partial(
            witness.etcd_prefix, etcd.endpoint, tls=authority, certificate=mine, user="waypost", password="secret"
        )
        assert await read("/waypost/") == {"/waypost/a": "b"}
        with pytest.raises(witness.WitnessError, match="permission denied"):
            await read("/other/")
        with pytest.raises(OSError, match=r"CERTIFICATE_REQUIRED|certificate required|reset"):
            await request("GET", f"{etcd.endpoint}/health", tls=authority.client_context())


@pytest.mark.server("etcd")
async def test_a_cluster_of_three_goes_on_without_one(tmp_path: Path) -> None:
    async with EtcdCluster(tmp_path, unsafe_no_fsync=True) as cluster:
        lost, left, other = cluster
        await lost.kill9()
        await left.ready()
        await left.put("x", "y")
        assert await other.read() == {"x": "y"}
    assert processes_below(tmp_path) == []


@pytest.mark.server("consul", "witness")
async def test_consul_keeps_its_catalog_over_kill9_and_limits_tokens(tmp_path: Path) -> None:
    async with Consul(tmp_path, acl=True) as consul:
        service = {"ID": "web-1", "Service": "web", "Port": 80, "Tags": ["v1"], "Meta": {"k": "v"}}
        body = {"Node": "n1", "Address": "10.0.0.1", "Service": service}
        await consul.call("PUT", "/v1/catalog/register", body)
        token = await consul.limited_token('service_prefix "web" {policy = "read"} node_prefix "" {policy = "read"}')
        assert (await consul.request("PUT", "/v1/kv/x", b"y", token=token)).status == 403
        await consul.restart(kill=True)
        (web,) = (await witness.consul_services(consul.address, token=token))["web"]
        assert (web["id"], web["address"], web["port"], web["tags"]) == ("web-1", "10.0.0.1", 80, ["v1"])
    assert processes_below(tmp_path) == []


@pytest.mark.server("consul")
async def test_consul_speaks_https_and_answers_dns(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    async with Consul(tmp_path / "consul", tls=authority, client_certificates=True) as consul:
        assert consul.address.startswith("https:")
        await consul.call(
            "PUT", "/v1/catalog/register", {"Node": "n", "Address": "10.0.0.9", "Service": {"Service": "w"}}
        )
        answer = await witness.dig("127.0.0.1", consul.dns_port, "w.service.consul")
        assert (answer.status, answer.data) == ("NOERROR", ["10.0.0.9"])


@pytest.mark.server("mesos", "witness")
async def test_mesos_runs_tasks_of_two_frameworks(mesos: MesosCluster) -> None:
    async with mesos.framework("one") as one, mesos.framework("two") as two:
        check = {"type": "HTTP", "http": {"port": "$PORT0"}}
        (web,) = await one.launch("web", command=HTTP_SERVER, labels={"version": "2"}, health_check=check)
        (job,) = await two.launch("job", agent="127.0.0.3", ports=(), addresses=["10.1.2.3"])
        await one.wait_healthy(web)
        assert (await request("GET", f"http://{web.host}:{web.ports[0]}/")).status == 200
        listed = {task["name"]: task for task in await witness.mesos_tasks(mesos.address)}
        assert listed["web"]["discovery"]["ports"]["ports"][0]["number"] == web.ports[0]
        assert "10.1.2.3" in str(listed["job"]["statuses"][-1]["container_status"])
        await two.kill(job)
        assert job.state == "TASK_KILLED"


@pytest.mark.server("mesos")
async def test_a_killed_agent_loses_its_tasks_and_comes_back_as_itself(tmp_path: Path) -> None:
    async with MesosCluster(tmp_path, agents=1, credentials=("user", "password")) as mesos:
        assert (await request("POST", f"{mesos.url}/api/v1", {"type": "GET_TASKS"})).status == 401
        async with mesos.framework() as framework:
            (task,) = await framework.launch("web")
            agent = mesos.agents[0]
            await agent.kill9()
            await framework.wait([task], "TASK_UNREACHABLE", *ENDED)
            await agent.start()
            (again,) = await framework.launch("web")
            assert again.agent_id == task.agent_id
    assert processes_below(tmp_path) == []


@pytest.mark.server("etcd", "mesos")
def test_a_killed_test_process_leaves_nothing_running(tmp_path: Path) -> None:
    script = f"""
import asyncio, os, pathlib, signal
from testbed.servers import Etcd, MesosCluster
async def main():
    where = pathlib.Path({str(tmp_path)!r})
    await Etcd(where / "etcd").start()
    mesos = await MesosCluster(where / "mesos", agents=1).start()
    framework = await mesos.framework().start()
    await framework.launch("web", 2)
    print("up", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "up\n"), ended.stderr
    deadline = time.monotonic() + 10
    while (left := processes_below(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == []


async def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    class Broken(Server):
        name = "broken"

        def command(self) -> list[str]:
            return ["sh", "-c", "echo this is why; exit 3"]

        async def probe(self) -> None:
            raise ConnectionError

    with pytest.raises(NotReadyError, match="this is why"):
        await Broken(tmp_path).start()


@pytest.mark.server("kube", "etcd")
async def test_kubernetes_has_controllers_roles_and_tokens_and_survives_the_death_of_its_api_server(
    tmp_path: Path,
) -> None:
    async with Kubernetes(tmp_path) as cluster:
        cluster.kubectl("create", "deployment", "web", "--image=web", "--replicas=2")
        cluster.kubectl("wait", "--for=create", "replicaset", "--selector=app=web", "--timeout=60s")
        token = await cluster.token("default", "default")
        tenant = cluster.write_kubeconfig("tenant", token)
        assert "Forbidden" in cluster.kubectl("get", "pods", kubeconfig=tenant, check=False).stderr
        cluster.kubectl("create", "rolebinding", "v", "--clusterrole=view", "--serviceaccount=default:default")
        await cluster.api.restart(kill=True)
        assert "web" in cluster.kubectl("get", "deployments", "--output=name", kubeconfig=tenant).stdout
    assert processes_below(tmp_path) == []
