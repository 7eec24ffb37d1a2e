"""Writes of a batch: one transaction with the fence in it; what Consul refuses is named, and the rest is written.

Nothing is written over what is not ours: a record is created where nothing is (`cas` with index 0), changed or deleted
where it still is what was read, and found ours, a moment before (`cas`, `delete-cas` with its index).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from waypost.adapter import APPLIED, AdapterError, Change, Fence, Limits, NotClaimed, Outcome, PermanentError
from waypost.kit.http import Unanswered
from waypost_adapters.consul import wire
from waypost_adapters.consul.adopting import Adopting, Met, same
from waypost_adapters.consul.catalog import OWNERSHIP, Catalog, Seen
from waypost_adapters.consul.client import Client, TooLarge, denied
from waypost_adapters.consul.render import split_key
from waypost_adapters.consul.stamp import Stamps
from waypost_adapters.consul.watching import Own

__all__ = ["MAX_BYTES", "Writing"]

MAX_BYTES = 400_000  # of contents in a transaction, whose limit is 512 KiB by default

TRIES = 4  # of one record that others change while it is written
ROUNDS = 16  # of a whole batch: each names one more kind of refusal
SUPERSEDED = Outcome("superseded", "the generation is past")
FOREIGN = Outcome("conflict", "a service of that id is there, and it is not ours")


class _Step(msgspec.Struct):
    """One change on its way: `seen` is what is there; with `look` that must be read first."""

    change: Change
    node: str
    ident: str
    look: bool
    seen: Seen | None = None
    tries: int = 0
    takes: bool = False  # what is there is nobody's, and to become ours

    @property
    def stays(self) -> bool:
        """Whether the record is ours afterwards."""
        return self.change.record is not None


class _Refusal(msgspec.Struct):
    """What a transaction that was rolled back said of one step."""

    step: _Step
    what: str
    check_only: bool  # the service could be written; its check could not


class Writing:
    """Writes for one owner."""

    def __init__(self, client: Client, stamps: Stamps, catalog: Catalog, own: Own, adopting: Adopting) -> None:
        self._client = client
        self._stamps = stamps
        self._catalog = catalog
        self._own = own
        self._adopting = adopting
        self._known: set[str] = set()  # nodes that are there
        self._ours = frozenset(catalog.nodes)
        self._making = asyncio.Lock()

    async def prepare(self) -> Limits:
        """Learn how many operations this server takes, and which of our nodes are there."""
        self._catalog.operations = 128 if await self._takes(128) else 64
        self._known = await self._catalog.known_nodes()
        await self._adopting.load()
        return Limits(records=(self._catalog.operations - 1) // 2, bytes=MAX_BYTES)

    async def _takes(self, operations: int) -> bool:
        probe = b'{"KV":{"Verb":"get-tree","Key":"waypost/%b/none/"}}' % self._catalog.owner.encode()
        try:
            await self._client.transact(wire.transaction([probe] * operations))
        except TooLarge:
            return False
        return True

    async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Mapping[str, Outcome]:
        """Write a batch; see `Sink.apply`."""
        if fence is None:
            raise NotClaimed("nothing is written to Consul without a claim")
        steps = [
            _Step(change, *self._adopting.place(change.key), look=not change.create or bool(change.adopt))
            for change in batch
        ]
        outcomes: dict[str, Outcome] = {}
        sent = False
        try:
            for _ in range(ROUNDS):
                if not steps:
                    break
                index = await self._stamps.index(fence)
                if index is None:
                    return {step.change.key: SUPERSEDED for step in steps} | outcomes
                await self._look(steps)
                await self._meet(steps, outcomes)
                steps = [step for step in steps if step.change.key not in outcomes]
                steps = self._settled(steps, outcomes)
                made = {step.node for step in steps if step.change.record is not None and step.node in self._ours}
                await self._make_nodes(made, index, fence)
                size = (self._catalog.operations - 1) // (3 if any(map(self._beside, steps)) else 2)
                for part in [steps[at : at + size] for at in range(0, len(steps), size)]:
                    sent = True
                    await self._write(part, index, fence, outcomes)
                steps = [step for step in steps if step.change.key not in outcomes]
            outcomes = _rest(batch, outcomes, "others change the catalog while it is written")
        except Unanswered as error:
            if not sent:
                raise AdapterError(str(error)) from None
            outcomes = _rest(batch, outcomes, str(error))
        except AdapterError as error:
            if not any(outcome.status == "applied" for outcome in outcomes.values()):
                raise
            outcomes = _rest(batch, outcomes, str(error))
        return outcomes

    async def _look(self, steps: Sequence[_Step]) -> None:
        unread = [step for step in steps if step.look]
        if not unread:
            return
        found = await self._catalog.look([step.change.key for step in unread])
        for step in unread:
            step.seen, step.look = found.get(step.change.key), False
            if step.seen is None and self._adopting.has(step.change.key):  # gone from where it was taken over
                self._adopting.lost(step.change.key)
                step.node, step.ident = split_key(step.change.key)

    def _settled(self, steps: Sequence[_Step], outcomes: dict[str, Outcome]) -> list[_Step]:
        """Settle what needs no writing; return the rest."""
        left = []
        for step in steps:
            if step.seen is None and step.change.record is None:
                outcomes[step.change.key] = APPLIED
            elif not step.takes and not self._is_ours(step):
                outcomes[step.change.key] = FOREIGN
            else:
                left.append(step)
        return left

    def _is_ours(self, step: _Step) -> bool:
        """Say whether the place, and what is there, is ours."""
        if step.node not in self._ours and not self._adopting.has(step.change.key):
            return False
        return step.seen is None or self._catalog.owned(step.seen.entry)

    async def _meet(self, steps: Sequence[_Step], outcomes: dict[str, Outcome]) -> None:
        """Settle what is to be asked for and is there, and find the place of what is to be taken over."""
        for step in steps:
            record = step.change.record
            if record is None or not step.change.adopt or (step.seen is not None and self._is_ours(step)):
                continue
            step.takes = False
            if step.seen is not None and step.node in self._ours:  # left behind, where it would be
                other = "waypost-owner" in (step.seen.entry.meta or {})
                wrong = "it is another owner's" if other else same(step.seen.entry, step.seen.status, record.content)
                met = Met(step.node, step.seen.entry, wrong)
            elif (found := await self._adopting.meet(record)) is not None:
                met = found
            else:
                step.node, step.ident = split_key(step.change.key)
                step.seen = None
                continue
            told = f"{record.name} at {met.entry.address}:{met.entry.port}, id {met.entry.id} on node {met.node}"
            if met.wrong:
                outcomes[step.change.key] = Outcome("conflict", f"not the same is there: {told}: {met.wrong}"[:500])
            elif step.change.adopt == "ask":
                outcomes[step.change.key] = Outcome("identical", told[:200])
            else:
                step.node, step.ident, step.takes = met.node, met.entry.id, True
                step.seen = Seen(met.entry, "")

    def _beside(self, step: _Step) -> list[bytes]:
        return self._adopting.operations(step.change.key, step.node, step.ident, stays=step.stays)

    async def _write(self, steps: list[_Step], index: int, fence: Fence, outcomes: dict[str, Outcome]) -> None:
        """Send one transaction; note the outcomes of all where it passed, else of those that it refused for good."""
        operations = [wire.check_index(self._stamps.key, index)]
        owners: list[_Step | None] = [None]
        for step in steps:
            beside = self._beside(step)
            operations += [self._operation(step), *beside]
            owners += [step] * ((1 if step.change.record is None else 2) + len(beside))
        try:
            answer = await self._client.transact(wire.transaction(operations))
        except TooLarge as error:
            if len(steps) == 1:
                outcomes[steps[0].change.key] = Outcome("invalid", str(error))
                return
            self._catalog.operations = min(self._catalog.operations, 64)
            half = len(steps) // 2
            await self._write(steps[:half], index, fence, outcomes)
            await self._write(steps[half:], index, fence, outcomes)
            return
        if answer.errors is None or not answer.errors:
            self._own.note(answer, {step.change.key for step in steps if step.change.record is None})
            for step in steps:
                self._adopting.wrote(step.change.key, step.node, step.ident, stays=step.stays)
                outcomes[step.change.key] = APPLIED
        elif fenced := [error.what for error in answer.errors if error.op_index == 0]:
            await self._unfenced(fenced[0], fence)
        else:
            self._refused(_refusals(answer, owners), outcomes)

    def _operation(self, step: _Step) -> bytes:
        node, record = step.node, step.change.record
        at = step.seen.entry.modify_index if step.seen is not None else 0
        if record is not None:
            content = record.content
            if step.ident != split_key(step.change.key)[1]:
                entry = msgspec.structs.replace(wire.entry_of(content), id=step.ident)
                content = wire.content_of(entry, wire.status_of(content))
            return wire.write(node, step.ident, record.name, content, at)
        assert step.seen is not None  # what is absent has been settled
        if step.change.release:
            meta = {name: text for name, text in (step.seen.entry.meta or {}).items() if name not in OWNERSHIP}
            return wire.leave(node, msgspec.structs.replace(step.seen.entry, id=step.ident, meta=meta or None), at)
        return wire.remove(node, step.ident, step.seen.entry.service, at)

    async def _unfenced(self, what: str, fence: Fence) -> None:
        if denied(what):
            raise PermanentError(
                f"{self._stamps.key}: the token may not read it (key:read); see the README's PERMISSIONS"
            )
        await self._stamps.refused(fence)

    def _refused(self, refusals: Sequence[_Refusal], outcomes: dict[str, Outcome]) -> None:
        if not refusals:
            raise AdapterError("Consul rolled a transaction back and named no operation")
        for refusal in refusals:
            step, what = refusal.step, refusal.what
            step.tries += 1
            if step.tries > TRIES:
                outcomes[step.change.key] = Outcome("unknown", "others change it while it is written")
            elif what == "Missing node registration":
                self._known.discard(step.node)
            elif "index is stale" not in what:
                outcomes[step.change.key] = Outcome("invalid", _reason(what))
            elif refusal.check_only and step.seen is None:
                outcomes[step.change.key] = Outcome("conflict", "a check of that id is there, and it is not ours")
            else:
                step.look = True
                self._adopting.stale()

    async def _make_nodes(self, nodes: set[str], index: int, fence: Fence) -> None:
        """Create those of our nodes that are needed and absent."""
        if nodes <= self._known:
            return
        async with self._making:
            missing = sorted(nodes - self._known)
            size = self._catalog.operations - 1
            for part in [missing[at : at + size] for at in range(0, len(missing), size)]:
                made = [wire.create_node(node, self._catalog.owner) for node in part]
                answer = await self._client.transact(
                    wire.transaction([wire.check_index(self._stamps.key, index), *made])
                )
                for error in answer.errors or ():
                    await self._node_refused(error.what, error.op_index, part, fence)
                if not answer.errors:
                    self._known.update(part)

    async def _node_refused(self, what: str, operation: int, nodes: Sequence[str], fence: Fence) -> None:
        if operation == 0:
            await self._unfenced(what, fence)
        elif denied(what):
            raise PermanentError(f"the token may not write nodes (node:write): {_reason(what)}")
        elif "index is stale" not in what:
            raise AdapterError(f"{nodes[operation - 1]}: {_reason(what)}")
        elif await self._catalog.known_node(nodes[operation - 1]):
            self._known.add(nodes[operation - 1])


def _refusals(answer: wire.Transaction, owners: Sequence[_Step | None]) -> list[_Refusal]:
    """Return one refusal a step, that of its service before that of its check."""
    found: dict[str, _Refusal] = {}
    for error in sorted(answer.errors or (), key=lambda error: error.op_index):
        step = owners[error.op_index] if 0 <= error.op_index < len(owners) else None
        if step is not None and step.change.key not in found:
            second = owners[error.op_index - 1] is step
            found[step.change.key] = _Refusal(step, error.what, second)
    return list(found.values())


def _reason(what: str) -> str:
    text = "".join(filter(str.isprintable, what))[:300]
    return f"the token lacks a permission for it: {text}" if denied(what) else f"Consul refuses it: {text}"


def _rest(batch: Sequence[Change], outcomes: dict[str, Outcome], reason: str) -> dict[str, Outcome]:
    unknown = Outcome("unknown", reason)
    return {change.key: outcomes.get(change.key, unknown) for change in batch}
