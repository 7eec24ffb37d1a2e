"""What one event of the stream does to what is known. Pure."""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from waypost_adapters.mesos import mapping, wire
from waypost_adapters.mesos.absence import Absence
from waypost_adapters.mesos.inventory import Inventory

__all__ = ["TYPES", "After", "apply", "decode"]

TYPES = frozenset({
    "HEARTBEAT", "SUBSCRIBED", "TASK_ADDED", "TASK_UPDATED", "AGENT_ADDED", "AGENT_REMOVED",
    "FRAMEWORK_ADDED", "FRAMEWORK_UPDATED", "FRAMEWORK_REMOVED",
})  # fmt: skip

_EVENT = msgspec.json.Decoder(wire.Event)


class After(Enum):
    """What an event asks for beside the facts it states."""

    NOTHING = auto()
    SNAPSHOT = auto()  # an agent that was waited for is back: its instances are known again
    VIEW = auto()  # something is not known: look at everything at the next poll


def decode(record: bytes | bytearray | memoryview) -> wire.Event | str:
    """Return the event, or why it is none of the form expected."""
    try:
        return _EVENT.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return str(error)


def apply(event: wire.Event, inventory: Inventory, absence: Absence) -> After:
    """Apply an event. What its type names and it does not hold is something not known."""
    match event:
        case wire.Event(type="TASK_UPDATED", task_updated=wire.TaskUpdated() as update):
            return After.NOTHING if inventory.status(update) else After.VIEW
        case wire.Event(type="TASK_ADDED", task_added=wire.TaskAdded() as added):
            inventory.task(added.task)
        case wire.Event(type="AGENT_ADDED", agent_added=wire.AgentAdded() as agent):
            inventory.agent(agent.agent)
            info = agent.agent.agent_info
            return After.SNAPSHOT if absence.added(info.id.value, mapping.node(info)) else After.NOTHING
        case wire.Event(type="AGENT_REMOVED", agent_removed=wire.AgentRemoved() as removed):
            inventory.agent_removed(removed.agent_id.value)
            return After.SNAPSHOT if absence.removed(removed.agent_id.value) else After.NOTHING
        case wire.Event(type="FRAMEWORK_ADDED", framework_added=wire.FrameworkEvent() as framework):
            inventory.framework(framework.framework.framework_info)
        case wire.Event(type="FRAMEWORK_UPDATED", framework_updated=wire.FrameworkEvent() as framework):
            inventory.framework(framework.framework.framework_info)
        case wire.Event(type="FRAMEWORK_REMOVED", framework_removed=wire.FrameworkRemoved() as gone):
            inventory.framework_removed(gone.framework_info.id.value)
        case wire.Event(type="HEARTBEAT"):
            pass
        case _:
            return After.VIEW
    return After.NOTHING
