"""A stand-in for `mesos-executor`, which the egg lacks: the command executor over the agent's v1 executor API.

usage: executor.py HOME (ignored). One task; what it knows of tasks: command (shell or not, with environment variables),
HTTP, TCP and command health checks, kill policy. Beyond the real one: a task's label `test.ip=10.1.2.3,fd00::3` makes
it report these addresses, as a CNI isolator would (under the network name in `test.net`, default cni0); a task without
a command runs its `data`, or sleeps. Health checks go to the agent's address, as every agent here has one of the
loopback's. When the agent goes, it ends its task and itself (no recovery).
"""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, NoReturn

ACTOR, AGENT = os.environ["MESOS_SLAVE_PID"].split("@")  # slave(1)@127.0.0.2:5051
HOST = AGENT.rpartition(":")[0]
PATH = f"/{ACTOR}/api/v1/executor"
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
IDS = {
    "framework_id": {"value": os.environ["MESOS_FRAMEWORK_ID"]},
    "executor_id": {"value": os.environ["MESOS_EXECUTOR_ID"]},
}


def call(body: dict[str, Any]) -> None:
    """One call of the executor API; a refusal goes to stderr, as nobody is there to handle it."""
    connection = http.client.HTTPConnection(AGENT, timeout=30)
    connection.request("POST", PATH, json.dumps({**IDS, **body}), HEADERS)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != http.client.ACCEPTED:
        print(f"executor: {answer.status} {said!r}", file=sys.stderr)


def check_once(check: dict[str, Any]) -> bool:
    """Whether one health check passes now."""
    seconds = check.get("timeout_seconds", 20)
    try:
        if "http" in check:
            connection = http.client.HTTPConnection(HOST, check["http"]["port"], timeout=seconds)
            connection.request("GET", check["http"].get("path", "/"))
            passed = http.client.OK <= connection.getresponse().status < http.client.BAD_REQUEST
            connection.close()
            return passed
        if "tcp" in check:
            socket.create_connection((HOST, check["tcp"]["port"]), timeout=seconds).close()
            return True
        return (
            subprocess.run(check["command"].get("value", ""), shell=True, check=False, timeout=seconds).returncode == 0
        )
    except (OSError, http.client.HTTPException, subprocess.SubprocessError):
        return False


