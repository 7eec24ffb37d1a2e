"""A whole view, read from the answers that hold it: the first record of a stream, or the answers to three calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from waypost.adapter import AdapterError
from waypost.kit.problems import Problems
from waypost_adapters.mesos import mapping, wire
from waypost_adapters.mesos.elements import Broken, Elements
from waypost_adapters.mesos.inventory import Inventory

__all__ = ["HEARTBEAT_SECONDS", "View"]

HEARTBEAT_SECONDS = 15.0  # Mesos' own default

_TASK: msgspec.json.Decoder[Any] = msgspec.json.Decoder(wire.Task)
_FRAMEWORK: msgspec.json.Decoder[Any] = msgspec.json.Decoder(wire.ListedFramework)
_WANTED: Mapping[str, msgspec.json.Decoder[Any]] = {
    "type": msgspec.json.Decoder(str),
    "tasks": _TASK,
    "unreachable_tasks": _TASK,
    "frameworks": _FRAMEWORK,
    "recovered_frameworks": _FRAMEWORK,
    "agents": msgspec.json.Decoder(wire.ListedAgent),
    "recovered_agents": msgspec.json.Decoder(wire.AgentInfo),
    "heartbeat_interval_seconds": msgspec.json.Decoder(float),
}


class View:
    """Fills an inventory whose view has begun. `agents` and `recovered` are ids with their nodes' names."""

    def __init__(self, inventory: Inventory, problems: Problems) -> None:
        self.agents: dict[str, str] = {}
        self.recovered: dict[str, str] = {}
        self.heartbeat_seconds = HEARTBEAT_SECONDS
        self._inventory, self._problems = inventory, problems
        self._elements = Elements(_WANTED)
        self._type = ""

    def feed(self, data: bytes | memoryview) -> Iterator[None]:
        """Take a piece of an answer. Stops after each element, so that others may run."""
        for name, value in self._elements.feed(data):
            if isinstance(value, Broken):
                self._problems.tell("Shape", name, f"an element is left out: {value.reason}")
            else:
                self._take(name, value)
            yield

    def end(self, type: str) -> None:
        """State that an answer has come whole; raises AdapterError where it has not, or is another one than `type`."""
        if not self._elements.done:
            raise AdapterError(f"the answer that should be {type} ended in its middle")
        if self._type != type:
            raise AdapterError(f"the answer that should be {type} is another one")
        self._elements, self._type = Elements(_WANTED), ""

    def _take(self, name: str, value: Any) -> None:
        match value:
            case wire.Task():
                self._inventory.task(value, shown=True)
            case wire.ListedAgent(agent_info=info):
                self.agents[info.id.value] = mapping.node(info)
                self._inventory.agent(value, shown=True)
            case wire.AgentInfo():
                self.recovered[value.id.value] = mapping.node(value)
            case wire.ListedFramework(framework_info=framework):
                self._inventory.framework(framework, shown=True)
            case str():
                self._type = self._type or value  # the first, which is the answer's own
            case float():
                self.heartbeat_seconds = min(max(value, 1.0), 300.0)
