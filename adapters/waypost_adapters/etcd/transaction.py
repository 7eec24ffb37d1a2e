"""Writing a batch: transactions that compare the stamp and every record's owner in the write itself.

etcd compares values as bytes, and every value of an owner begins with its mark: "greater than the mark and less than
what follows it" is "ours", with no memory of ours needed. A record to create is compared with "absent". Where a
compare fails, the same transaction reads the stamp and the records instead, which tells whose fault it was; the rest
is written within the same call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from waypost.adapter import APPLIED, AdapterError, Change, Fence, Outcome
from waypost.kit.etcd import rpc_pb2 as rpc
from waypost.kit.etcd import wire
from waypost.kit.etcd.faults import TooLarge, Uncertain
from waypost_adapters.etcd.handing import released, same
from waypost_adapters.etcd.stamp import Stamp, judge

__all__ = ["Terms", "write"]

MOST_OPERATIONS = 128  # in each of a transaction's lists: etcd's --max-txn-ops, by default
MOST_BYTES = 1_200_000  # of a request; etcd's --max-request-bytes is 1.5 MiB by default
MOST_TRIES = 5  # of one record, against somebody who writes it at the same time

Send = Callable[[bytes], Awaitable[rpc.TxnResponse]]


class Terms(msgspec.Struct, frozen=True):
    """On which terms a batch is written: the stamp as it must be, and the mark of our own records."""

    stamp_key: bytes
    environment: str
    fence: Fence
    mark: bytes

    def opening(self) -> bytes:
        """Return the compare of the stamp, and its reading where a compare fails."""
        value = Stamp(self.environment, self.fence.epoch, self.fence.generation).encode()
        return wire.equals(self.stamp_key, value) + wire.read_instead(self.stamp_key)


class _Step(msgspec.Struct, gc=False):
    """One change on its way; `content` None deletes. `absent`: nothing is believed to be there, so that is compared.

    `was`: the very value that must be there: one to be released, or to be taken over.
    """

    name: str
    key: bytes
    content: bytes | None
    absent: bool
    tries: int = 0
    release: bool = False
    adopt: str = ""
    was: bytes | None = None


async def write(
    send: Send, batch: Sequence[Change], terms: Terms, found: Mapping[str, bytes] | None = None
) -> dict[str, Outcome]:
    """Write a batch; one outcome a key. `found`: what is there of those to be released, as just read.

    Raises what `judge` says, and any AdapterError, only where nothing was written.

    Once something was, whatever then stops the rest leaves it `superseded`: not written, to be sent again.
    """
    outcomes: dict[str, Outcome] = {}
    pending: list[_Step] = []
    for change in batch:
        key, record = change.key, change.record
        if change.release:
            value = (found or {}).get(key)
            if value is None:
                outcomes[key] = APPLIED
            elif terms.mark < value < wire.successor(terms.mark):
                step = _Step(key, key.encode(), released(value), False, release=True, was=value)
                pending.append(step)
            else:
                outcomes[key] = Outcome("conflict", "the record there is not ours")
        elif record is None:
            pending.append(_Step(key, key.encode(), None, False))
        elif record.content.startswith(terms.mark):
            pending.append(_Step(key, key.encode(), record.content, change.create, adopt=change.adopt))
        else:
            outcomes[key] = Outcome("invalid", "the record does not begin with the mark of this sink's owner")
    work = _Work(send, terms, outcomes)
    try:
        while pending:
            pending = await work.round(pending)
    except AdapterError as error:
        if not work.wrote:
            raise
        # What was sent without an answer is in the outcomes already; the rest was not sent, or did nothing.
        left = Outcome("superseded", f"not written: {error}")
        return {change.key: left for change in batch} | outcomes
    return outcomes


class _Work:
    """One call of `write`: what it has learned so far."""

    def __init__(self, send: Send, terms: Terms, outcomes: dict[str, Outcome]) -> None:
        self.wrote = False  # or may have
        self._send = send
        self._terms = terms
        self._outcomes = outcomes
        self._opening = terms.opening()
        self._low, self._high = terms.mark, wire.successor(terms.mark)
        self._most = MOST_OPERATIONS - 1  # records a transaction

    async def round(self, pending: list[_Step]) -> list[_Step]:
        """Send one transaction; return what is still to do."""
        taken, request = self._take(pending)
        rest = pending[len(taken) :]
        try:
            answer = await self._send(request)
        except Uncertain as error:
            self._settle(taken, Outcome("unknown", str(error)))
            self.wrote = True
            self._settle(rest, Outcome("superseded", "not sent, as the one before it had no answer"))
            return []
        except TooLarge as error:
            return self._smaller(taken, error) + rest
        if answer.succeeded:
            self._settle(taken, APPLIED)
            self.wrote = True
            return rest
        return self._learn(taken, answer) + rest

    def _take(self, pending: list[_Step]) -> tuple[list[_Step], bytes]:
        """Return as many as one transaction holds, and the transaction."""
        compares, size, count = 1, len(self._opening), 0
        parts = [self._opening]
        low, high = self._low, self._high
        for step in pending:
            if step.was is not None and step.content is not None:
                part = wire.equals(step.key, step.was) + wire.put(step.key, step.content)
                part += wire.read_instead(step.key)
            elif step.content is None:
                part = wire.delete_when(step.key, low, high)
            elif step.absent:
                part = wire.put_if_absent(step.key, step.content)
            else:
                part = wire.put_if_between(step.key, step.content, low, high)
            compares += 1 if step.absent or step.was is not None else 2
            size += len(part)
            if count and (compares > MOST_OPERATIONS or size > MOST_BYTES or count >= self._most):
                break
            count += 1
            parts.append(part)
        return pending[:count], b"".join(parts)

    def _settle(self, steps: list[_Step], outcome: Outcome) -> None:
        for step in steps:
            self._outcomes[step.name] = outcome

    def _smaller(self, taken: list[_Step], error: TooLarge) -> list[_Step]:
        """Nothing was written, a request or an answer was too large: the same in halves, down to the culprit."""
        if len(taken) > 1:
            self._most = len(taken) // 2
            return taken
        if error.answer:  # of the records read instead; ours are far smaller
            self._settle(taken, Outcome("conflict", "something larger than any record of ours is there"))
        else:
            self._settle(taken, Outcome("invalid", f"larger than this etcd takes: {error}"))
        return []

    def _learn(self, taken: list[_Step], answer: rpc.TxnResponse) -> list[_Step]:
        """Nothing was written: find out why, settle what cannot be, and return the rest with what is now known."""
        stamp, *found = (reading.response_range.kvs for reading in answer.responses)
        terms = self._terms
        verdict = judge(terms.stamp_key, stamp[0].value if stamp else None, terms.environment, terms.fence)
        if isinstance(verdict, AdapterError):
            raise verdict
        if verdict is not None:
            self._settle(taken, Outcome("superseded", f"generation {terms.fence.generation} is past"))
            return []
        again: list[_Step] = []
        for step, kvs in zip(taken, found, strict=True):
            value = kvs[0].value if kvs else None
            mine = value is not None and self._low < value < self._high  # as etcd compares
            if value is not None and not mine and (met := _met(step, value)) is not None:
                self._outcomes[step.name] = met
                continue
            if value is None and (step.content is None or step.release):
                self._outcomes[step.name] = APPLIED  # it is gone already
                continue
            step.absent, step.tries = value is None, step.tries + 1
            step.was = value if step.release or not mine else None
            if step.release and value is not None:
                step.content = released(value)
            if step.tries >= MOST_TRIES:
                self._settle([step], Outcome("superseded", "others change the record all the time"))
                continue
            again.append(step)
        return again


def _met(step: _Step, value: bytes) -> Outcome | None:
    """Say what becomes of a change that met a value which is not ours; None where it is to be taken over."""
    if step.adopt and step.content is not None and same(value, step.content):
        return Outcome("identical", f"{step.name}, {len(value)} bytes") if step.adopt == "ask" else None
    different = ", and not the same" if step.adopt else ""
    return Outcome("conflict", f"the record there is not ours{different}")
