"""A group: a Service and its slices, as last read and as written since; and those that are remembered.

What is remembered only saves reading: every write names the version that it changes, and a version that is past makes
the group be read again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from waypost.adapter import Observed, fingerprint
from waypost.kit.ownership import KEYS, Ownership
from waypost_adapters.kubernetes.sink_cluster import SERVICES, Cluster
from waypost_adapters.kubernetes.sink_config import SinkConfig
from waypost_adapters.kubernetes.sink_naming import published_name
from waypost_adapters.kubernetes.sink_objects import OWNER, Part, meta_of, part_of
from waypost_adapters.kubernetes.sink_placing import Parts
from waypost_adapters.kubernetes.sink_record import Line, Whose, encode
from waypost_adapters.kubernetes.sink_service import Front, differs, front_of, wanted

__all__ = ["Group", "Groups", "is_empty", "merge", "observed"]

ALTERED = b"\0altered"  # makes the fingerprint of a record that is not as it was written
MOST_LINES = 30_000  # of all groups remembered


class Group:
    """One Service's. `known`: it was read, or is known to be new. `front` None: there is no such Service."""

    def __init__(self, namespace: str, service: str, name: str) -> None:
        self.namespace = namespace
        self.service = service
        self.name = name  # as published
        self.front: Front | None = None
        self.parts = Parts()
        self.taken: set[str] = set()  # names of slices that are not ours
        self.known = self.fresh = False  # `fresh`: and since then nobody else can have changed it unseen
        self.lock = asyncio.Lock()

    @property
    def is_empty(self) -> bool:
        """Whether nothing stands there, and nothing that cannot be read either."""
        return is_empty(self.front, self.parts)

    def named(self, _service: str) -> str:
        """Return the published name."""
        return self.name

    async def read(self, cluster: Cluster, owner: str) -> None:
        """Read it all."""
        self.known = False
        await self.read_front(cluster, owner)
        parts: list[Part] = []
        async for page in cluster.slices_of(self.namespace, self.service):
            for raw in page:
                head = meta_of(raw)
                if head.labels.get(OWNER) == owner:
                    parts.append(part_of(raw, owner, self.named))
                else:
                    self.taken.add(head.name)
        merge(parts)
        self.parts = Parts(parts)
        self.known = self.fresh = True

    async def read_front(self, cluster: Cluster, owner: str) -> None:
        """Read the Service."""
        raw = await cluster.get(SERVICES, self.namespace, self.service)
        self.front = None if raw is None else front_of(raw, owner, self.named)


class Groups:
    """The groups remembered, those used last; at most so many records of them."""

    def __init__(self, config: SinkConfig) -> None:
        self._config = config
        self._groups: OrderedDict[tuple[str, str], Group] = OrderedDict()

    def get(self, namespace: str, service: str) -> Group:
        """Return a group, remembered or new."""
        at = (namespace, service)
        group = self._groups.get(at)
        if group is None:
            group = self._groups[at] = Group(namespace, service, published_name(self._config, namespace, service))
        self._groups.move_to_end(at)
        return group

    def known(self, namespace: str, service: str) -> Group | None:
        """Return a group that is remembered."""
        return self._groups.get((namespace, service))

    def trim(self) -> None:
        """Forget those used longest ago, beyond the bound; never one that is being written."""
        lines = sum(sum(len(part.lines) for part in group.parts) + 4 for group in self._groups.values())
        for at in list(self._groups):
            if lines <= MOST_LINES:
                return
            group = self._groups[at]
            if not group.lock.locked():
                lines -= sum(len(part.lines) for part in group.parts) + 4
                del self._groups[at]


def is_empty(front: Front | None, parts: Iterable[Part]) -> bool:
    """Whether nothing stands under a Service of ours, and nothing that cannot be read either."""
    standing = front is not None and (front.aliases or front.altered)
    return not standing and not any(part.lines or part.altered for part in parts)


def merge(parts: Iterable[Part]) -> None:
    """Give each line the addresses that it has in all slices of a Service; halves that differ stay halves, altered."""
    seen: dict[str, list[Part]] = {}
    for part in parts:
        for label in part.lines:
            seen.setdefault(label, []).append(part)
    for label, holders in seen.items():
        if len(holders) == 1:
            continue
        lines = [part.lines[label] for part in sorted(holders, key=lambda part: part.family)]
        addresses = tuple(line.addresses[0] for line in lines)
        whole = msgspec.structs.replace(lines[0], addresses=addresses)
        alike = all(msgspec.structs.replace(line, addresses=addresses) == whole for line in lines)
        if alike and [part.family for part in sorted(holders, key=lambda part: part.family)] == ["IPv4", "IPv6"]:
            for part in holders:
                part.lines[label] = whole
        else:
            for part in holders:
                part.altered = True


def observed(
    namespace: str, service: str, front: Front | None, parts: Parts, owner: str, *, headless: bool
) -> Iterator[Observed]:
    """Yield the records of a group as they are; one record stands for what is not as it should be beside them.

    That one is written again, and with it what is wrong: the Service, or its slice.
    """
    lines: dict[str, Line] = {}
    marked: set[str] = set()
    for part in parts:
        for label, line in part.lines.items():
            if lines.setdefault(label, line) is not line:  # twice, and not as the halves of one
                marked.add(label)
        if part.altered and part.lines:
            marked.add(min(part.lines))
    if front is not None and front.is_of(owner):
        lines.update(front.aliases)
    if lines and (front is None or _wrong(front, parts, owner, headless=headless)):
        marked.add(min(lines))
    for label, line in lines.items():
        whose = _whose(line.whose)
        if whose is None:
            continue
        content = encode(line)
        seen = fingerprint(content + ALTERED if label in marked else content)
        yield Observed(
            f"{namespace}/{service}/{label}",
            seen,
            whose.registration,
            whose.entry,
            whose.service,
            line.instance,
            line.name,
            line.ready,
        )


def _wrong(front: Front, parts: Parts, owner: str, *, headless: bool) -> bool:
    want = wanted(front.spec, parts.shapes, front.aliases, headless=headless)
    return bool(parts.empty) or differs(front, want, owner)


@lru_cache(maxsize=4096)
def _whose(whose: Whose) -> Ownership | None:
    """Return registration, entry and service decoded."""
    return Ownership.decode(
        dict(zip(KEYS, ("-", whose.registration, whose.entry, whose.service, "-", whose.path), strict=True))
    )
