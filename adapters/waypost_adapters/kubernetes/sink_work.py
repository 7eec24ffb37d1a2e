"""One group's changes, written: the Service first, then slices that gain, then those that lose; what each one came to.

Every step names the version that it changes. Where somebody was faster, the group is read again and the rest is planned
anew from what is there. What is not ours is a conflict, and stays as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Literal, TypeVar

import msgspec

from waypost.adapter import AdapterError, Fence, Outcome
from waypost.kit.kubernetes.errors import ApiError, answered
from waypost.kit.kubernetes.resource import Resource
from waypost_adapters.kubernetes.sink_cluster import SERVICES, SLICES, Cluster, is_denied, is_uncertain
from waypost_adapters.kubernetes.sink_config import SinkConfig
from waypost_adapters.kubernetes.sink_group import Group
from waypost_adapters.kubernetes.sink_naming import Shape
from waypost_adapters.kubernetes.sink_objects import Meta, Part, bare, meta_of, part_document
from waypost_adapters.kubernetes.sink_own import OwnWrites
from waypost_adapters.kubernetes.sink_placing import place_all
from waypost_adapters.kubernetes.sink_record import Line
from waypost_adapters.kubernetes.sink_service import (
    Front,
    Wanted,
    differs,
    document,
    ended,
    fits,
    front_of,
    is_headless,
    wanted,
)
from waypost_adapters.kubernetes.sink_stamp import fence_text

__all__ = ["Work"]

T = TypeVar("T")

APPLIED = Outcome("applied")
LARGE = {413, 422}  # what is refused for what it says
TOO_MANY = "more host names stand under one Service than its annotation holds"

Changes = Mapping[str, Line | None]
Again = Literal["", "changed", "denied"]


class _Changed(Exception):
    """Something is in another version than was read: nothing was written of this step."""


class _Denied(Exception):
    """The admission policy refused a step: another fence holds, or the API server has not seen ours yet."""


class Work:
    """Writes the groups of one batch, under one fence."""

    def __init__(self, cluster: Cluster, config: SinkConfig, owner: str, fence: Fence, own: OwnWrites) -> None:
        self.wrote = False  # or may have
        self.uncertain = False  # something had no answer: nothing more is begun
        self._cluster = cluster
        self._config = config
        self._owner = owner
        self._fence = fence_text(fence)
        self._own = own

    async def run(self, group: Group, changes: Changes, *, new: bool) -> tuple[dict[str, Outcome], Again]:
        """Write a group's changes; return the outcomes, and why what is missing from them is to be tried again, or "".

        Before that the stamp is to be read again: who was faster may be another leader. `new`: the caller knows of
        nothing there. Raises AdapterError where nothing of this group was written.
        """
        outcomes: dict[str, Outcome] = {}
        group.fresh = False
        if new and not group.known:
            group.known = True  # nothing is read: it will be created, or somebody has been there
        elif group.known:
            await group.read_front(self._cluster, self._owner)
        return outcomes, await self._run(group, dict(changes), outcomes)

    async def tidy(self, group: Group) -> None:
        """Let go what stands for nobody: a Service or slice of ours that was left empty when something was cut off."""
        await group.read(self._cluster, self._owner)
        if group.is_empty:
            try:
                await self._write(group, {})
            except (_Changed, _Denied):
                group.known = False

    async def _run(self, group: Group, pending: dict[str, Line | None], outcomes: dict[str, Outcome]) -> Again:
        if not group.known or (not group.fresh and self._idle(group, pending)):
            await group.read(self._cluster, self._owner)
        self._refuse(group, pending, outcomes)
        if not pending:
            return ""
        before = self.wrote
        try:
            await self._write(group, pending)
        except _Changed:
            group.known = False
            return "changed"
        except _Denied:
            group.known = False
            return "denied"
        except AdapterError as error:
            group.known = False
            return await self._failed(group, pending, outcomes, error, began=self.wrote and not before)
        outcomes.update(dict.fromkeys(pending, APPLIED))
        return ""

    @staticmethod
    def _idle(group: Group, pending: Changes) -> bool:
        """Whether something asked for is so already, as far as is remembered: then somebody has changed it."""
        aliases = group.front.aliases if group.front is not None else {}
        for label, line in pending.items():
            held = [part.lines[label] for part in group.parts.holding(label)]
            if label in aliases:
                held.append(aliases[label])
            if all(each == line for each in held) if line is None or held else False:
                return True
        return False

    def _refuse(self, group: Group, pending: dict[str, Line | None], outcomes: dict[str, Outcome]) -> None:
        """Settle what cannot be, for the Service is another's; what we have under it may still go."""
        if group.front is None or group.front.is_of(self._owner):
            return
        for label, line in list(pending.items()):
            if line is not None or not group.parts.holding(label):
                del pending[label]
                outcomes[label] = Outcome("conflict", f"the Service {group.namespace}/{group.service} is not ours")

    async def _failed(
        self,
        group: Group,
        pending: dict[str, Line | None],
        outcomes: dict[str, Outcome],
        error: AdapterError,
        *,
        began: bool,
    ) -> Again:
        if is_uncertain(error):
            self.uncertain = self.wrote = True
            outcomes.update(dict.fromkeys(pending, Outcome("unknown", str(error))))
        elif isinstance(error, ApiError) and error.status in LARGE:
            return await self._halves(group, pending, outcomes, error.message)
        elif isinstance(error, ApiError) and (reason := self._alone(group, error)):
            outcomes.update(dict.fromkeys(pending, Outcome("invalid", reason)))
        elif began:
            outcomes.update(dict.fromkeys(pending, Outcome("superseded", str(error))))
        else:
            raise error
        return ""

    def _alone(self, group: Group, error: ApiError) -> str:
        """Return why an error concerns this group and no other."""
        if error.status == 403 and ("exceeded quota" in error.message or group.namespace != self._config.namespace):
            return error.message
        if error.status == 404:
            return f"the namespace `{group.namespace}` is not there"
        return ""

    async def _halves(
        self, group: Group, pending: dict[str, Line | None], outcomes: dict[str, Outcome], why: str
    ) -> Again:
        """Something was refused for what it says: the same in halves, down to the culprit."""
        labels = list(pending)
        if len(labels) == 1:
            outcomes[labels[0]] = Outcome("invalid", f"the API server refuses it: {why}")
            return ""
        again: Again = ""
        middle = len(labels) // 2
        for half in (labels[:middle], labels[middle:]):
            if self.uncertain:
                outcomes.update(dict.fromkeys(half, Outcome("superseded", "the one before it had no answer")))
            elif not again:
                again = await self._run(group, {label: pending[label] for label in half}, outcomes)
        return again

    # --- the steps

    async def _write(self, group: Group, changes: Changes) -> None:
        ours = group.front is None or group.front.is_of(self._owner)
        aliases = dict(group.front.aliases) if group.front is not None and ours else {}
        for label, line in changes.items():
            if line is not None and line.host:
                aliases[label] = line
            else:
                aliases.pop(label, None)
        if not fits(aliases):
            raise answered(422, TOO_MANY.encode(), "before anything was sent")
        lines = {label: line if line is not None and line.addresses else None for label, line in changes.items()}
        draft = place_all(group.parts, lines, group.service, self._config.endpoints_per_slice, group.taken)
        shapes = group.parts.shapes | {part.shape for part in draft.grown}
        if ours and (shapes or aliases):
            await self._show(group, self._wanted(group, shapes, aliases))
        await _each([self._put(group, part) for part in draft.grown])
        await _each([self._shrink(group, part) for part in draft.shrunk])
        if ours and (group.parts or aliases):
            await self._show(group, self._wanted(group, group.parts.shapes, aliases))
        elif ours and group.front is not None:
            await self._end(group, group.front)

    def _wanted(self, group: Group, shapes: set[Shape], aliases: Mapping[str, Line]) -> Wanted:
        there = group.front.spec if group.front is not None else {}
        return wanted(there, shapes, aliases, headless=self._config.service_type == "Headless")

    async def _show(self, group: Group, want: Wanted) -> None:
        """Let the Service say what it should."""
        front = group.front or Front(Meta(group.service, group.namespace), {})
        if group.front is not None and not differs(front, want, self._owner):
            return
        body = document(front, want, self._owner, self._fence)
        if group.front is None:
            made = await self._sent(self._cluster.create(SERVICES, group.namespace, body), creates=True)
        else:
            made = await self._sent(self._cluster.update(SERVICES, group.namespace, group.service, body))
        group.front = front_of(made, self._owner, group.named)

    async def _put(self, group: Group, part: Part) -> None:
        """Write a slice; a new one has no version yet."""
        name = part.meta.name
        there = group.parts.by_name.get(name)
        meta = there.meta if there is not None else Meta(name, group.namespace)
        part = msgspec.structs.replace(part, meta=meta)
        headless = group.front is not None and is_headless(group.front.spec)
        body = part_document(part, group.service, self._owner, self._fence, headless=headless)
        if there is not None:
            made = await self._sent(self._cluster.update(SLICES, group.namespace, name, body))
        else:
            try:
                made = await self._sent(self._cluster.create(SLICES, group.namespace, body), creates=True)
            except _Changed:
                group.taken.add(name)  # somebody else's, or one of ours that nobody has read
                raise
        group.parts.put(msgspec.structs.replace(part, meta=bare(meta_of(made))))

    async def _shrink(self, group: Group, part: Part) -> None:
        await self._put(group, part)
        if not part.lines:
            meta = group.parts.by_name[part.meta.name].meta
            await self._gone(SLICES, group.namespace, meta)
            group.parts.drop(meta.name)

    async def _end(self, group: Group, front: Front) -> None:
        """Delete a Service under which nothing stands.

        In two steps, for a deletion carries no fence: it is marked, and deleted as it was marked. Whoever needs it in
        between writes it first, and the deletion does nothing.
        """
        body = ended(front, self._owner, self._fence)
        made = await self._sent(self._cluster.update(SERVICES, group.namespace, group.service, body))
        await self._gone(SERVICES, group.namespace, meta_of(made))
        group.front = None

    async def _gone(self, resource: Resource, namespace: str, meta: Meta) -> None:
        self._own.deleted(meta.uid)  # before its event can come
        try:
            await _told(self._cluster.delete(resource, namespace, meta))
        except BaseException:
            self._own.took(meta.uid)
            raise

    async def _sent(self, request: Awaitable[bytes], *, creates: bool = False) -> bytes:
        """Await a write, and note it as our own."""
        made = await _told(request, creates=creates)
        self.wrote = True
        self._own.made(meta_of(made).resource_version)
        return made


async def _told(request: Awaitable[T], *, creates: bool = False) -> T:
    """Await a request; raise _Changed and _Denied for what the API server means by these."""
    try:
        return await request
    except ApiError as error:
        if is_denied(error):
            raise _Denied from None
        if error.status == 409 or (error.status == 404 and not creates):  # 404 to a creation: no such namespace
            raise _Changed from None
        raise


async def _each(steps: Sequence[Awaitable[None]]) -> None:
    """Take steps beside each other; when all have ended, raise the gravest of what went wrong."""
    found = await asyncio.gather(*steps, return_exceptions=True)
    errors = [each for each in found if isinstance(each, BaseException)]
    if errors:
        raise max(errors, key=_gravity)


def _gravity(error: BaseException) -> int:
    if isinstance(error, AdapterError):
        return 3 if is_uncertain(error) else 2
    return 1 if isinstance(error, _Denied) else 0 if isinstance(error, _Changed) else 4
