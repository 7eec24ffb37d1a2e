"""What is known of a cluster, kept by Service, and told as it changes: never by a list, always as this service now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from waypost.kit.problems import Problems
from waypost.model import NO_LABELS, Address, Instance, Service, ServiceKey
from waypost_adapters.kubernetes.source_config import SourceConfig
from waypost_adapters.kubernetes.source_services import (
    BEST,
    Node,
    Reached,
    ServiceRow,
    apart_from_endpoints,
    is_shown,
    labels,
    reached,
)
from waypost_adapters.kubernetes.source_slices import Slice
from waypost_adapters.kubernetes.source_text import Texts

__all__ = ["Group", "Told", "View"]

Place = tuple[str, str]  # namespace and name of a Service


class Told(Protocol):
    """Where changes go: waypost.adapter.Changes."""

    def put(self, service: Service) -> None:
        """Take a service as it is now."""

    def amend(self, part: Service, gone: Collection[str] = ()) -> None:
        """Take instances of a service as they are now, and the ids of others that are gone."""

    def remove(self, key: ServiceKey) -> None:
        """Take a service's end."""


class Group:
    """One Service, its slices, and in which of them each instance is: mostly one, two while it moves or has two IPs."""

    __slots__ = ("how", "key", "labels", "row", "shown", "slices", "told", "where")

    def __init__(self, key: ServiceKey) -> None:
        self.key = key
        self.row: ServiceRow | None = None
        self.shown = False
        self.how: Reached = "endpoints"
        self.labels: Mapping[str, str] = NO_LABELS
        self.slices: dict[str, Slice] = {}
        self.where: dict[str, str | tuple[str, ...]] = {}
        self.told: tuple[Instance, ...] | None = None  # of a service that is not reached at its endpoints

    @property
    def known(self) -> bool:
        """Whether it can be said what it has: the controller leaves a slice to each Service with a selector."""
        return self.how != "endpoints" or bool(self.slices) or not (self.row is not None and self.row.spec.selector)

    def endpoints(self) -> Collection[Instance]:
        """Return all instances at their endpoints, each once."""
        found: dict[str, Instance] = {}
        for name in sorted(self.slices):
            for id, instance in _by_id(self.slices[name].instances).items():
                there = found.get(id)
                found[id] = instance if there is None else self._merged(there, instance)
        return found.values()

    def take(
        self, name: str, now: Slice | None, went: Sequence[Instance], came: Sequence[Instance]
    ) -> tuple[Sequence[Instance], Sequence[str]]:
        """Put a slice in the place of what it was (None: it is gone); return instances that changed, and ids gone."""
        before = self.slices.get(name)
        there: Mapping[str, Instance] = {}
        if now is None:
            del self.slices[name]
        else:
            self.slices[name] = now
            if len(came) == len(went) == 1 and now.single and self._stays(went[0], came[0], name):
                return came, ()
            single = now.single and (before is None or before.single)
            there = _by_id(came if single else now.instances)  # if single, none that went is there but as one that came
        changed: list[Instance] = []
        gone: list[str] = []
        stay = dict.fromkeys([instance.id for instance in came if instance.addresses])
        for id in stay:
            holders = self._held(id, name)
            changed.append(there[id] if len(holders) == 1 else self._from(holders, id))
        for id in dict.fromkeys(instance.id for instance in went):
            if id in stay or name not in (holders := self._holders(id)):
                continue
            if id not in there:
                holders = self._left(id, holders, name)
            if holders:
                changed.append(self._from(holders, id))
            else:
                gone.append(id)
        return changed, gone

    def _stays(self, was: Instance, now: Instance, name: str) -> bool:
        """Whether these are one instance, which is in this slice only: what an event mostly is."""
        return was.id == now.id and bool(now.addresses) and self.where.get(now.id) == name

    def _holders(self, id: str) -> tuple[str, ...]:
        there = self.where.get(id, ())
        return (there,) if isinstance(there, str) else there

    def _held(self, id: str, name: str) -> tuple[str, ...]:
        """Note that an instance is in a slice; return all that it is in."""
        holders = self._holders(id)
        if name not in holders:
            holders = (*holders, name)
            self.where[id] = holders if len(holders) > 1 else name
        return holders

    def _left(self, id: str, holders: tuple[str, ...], name: str) -> tuple[str, ...]:
        """Note that an instance is no longer in a slice; return those that it is still in."""
        holders = tuple(holder for holder in holders if holder != name)
        if holders:
            self.where[id] = holders if len(holders) > 1 else holders[0]
        else:
            del self.where[id]
        return holders

    def _from(self, holders: Iterable[str], id: str) -> Instance:
        found: Instance | None = None
        for holder in sorted(holders):
            for instance in reversed(self.slices[holder].instances):
                if instance.id == id and instance.addresses:
                    found = instance if found is None else self._merged(found, instance)
                    break
        assert found is not None
        return found

    def _merged(self, one: Instance, other: Instance) -> Instance:
        """Return one instance of two: all addresses, the Service's first family first; ready if either is."""
        families = self.row.spec.ip_families if self.row is not None else ()
        six = bool(families) and families[0] == "IPv6"

        def other_family(address: Address) -> bool:
            return (":" in address.value) is not six

        addresses = sorted(dict.fromkeys((*one.addresses, *other.addresses)), key=other_family)
        ports = tuple(dict.fromkeys((*one.ports, *other.ports)))
        readiness = min(one.readiness, other.readiness, key=BEST.index)
        node, zone = one.node or other.node, one.zone or other.zone
        return Instance(one.id, tuple(addresses), ports, readiness, 1, node, zone)


