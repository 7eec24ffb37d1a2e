"""SinkConformance: what every sink promises, as tests. Subclass it (as Test…) and fill in the hooks of SinkBench.

Runs under pytest with pytest-asyncio in its mode `auto`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import pytest

from waypost.adapter import AdapterError, Change, Outcome
from waypost.testing import rendering
from waypost.testing.sink_bench import SinkBench
from waypost.testing.sink_examined import ExaminedConformance
from waypost.testing.sink_fencing import FencingConformance
from waypost.testing.sink_handing import HandingConformance
from waypost.testing.sink_hostile import HostileConformance
from waypost.testing.sink_ownership import OwnershipConformance
from waypost.testing.sink_rendering import RenderConformance
from waypost.testing.tasks import ends, leaves_no_tasks

__all__ = ["SinkConformance"]


class OutageConformance(SinkBench):
    """What happens when the target is away, and when the caller is cancelled."""

    async def test_it_opens_while_the_target_is_away(self) -> None:
        async with self.outage(), self.open(self.context()) as sink:
            with pytest.raises(AdapterError):
                await sink.claim("test", "owner-a")

    async def test_observe_raises_rather_than_give_a_part(self) -> None:
        async with self.one() as ours:
            records = self.records(ours.sink, *(rendering.instance(f"i-{number}", number) for number in range(10)))
            await ours.put(*records)
            async with self.outage():
                for keys in (None, [records[0].key]):
                    with pytest.raises(AdapterError):
                        await ours.observed(keys)

    async def test_inspect_raises_while_the_target_is_away(self) -> None:
        async with self.one() as ours, self.outage():
            with pytest.raises(AdapterError):
                await ours.sink.inspect([self.name("web")])

    async def test_what_was_not_acknowledged_is_not_called_applied(self) -> None:
        async with self.one() as ours:
            kept, fresh = self.record(ours.sink, "kept"), self.record(ours.sink, "fresh")
            await ours.put(kept)
            async with self.outage():
                await self._is_unknown(ours.apply(Change(kept.key), Change(fresh.key, fresh, create=True)))

    async def test_what_a_stalled_target_does_not_answer_is_unknown(self) -> None:
        if not self.stalls:
            pytest.skip("the hook `stall` is not filled in")
        async with self.one() as ours:
            record = self.record(ours.sink)
            async with self.stall():
                await self._is_unknown(ours.apply(Change(record.key, record, create=True)))

    async def _is_unknown(self, applying: object) -> None:
        assert asyncio.iscoroutine(applying)
        try:
            async with asyncio.timeout(self.timeout):
                outcomes: dict[str, Outcome] = await applying
        except TimeoutError:
            raise AssertionError(f"apply has no time-out: it took more than {self.timeout:g} s") from None
        except AdapterError:
            return
        statuses = {outcome.status for outcome in outcomes.values()}
        assert statuses == {"unknown"}, f"nobody acknowledged it, but it is told as {statuses}"

    async def test_after_an_outage_it_goes_on(self) -> None:
        async with self.one() as ours:
            record = self.record(ours.sink)
            async with self.outage():
                with pytest.raises(AdapterError):
                    await ours.observed()
            async with asyncio.timeout(self.bound):
                while True:
                    try:
                        await ours.observed()
                        break
                    except AdapterError:
                        await asyncio.sleep(0.1)  # a server that has just come back may still elect a leader
            await ours.put(record)
            assert (await ours.observed()).keys() == {record.key}

    async def test_cancelled_it_ends_soon_and_leaves_no_tasks(self) -> None:
        async with leaves_no_tasks(), self.one() as ours:
            records = self.records(ours.sink, *(rendering.instance(f"i-{number}", number) for number in range(10)))

            async def work() -> None:
                while True:
                    await ours.put(*records)
                    await ours.observed()

            task = asyncio.create_task(work(), name="work")
            for _ in range(7):  # somewhere in the middle of a call
                await asyncio.sleep(0)
            await ends(task, 5.0)

    async def test_drift_marks_what_others_change(self) -> None:
        async with self.one() as ours, leaves_no_tasks():
            drift = getattr(ours.sink, "drift", None)
            if drift is None:
                pytest.skip("this sink has no `drift`")
            marked = asyncio.Event()
            record = self.record(ours.sink, "drifting")
            key = record.key
            if self.together:  # what others do under names that have nothing of ours concerns nobody
                await ours.put(record)

            def mark(keys: Iterable[str] | None) -> None:
                if keys is None or key in set(keys):
                    marked.set()

            task = asyncio.create_task(drift(mark), name="drift")
            try:
                async with asyncio.timeout(self.bound):
                    while not marked.is_set():
                        await self.foreign(key)  # again: the first may have come before it listened
                        await _soon(marked, min(0.5, self.bound / 5))
            except TimeoutError:
                state = task.exception() if task.done() and not task.cancelled() else "it runs"
                raise AssertionError(f"a change by others was not marked within {self.bound:g} s ({state})") from None
            finally:
                await ends(task, 5.0)

    async def test_no_secret_is_shown(self, caplog: pytest.LogCaptureFixture) -> None:
        if not self.credentials:
            pytest.skip("this sink is given no credentials")
        caplog.set_level(logging.DEBUG)
        shown = []
        async with self.one() as ours:
            record = self.record(ours.sink)
            await ours.put(record)
            shown += [repr(ours.sink), repr(await ours.observed()), record.content.decode(errors="replace")]
            async with self.outage():
                for call in (ours.observed(), ours.sink.inspect([record.name]), ours.apply(Change(record.key))):
                    try:
                        shown.append(repr(await call))
                    except AdapterError as error:
                        shown.append(f"{error!r} {error.__cause__!r} {error.__context__!r}")
        shown.append(caplog.text)
        shown += [repr((context.warnings, context.metrics.counters)) for context in self.contexts]
        for secret in self.credentials.values():
            assert all(secret not in text for text in shown), (
                "a credential is in a log line, a warning, an error or a record"
            )


async def _soon(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


class SinkConformance(
    RenderConformance,
    OwnershipConformance,
    HandingConformance,
    HostileConformance,
    FencingConformance,
    ExaminedConformance,
    OutageConformance,
):
    """All tests of a sink. The hooks to fill in are those of SinkBench.

    `adapter` (where the AdapterType is) and `config()`, or `open()`; `foreign(key)` and `read(key)` by a client of the
    test's own; `outage()`; `lose_stamp()` where `fenced`; `stall()` where `stalls`. `name(stem)` and `options()` where
    the defaults do not do.
    """
