"""A large Mesos that does not exist: its tasks, and what happens to them. Pure, and the same each time.

Made of a task and an agent recorded from a real master. Tasks are numbered; what is number N in the cluster is the same
in every process, so that who plays events and who measures them agree without a word.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

RECORDED = Path(__file__).parents[1] / "tests" / "adapters" / "mesos" / "recorded" / "state.json"
AGENTS = 1000
STRIDE = 7919  # a prime: the walk over all tasks visits each once before any twice
NUMBER = re.compile(rb"\.(\d{8})-5c1f-11ee")


class Event(NamedTuple):
    """One change: of which task, and what becomes of it."""

    number: int
    kind: str  # flip | start | end


def dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def number_in(text: bytes) -> int | None:
    """The number of the task that a record's key speaks of."""
    found = NUMBER.search(text)
    return int(found[1]) if found else None


def host(agent: int) -> str:
    return f"10.20.{agent // 250}.{agent % 250 + 1}"


class Cluster:
    """`size` tasks of `services` services. `event(i)` is what happens i-th, whoever asks and when."""

    def __init__(self, size: int, services: int) -> None:
        self.size, self.services = size, services
        state = json.loads(RECORDED.read_text())["get_state"]
        self.frameworks: list[dict[str, Any]] = state["get_frameworks"]["frameworks"]
        self._agent = state["get_agents"]["agents"][0]
        self._task = next(task for task in state["get_tasks"]["tasks"] if task["task_id"]["value"] == "web.3")
        self._template = self._make_template()

    @property
    def namespace(self) -> str:
        """The name of the framework that all tasks belong to."""
        wanted = self._task["framework_id"]["value"]
        found = (each["framework_info"] for each in self.frameworks)
        return next(str(info["name"]) for info in found if info["id"]["value"] == wanted)

    def name(self, number: int) -> str:
        return f"service-{number % self.services}"

    def identity(self, number: int) -> str:
        return f"{self.name(number)}.{number:08d}-5c1f-11ee-8c99-0242ac120002"

    def _recorded(self) -> dict[str, Any]:
        """A copy of the task that all are made of."""
        return dict(json.loads(dumps(self._task)))

    def _make_template(self) -> list[bytes]:
        """The recorded task's JSON, cut where a task's own name, id, agent, address and ports stand."""
        task = self._recorded()
        task["name"] = task["discovery"]["name"] = "@name@"
        task["task_id"]["value"] = "@id@"
        task["agent_id"]["value"] = "@agent@"
        for at, port in enumerate(task["discovery"]["ports"]["ports"]):
            port["number"] = f"@port{at}@"
        for status in task["statuses"]:
            status["task_id"] = {"value": "@id@"}
            status["agent_id"] = {"value": "@agent@"}
            for info in status["container_status"]["network_infos"]:
                info["ip_addresses"] = [{"protocol": "IPv4", "ip_address": "@host@"}]
        text = re.sub(rb'"(@port\d@)"', rb"\1", dumps(task))
        return re.split(rb"@(\w+)@", text)

    def task(self, number: int) -> bytes:
        """A task as the master lists it."""
        agent = number % AGENTS
        port = 31000 + number // AGENTS * 2 % 1000
        values = {
            b"name": self.name(number).encode(),
            b"id": self.identity(number).encode(),
            b"agent": b"agent-%d" % agent,
            b"host": host(agent).encode(),
            b"port0": b"%d" % port,
            b"port1": b"%d" % (port + 1),
        }
        return b"".join(values[part] if at % 2 else part for at, part in enumerate(self._template))

    def agents(self) -> list[dict[str, Any]]:
        """The agents, as the master lists them."""
        found = []
        for number in range(AGENTS):
            agent = json.loads(dumps(self._agent))
            agent["agent_info"] |= {"id": {"value": f"agent-{number}"}, "hostname": f"node-{number}.example"}
            agent["pid"] = f"slave(1)@{host(number)}:5051"
            found.append(agent)
        return found

    # --- what happens: of four changes, two are of a task's health, one starts a task, and one ends the oldest

    def event(self, at: int) -> Event:
        """What happens at-th; the cluster's size stays the same."""
        turn, part = divmod(at, 4)
        if part == 1:
            return Event(self.size + turn, "start")
        if part == 3:
            return Event(turn, "end")
        away = self.size // 8  # from those that end next and those that have just started
        walk = (turn * 2 + part // 2) * STRIDE % (self.size - 2 * away)
        return Event(turn + away + walk, "flip")

    def message(self, event: Event, *, healthy: bool, wall: float) -> bytes:
        """What the master says of it."""
        if event.kind == "start":
            return b'{"type":"TASK_ADDED","task_added":{"task":%s}}' % self.task(event.number)
        state = "TASK_KILLED" if event.kind == "end" else "TASK_RUNNING"
        status = json.loads(dumps(self._task["statuses"][-1]))
        status |= {
            "task_id": {"value": self.identity(event.number)},
            "agent_id": {"value": f"agent-{event.number % AGENTS}"},
            "state": state,
            "timestamp": wall,
        }
        for info in status["container_status"]["network_infos"]:
            info["ip_addresses"] = [{"protocol": "IPv4", "ip_address": host(event.number % AGENTS)}]
        if event.kind == "flip":
            status["healthy"] = healthy
        said = {"framework_id": self._task["framework_id"], "status": status, "state": state}
        return dumps({"type": "TASK_UPDATED", "task_updated": said})


class Plain(Cluster):
    """Tasks without ports, so that each is an address and no more; one at a time falls ill, and is well again next."""

    def _recorded(self) -> dict[str, Any]:
        task = super()._recorded()
        task["discovery"]["ports"]["ports"] = []
        task["resources"] = [each for each in task["resources"] if each["name"] != "ports"]
        return task

    def event(self, at: int) -> Event:
        return Event(at // 2 * STRIDE % self.size, "flip")


CLUSTERS = {kind.__name__: kind for kind in (Cluster, Plain)}