class Task:
    """The one task: its process, its updates, its health."""

    def __init__(self, task: dict[str, Any]) -> None:
        """Take the TaskInfo as the agent sent it."""
        self.info = task
        self.labels = {label["key"]: label.get("value", "") for label in task.get("labels", {}).get("labels", [])}
        self.process: subprocess.Popen[bytes] | None = None
        self.killed = self.unhealthy = False
        self.unacknowledged: set[str] = set()
        self.lock = threading.Lock()

    def update(self, state: str, **more: object) -> None:
        """Tell the agent a state."""
        if "test.ip" in self.labels:
            addresses = [
                {"ip_address": ip, "protocol": "IPv6" if ":" in ip else "IPv4"}
                for ip in self.labels["test.ip"].split(",")
            ]
            network = {"name": self.labels.get("test.net", "cni0"), "ip_addresses": addresses}
            more["container_status"] = {"network_infos": [network]}
        number = base64.b64encode(uuid.uuid4().bytes).decode()
        with self.lock:
            self.unacknowledged.add(number)
        status = {
            "task_id": self.info["task_id"],
            "state": state,
            "source": "SOURCE_EXECUTOR",
            "timestamp": time.time(),
            "uuid": number,
            **more,
        }
        call({"type": "UPDATE", "update": {"status": status}})

    def acknowledged(self, number: str) -> None:
        """The agent has an update."""
        with self.lock:
            self.unacknowledged.discard(number)

    def launch(self) -> None:
        """Start the process and what watches it."""
        command = self.info.get("command") or {
            "value": base64.b64decode(self.info.get("data", "")).decode() or "exec sleep 100000"
        }
        self.update("TASK_STARTING")
        variables = command.get("environment", {}).get("variables", [])
        environment = {**os.environ, **{variable["name"]: variable.get("value", "") for variable in variables}}
        shell = command.get("shell", True)
        argv = command["value"] if shell else (command.get("arguments") or [command["value"]])
        program = None if shell else command["value"]
        try:
            self.process = subprocess.Popen(
                argv, shell=shell, executable=program, env=environment, start_new_session=True
            )
        except OSError as error:
            self.update("TASK_FAILED", message=str(error), reason="REASON_COMMAND_EXECUTOR_FAILED")
            self.leave()
        if self.killed:  # before it was there
            self.kill()
        self.update("TASK_RUNNING")
        threading.Thread(target=self.reap, daemon=True).start()
        if check := self.info.get("health_check"):
            threading.Thread(target=self.check, args=(check,), daemon=True).start()

    def check(self, check: dict[str, Any]) -> None:
        """Run the health check until the process ends; too many failures in a row kill it."""
        assert self.process is not None
        time.sleep(check.get("delay_seconds", 15))
        failures, last, began = 0, None, time.monotonic()
        while self.process.poll() is None:
            healthy = check_once(check)
            if healthy or time.monotonic() - began >= check.get("grace_period_seconds", 10):
                failures = 0 if healthy else failures + 1
                if healthy != last or not healthy:
                    self.update("TASK_RUNNING", healthy=healthy, reason="REASON_TASK_HEALTH_CHECK_STATUS_UPDATED")
                last = healthy
                if failures >= check.get("consecutive_failures", 3):
                    self.unhealthy = True
                    self.kill()
                    return
            time.sleep(check.get("interval_seconds", 10))

    def kill(self) -> None:
        """End the process: SIGTERM, and SIGKILL after the kill policy's grace period (default 3 s)."""
        self.killed = True
        grace = self.info.get("kill_policy", {}).get("grace_period", {}).get("nanoseconds", 3e9) / 1e9
        threading.Thread(target=self.end, args=(grace,), daemon=True).start()

    def end(self, grace: float) -> None:
        """End the process group and wait for the process."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
                try:
                    self.process.wait(grace)
                except subprocess.TimeoutExpired:
                    os.killpg(self.process.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Report how the process ended, and leave."""
        assert self.process is not None
        status = self.process.wait()
        ending = (
            f"exited with status {status}" if status >= 0 else f"terminated with signal {signal.strsignal(-status)}"
        )
        more: dict[str, object] = {"message": f"Command {ending}"}
        if self.killed:
            self.update("TASK_KILLED", **more, **({"healthy": False} if self.unhealthy else {}))
        elif status == 0:
            self.update("TASK_FINISHED", **more)
        else:
            self.update("TASK_FAILED", reason="REASON_COMMAND_EXECUTOR_FAILED", **more)
        self.leave()

    def leave(self) -> NoReturn:
        """End the executor once the agent has acknowledged its updates (or after 5 s)."""
        for _ in range(100):
            with self.lock:
                if not self.unacknowledged:
                    break
            time.sleep(0.05)
        os._exit(0)


def events() -> Iterator[dict[str, Any]]:
    """Subscribe and yield the agent's events until the connection ends."""
    connection = http.client.HTTPConnection(AGENT)
    subscribe: dict[str, list[str]] = {"unacknowledged_tasks": [], "unacknowledged_updates": []}
    body = {**IDS, "type": "SUBSCRIBE", "subscribe": subscribe}
    connection.request("POST", PATH, json.dumps(body), HEADERS)
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        sys.exit(f"subscribe: {answer.status} {answer.read()!r}")
    with contextlib.suppress(OSError, http.client.HTTPException):
        while line := answer.readline():
            yield json.loads(answer.read(int(line)))


def main() -> None:
    """Run the task that the agent hands over, and end with it or with the agent."""
    task: Task | None = None
    for event in events():
        match event["type"]:
            case "LAUNCH" | "LAUNCH_GROUP" if task is None:
                launched = event.get("launch", {}).get("task") or event["launch_group"]["task_group"]["tasks"][0]
                task = Task(launched)
                # Acknowledgements are read meanwhile.
                threading.Thread(target=task.launch, daemon=True).start()
            case "ACKNOWLEDGED" if task:
                task.acknowledged(event["acknowledged"]["uuid"])
            case "KILL" if task:
                task.kill()
            case "SHUTDOWN":
                break
    if task:
        task.end(3)
        time.sleep(0.5)


main()
