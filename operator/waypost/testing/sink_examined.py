# A test's name is its sentence.
# ruff: noqa: D102
"""The tests of SinkConformance about what a sink tells `waypost doctor`: skipped where it tells nothing of itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from waypost.adapter import AdapterError, Examined, Finding, Placed, Sink
from waypost.kit.reach import reach
from waypost.testing.sink_bench import SinkBench

__all__ = ["ExaminedConformance"]


class ExaminedConformance(SinkBench):
    """What can be tried without changing anything."""

    async def _examine(self, sink: Sink) -> Sequence[Finding]:
        if not isinstance(sink, Examined):
            pytest.skip("this sink has no `examine`")
        async with asyncio.timeout(self.timeout):
            return await sink.examine()

    async def test_where_all_is_well_all_it_tells_is_ok_before_and_after_a_claim(self) -> None:
        async with self.open(self.context()) as sink:
            for claims in (False, True):
                if claims:
                    await self.claim(sink)
                found = await self._examine(sink)
                assert found
                wrong = [finding for finding in found if finding.status != "ok"]
                assert not wrong, f"{'after' if claims else 'before'} a claim: {wrong}"

    async def test_examining_claims_and_writes_nothing(self) -> None:
        self.skip_unless_fenced()
        async with self.one() as ours, self.open(self.context()) as other:
            record = self.record(ours.sink)
            await ours.put(record)
            kept = await self.read(record.key)
            await self._examine(other)
            await self._examine(ours.sink)
            assert await self.read(record.key) == kept, "it changed a record"
            await ours.put(self.record(ours.sink, "fresh"))  # under the fence from before: nobody has claimed since
            assert len(await ours.observed()) == 2

    async def test_another_environments_stamp_is_told_as_failed(self) -> None:
        self.skip_unless_fenced()
        async with self.open(self.context(environment="other")) as stranger:
            await self._examine(stranger)  # leaves no stamp of its own behind: the claim below would be refused
            async with self.one():
                found = {finding.what: finding for finding in await self._examine(stranger)}
        assert found["stamp"].status == "failed", f"the target is of environment `test`, but: {found}"
        assert "test" in found["stamp"].message

    async def test_while_the_target_is_away_nothing_is_told_as_well(self) -> None:
        async with self.open(self.context()) as sink:
            if not isinstance(sink, Examined):
                pytest.skip("this sink has no `examine`")
            async with self.outage():
                try:
                    found = await self._examine(sink)
                except AdapterError:
                    return
            assert any(finding.status == "failed" for finding in found), f"the target was away, but: {found}"

    async def test_the_places_it_names_are_reached(self) -> None:
        context = self.context()
        async with self.open(context) as sink:
            if not isinstance(sink, Placed):
                pytest.skip("this sink names no places")
            places = sink.places()
            assert places
            for place in places:
                for finding in await reach(place, context.credentials, time.time(), self.bound):
                    assert finding.status != "failed", finding
