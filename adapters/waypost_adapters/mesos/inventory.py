"""What is known to run: tasks, their agents and frameworks, grouped into services. No I/O, no clock.

It is fed by events and by whole views. A view (the first record of a stream, a poll) is read while events go on. Each
task carries the number of the view that last showed it: what an event touched since the view began stays as the event
left it, and only what neither showed is swept when the view is whole. Costs grow with what changes: a change of one
instance touches its own entry and its service's list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from waypost.kit.problems import Problems
from waypost.model import Instance, Service, ServiceKey
from waypost_adapters.mesos import mapping, wire
from waypost_adapters.mesos.config import Naming
from waypost_adapters.mesos.group import Group, Interned
from waypost_adapters.mesos.known import Known, read
from waypost_adapters.mesos.naming import namespace, service_name

__all__ = ["Inventory"]


class Inventory:
    """All that runs on one Mesos. Whoever feeds it takes `dirty` and `suspects` from it, and clears them."""

    def __init__(self, source: str, naming: Naming, problems: Problems) -> None:
        self.dirty: dict[ServiceKey, None] = {}  # services whose form has changed
        self.suspects: list[tuple[ServiceKey, str, str]] = []  # (service, instance id, reason)
        self.tasks: dict[str, Known] = {}
        self.groups: dict[ServiceKey, Group] = {}
        self.waiting: dict[str, None] = {}  # ids of the tasks whose agent or framework is not known
        self.present: dict[str, bool] = {}  # registered agents: whether active
        self._agents: dict[str, mapping.Agent] = {}  # the registered ones, and those gone of which tasks are left
        self._frameworks: dict[str, str] = {}
        self._on_agent: Counter[str] = Counter()
        self._of_framework: Counter[str] = Counter()
        self._source, self._naming, self._problems = source, naming, problems
        self._interned = Interned()
        self._view = 0
        self._viewing = False
        self._ended: set[str] = set()  # tasks that ended while a view is read
        self._seen_agents: set[str] = set()  # since the last list of them began, …
        self._seen_frameworks: set[str] = set()  # … and since the last view began

    def service(self, key: ServiceKey) -> Service | None:
        """Return a service as it is now; None where nothing of it is left."""
        group = self.groups.get(key)
        return group.service(self._interned) if group is not None else None

    # --- views ------------------------------------------------------------------------------------------------------

    def begin_view(self) -> None:
        """A whole view begins; its request has not been sent yet. One that began before and was not ended is void."""
        self._view += 1
        self._viewing = True
        self._ended.clear()
        self._seen_frameworks.clear()
        self.begin_agents()

    def end_view(self) -> Iterator[None]:
        """The view is whole: sweep what it did not show. In steps, between which events may come in."""
        for task_id in list(self.waiting):
            if (known := self.tasks.get(task_id)) is not None:
                self._settle(known, known.instance, last=True)
            yield
        for task_id in list(self.tasks):
            known = self.tasks.get(task_id)
            if known is not None and known.view != self._view:
                self._sweep(task_id, known)
            yield
        for framework in self._frameworks.keys() - self._seen_frameworks - self._of_framework.keys():
            del self._frameworks[framework]
        for agent in self._agents.keys() - self.present.keys() - self._on_agent.keys():
            del self._agents[agent]
        self._viewing = False
        self._ended.clear()
        self.waiting = dict(self.waiting)  # one that was large stays so, even empty

    def begin_agents(self) -> None:
        """A list of all agents begins; its request has not been sent yet."""
        self._seen_agents.clear()

    def end_agents(self) -> list[str]:
        """The list is whole; return the agents that went without a word. Their tasks stay, for a view to judge."""
        lost = [agent for agent in self.present if agent not in self._seen_agents]
        for agent in lost:
            del self.present[agent]
        if not self._viewing:
            self._settle_waiting()
        return lost

    # --- tasks ------------------------------------------------------------------------------------------------------

    def task(self, task: wire.Task, *, shown: bool = False) -> None:
        """Take a task: from an event, or as a view has `shown` it."""
        framework = task.framework_id.value
        task_id = mapping.instance_id(framework, task.task_id.value)
        known = self.tasks.get(task_id)
        if shown and (task_id in self._ended or (known is not None and known.view == self._view)):
            return  # an event since the view began knows better
        new = read(
            known.instance.id if known else task_id, task, self._view, self._naming, self._interned, self._problems
        )
        if new is None:
            self._forget(task_id)
            return
        self._on_agent[new.agent] += 1
        self._of_framework[new.framework] += 1
        if known is not None:
            new.group, new.at = known.group, known.at
            self._uncount(known)
        self.tasks[task_id] = new
        self._settle(new, new.instance)

    def status(self, update: wire.TaskUpdated) -> bool:
        """Take a status update; return False where it is of a task that lives and is not known."""
        if update.status.task_id is None:
            return False
        task_id = mapping.instance_id(update.framework_id.value, update.status.task_id.value)
        known = self.tasks.get(task_id)
        checked = known is not None and known.checked
        state = mapping.readiness(update.state, healthy=update.status.healthy, checked=checked, naming=self._naming)
        if state is None:
            self._forget(task_id)
            return True
        if known is None:
            return False
        known.view = self._view
        known.container = self._interned.value(mapping.container_addresses((update.status,))) or known.container
        self._settle(known, msgspec.structs.replace(known.instance, readiness=state))
        return True

    # --- agents and frameworks --------------------------------------------------------------------------------------

    def agent(self, listed: wire.ListedAgent, *, shown: bool = False) -> None:
        """Take an agent, new or known. Tasks that wait for one that a view has `shown` are settled at its end."""
        agent_id = listed.agent_info.id.value
        self._seen_agents.add(agent_id)
        new, old = mapping.agent(listed, self._naming), self._agents.get(agent_id)
        self._agents[agent_id] = new
        was_active = self.present.get(agent_id, False)
        self.present[agent_id] = listed.active
        if old is None and not shown:
            self._settle_waiting()
        elif old is not None and self._on_agent[agent_id] and (new != old or (was_active and not listed.active)):
            for known in [known for known in self.tasks.values() if known.agent == agent_id]:
                self._settle(known, known.instance)
                if was_active and not listed.active:
                    self._suspect(known, "its agent has lost its connection to the master")

    def agent_removed(self, id: str) -> None:
        """State that an agent has gone for good. What is unreachable is not known to have ended, and stays."""
        self.present.pop(id, None)
        if self._on_agent[id]:
            self._forget_all(known for known in self.tasks.values() if known.agent == id and known.certain)
        if not self._on_agent[id]:
            self._agents.pop(id, None)

    def framework(self, framework: wire.Framework, *, shown: bool = False) -> None:
        """Take a framework, new or known, as an agent is taken."""
        framework_id, old = framework.id.value, self._frameworks.get(framework.id.value)
        self._seen_frameworks.add(framework_id)
        self._frameworks[framework_id] = framework.name
        if old is None and not shown:
            self._settle_waiting()
        elif old is not None and self._of_framework[framework_id] and old != framework.name:
            for known in [known for known in self.tasks.values() if known.framework == framework_id]:
                self._settle(known, known.instance)

    def framework_removed(self, id: str) -> None:
        """State that a framework has gone, and all its tasks."""
        if self._of_framework[id]:
            self._forget_all(known for known in self.tasks.values() if known.framework == id)
        self._frameworks.pop(id, None)

    # --- how --------------------------------------------------------------------------------------------------------

    def _settle_waiting(self) -> None:
        for task_id in list(self.waiting):
            known = self.tasks[task_id]
            self._settle(known, known.instance)

    def _settle(self, known: Known, instance: Instance, *, last: bool = False) -> None:
        """Put a task, with what is new of its instance, in its place among the services."""
        agent, framework = self._agents.get(known.agent), self._frameworks.get(known.framework)
        if agent is None and (known.group is not None or (last and instance.readiness == "unknown")):
            agent = mapping.NOWHERE  # unreachable, on an agent that nobody remembers
        if agent is None or framework is None:
            known.instance = instance
            self.waiting[instance.id] = None
            return
        self.waiting.pop(instance.id, None)
        key = ServiceKey(self._source, namespace(framework, self._naming), service_name(known.name, self._naming))
        addresses = mapping.addresses(known.container, known.mapped, agent)
        if not addresses or not key.name:
            self._problems.tell("NoAddress" if key.name else "NoName", known.name, "the task is left out")
            self._leave(known)
            known.instance = instance
            return
        labels = instance.labels
        if agent.labels:
            labels = self._interned.labels({**dict(agent.labels), **labels})
        placed = msgspec.structs.replace(instance, addresses=addresses, node=agent.node, zone=agent.zone, labels=labels)
        self._join(known, key, placed)

    def _join(self, known: Known, key: ServiceKey, placed: Instance) -> None:
        group = self.groups.get(key)
        if group is not None and known.group is group:
            old = group.instances[known.at]
            if placed == old:
                known.instance = old
                return
            group.replace(known.at, placed)
            if placed.readiness == "unknown" != old.readiness:
                self._suspect(known, "Mesos cannot reach its agent")
        else:
            self._leave(known)
            if group is None:
                group = self.groups[key] = Group(key)
            known.group, known.at = group, group.add(placed)
        known.instance = placed
        self.dirty[group.key] = None

    def _leave(self, known: Known) -> None:
        group = known.group
        if group is None:
            return
        moved = group.remove(known.at)
        if moved is not None:
            self.tasks[moved].at = known.at
        if not group.instances:
            del self.groups[group.key]
        self.dirty[group.key] = None
        known.group = None

    def _forget(self, id: str) -> None:
        if self._viewing:
            self._ended.add(id)
        known = self.tasks.get(id)
        if known is None:
            return
        self._leave(known)
        del self.tasks[id]
        self.waiting.pop(id, None)
        self._uncount(known)

    def _uncount(self, known: Known) -> None:
        for counts, name in ((self._on_agent, known.agent), (self._of_framework, known.framework)):
            counts[name] -= 1
            if not counts[name]:
                del counts[name]

    def _sweep(self, id: str, known: Known) -> None:
        """Forget a task because a view does not show it: no fact to be put, but for the view itself to state."""
        key = known.group.key if known.group is not None else None
        fact = key in self.dirty
        self._forget(id)
        if key is not None and not fact:
            self.dirty.pop(key, None)

    def _forget_all(self, ended: Iterator[Known]) -> None:
        for task_id in [known.instance.id for known in ended]:
            self._forget(task_id)

    def _suspect(self, known: Known, reason: str) -> None:
        if known.group is not None:
            self.suspects.append((known.group.key, known.instance.id, reason))