class View:
    """All groups and nodes; what changes is put into `out` at once, but while a list is taken in.

    What a list lacks is no fact, so `muted` changes are left to the complete view that follows it; others that come
    while that view is `held` open are told when it has ended, for it would call them absent.
    """

    def __init__(self, source: str, config: SourceConfig, problems: Problems, out: Told) -> None:
        self.groups: dict[Place, Group] = {}
        self.nodes: dict[str, Node] = {}
        self.muted = False
        self._of: dict[Place, str] = {}  # which Service each slice was of
        self._texts = Texts()
        self._held = False
        self._pending: dict[ServiceKey, Place] = {}
        self._source, self._config, self._problems, self._out = source, config, problems, out

    def hold(self) -> None:
        """Tell nothing until `release`."""
        self._held = True

    def release(self) -> None:
        """Tell what was held back, as it is now."""
        self._held = False
        pending, self._pending = self._pending, {}
        for key, place in pending.items():
            if (group := self.groups.get(place)) is not None and group.shown:
                self._put(group)
            else:
                self._out.remove(key)

    def whole(self, group: Group) -> Service:
        """Return a group's service as it is now."""
        endpoints = group.endpoints()
        if group.how == "endpoints":
            return Service(group.key, group.labels, tuple(endpoints))
        assert group.row is not None
        group.told = apart_from_endpoints(group.row, group.how, endpoints, self.nodes)
        return Service(group.key, group.labels, group.told)

    def shown(self) -> Iterator[Group]:
        """Yield the groups that are services here and known; what is found may change between two."""
        for group in list(self.groups.values()):
            if group.shown and group.known:
                yield group

    # --- Services

    def put_service(self, now: ServiceRow) -> None:
        """Take a Service as it is now."""
        group = self._group((now.metadata.namespace, now.metadata.name))
        before = (group.shown, group.how, group.labels, group.row and _reach(group.row))
        group.row, group.shown, group.how = now, is_shown(now, self._config), reached(now, self._config)
        if (found := labels(now)) != group.labels:
            group.labels = found
        if (group.shown, group.how, group.labels, _reach(now)) == before:
            return
        if group.shown:
            self._put(group)
        elif before[0]:
            self._remove(group)

    def drop_service(self, last: ServiceRow) -> None:
        """Take a Service's end; slices of it that are left mean nothing."""
        place = (last.metadata.namespace, last.metadata.name)
        group = self._group(place)
        was, group.row, group.shown, group.labels, group.told = group.shown, None, False, NO_LABELS, None
        if was:
            self._remove(group)
        self._forget(place, group)

    # --- slices

    def put_slice(self, now: Slice) -> None:
        """Take a slice as it is now."""
        namespace, name = now.metadata.namespace, now.metadata.name
        group = self.groups.get((namespace, now.service))
        there = group.slices.get(name) if group is not None else None
        if group is None or there is None:
            if self._of.get((namespace, name), now.service) != now.service:
                self.drop_slice(now)  # of the Service that it was of
            if not now.service:
                now.forget()
                return
            group = self._group((namespace, now.service))
        try:
            went, came = now.settle(there)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            now.forget()
            self._forget((namespace, now.service), group)
            self.unreadable("EndpointSlice", (namespace, name), str(error))
            return
        self._texts.keep((namespace, name), there, now)
        if there is None:
            self._of[namespace, name] = now.service
        else:
            name = there.metadata.name  # one text for all that hold it
        self._take(group, name, now, went, came)

    def drop_slice(self, last: Slice) -> None:
        """Take a slice's end."""
        namespace, name = last.metadata.namespace, last.metadata.name
        if service := self._of.pop((namespace, name), ""):
            group = self._group((namespace, service))
            there = group.slices[name]
            self._texts.drop((namespace, name))
            self._take(group, name, None, there.instances, ())

    def _take(
        self, group: Group, name: str, now: Slice | None, went: Sequence[Instance], came: Sequence[Instance]
    ) -> None:
        fresh = not group.slices
        changed, gone = group.take(name, now, went, came)
        if (changed or gone or fresh) and group.shown:
            if fresh or group.how != "endpoints":  # who begins to be shown or known is put whole
                self._put(group)
            elif (now is not None or group.known) and not self._later(group):
                self._out.amend(Service(group.key, group.labels, tuple(changed)), gone)
        if now is None:
            self._forget((group.key.namespace, group.key.name), group)

    # --- Nodes

    def put_node(self, now: Node) -> None:
        """Take a Node as it is now."""
        name = now.metadata.name
        before = self.nodes.get(name)
        self.nodes[name] = now
        if before is None or before.status != now.status or before.zone != now.zone:
            self._node_changed(name)

    def drop_node(self, last: Node) -> None:
        """Take a Node's end."""
        if self.nodes.pop(last.metadata.name, None) is not None:
            self._node_changed(last.metadata.name)

    def _node_changed(self, name: str) -> None:
        for group in self.shown():
            if group.how == "nodes" and any(instance.node == name for instance in group.endpoints()):
                self._put(group)

    # --- inside

    def unreadable(self, kind: str, place: Place, reason: str) -> None:
        """Say that an object cannot be read; what was known of it stays."""
        self._problems.tell("Unreadable", "/".join(place), f"this {kind} stays as it was: {reason}")

    def _put(self, group: Group) -> None:
        if not group.known or self._later(group):
            return
        told = group.told
        service = self.whole(group)
        if group.how == "endpoints" or told != service.instances:
            self._out.put(service)

    def _remove(self, group: Group) -> None:
        if not self._later(group):
            self._out.remove(group.key)

    def _later(self, group: Group) -> bool:
        if not self.muted and self._held:
            self._pending[group.key] = (group.key.namespace, group.key.name)
        return self.muted or self._held

    def _group(self, place: Place) -> Group:
        if (group := self.groups.get(place)) is None:
            group = self.groups[place] = Group(ServiceKey(self._source, *place))
        return group

    def _forget(self, place: Place, group: Group) -> None:
        if group.row is None and not group.slices:
            del self.groups[place]


def _by_id(instances: Iterable[Instance]) -> dict[str, Instance]:
    """Return a slice's instances; one that is there twice is as it is last."""
    return {instance.id: instance for instance in instances if instance.addresses}


def _reach(row: ServiceRow) -> object:
    return row.spec, row.status
