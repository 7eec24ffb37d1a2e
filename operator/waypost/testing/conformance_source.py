# A test's name is its sentence.
# ruff: noqa: D102
"""SourceConformance: what every source promises, as tests. Subclass it (as Test…) and fill in the hooks of SourceBench.

Runs under pytest with pytest-asyncio in its mode `auto`. Every test begins with an empty system: a fixture's work.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import time

import msgspec
import pytest

from waypost.adapter import AdapterError, Placed
from waypost.kit.reach import reach
from waypost.model import Address, Instance, Service
from waypost.testing.changes import Recorder
from waypost.testing.source_bench import SourceBench
from waypost.testing.tasks import ends, leaves_no_tasks

__all__ = ["SourceConformance"]

_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")


class SourceConformance(SourceBench):
    """All tests of a source. SourceBench tells of the hooks: `open`, `create`, `destroy`, `empty`, and more."""

    async def test_the_first_thing_said_is_a_snapshot(self) -> None:
        await self.create("web", 2)
        async with self.watching() as watch:
            await self.seen(watch, "web", 2)
            await self.until(watch, lambda _: watch.recorder.count("snapshot") > 0, "a snapshot")
            assert watch.recorder.events[0].kind == "begun", (
                f"first was {watch.recorder.events[0].kind}, not a snapshot"
            )

    async def test_the_places_it_names_are_reached(self) -> None:
        async with self.open(self.context) as source:
            if not isinstance(source, Placed):
                pytest.skip("this source names no places")
            places = source.places()
            assert places
            for place in places:
                for finding in await reach(place, self.context.credentials, time.time(), self.bound):
                    assert finding.status != "failed", finding

    async def test_an_empty_system_is_an_empty_snapshot(self) -> None:
        await self.empty()
        async with self.watching() as watch:
            await self.until(watch, lambda _: watch.recorder.count("snapshot") > 0, "a snapshot")
            found = [service.key for service in watch.recorder.view.values() if service.instances]
            assert not found, f"nothing runs, but the source shows {found}"

    async def test_instances_are_as_the_model_says(self) -> None:
        await self.create("web", 3)
        await self.create("api", 1)
        async with self.watching() as watch:
            services = [await self.seen(watch, "web", 3), await self.seen(watch, "api", 1)]
        for service in services:
            assert service.key.source == self.name, f"key {service.key} does not begin with the source's resource name"
            for instance in service.instances:
                _check_instance(instance)
        ids = [instance.id for service in services for instance in service.instances]
        assert len(set(ids)) == len(ids), f"ids are not unique in the source: {sorted(ids)}"

    async def test_a_second_watch_says_the_same(self) -> None:
        await self.create("web", 3)
        async with self.watching() as watch:
            first = await self.seen(watch, "web", 3)
        async with self.watching() as watch:
            second = await self.seen(watch, "web", 3)
        assert {each.id for each in first.instances} == {each.id for each in second.instances}, "ids are not stable"
        assert first == second, f"nothing changed, but the services differ: {first} and {second}"

    async def test_a_new_instance_is_seen_and_the_others_stay(self) -> None:
        await self.create("web", 2)
        async with self.watching() as watch:
            before = await self.seen(watch, "web", 2)
            await self.create("web", 1)
            after = await self.seen(watch, "web", 3)
        changed = _less(before, after)
        assert not changed, f"instances that were not touched have changed: {changed}"

    async def test_a_new_service_is_seen(self) -> None:
        await self.create("web", 1)
        async with self.watching() as watch:
            await self.seen(watch, "web", 1)
            await self.create("api", 2)
            await self.seen(watch, "api", 2)
            await self.seen(watch, "web", 1)

    async def test_a_removed_instance_is_seen(self) -> None:
        instances = await self.create("web", 3)
        async with self.watching() as watch:
            before = await self.seen(watch, "web", 3)
            await self.destroy(instances[0])
            after = await self.seen(watch, "web", 2)
        assert not _less(after, before), "what is left differs from what it was"

    async def test_a_removed_service_is_seen(self) -> None:
        instances = await self.create("web", 1)
        await self.create("api", 1)
        async with self.watching() as watch:
            await self.seen(watch, "web", 1)
            await self.destroy(instances[0])
            key = self.key("web")
            await self.until(watch, lambda view: key not in view or not view[key].instances, "the end of `web`")
            await self.seen(watch, "api", 1)

    async def test_watch_does_not_return(self) -> None:
        await self.create("web", 1)
        async with self.watching() as watch:
            await self.seen(watch, "web", 1)
            await self.create("web", 1)
            await self.seen(watch, "web", 2)
            assert not watch.returned, "watch returned; it runs until it is cancelled or raises"

    async def test_a_cut_connection_raises_and_removes_nothing(self) -> None:
        self.skip_unless_interruptible()
        await self.create("web", 2)
        async with self.watching() as watch:
            before = await self.seen(watch, "web", 2)
            await self.interrupt()
            try:
                error = await watch.error(self.notice)
                assert isinstance(error, AdapterError), f"raised {error!r}, not an AdapterError"
                assert watch.recorder.view.get(before.key) == before, "instances vanished with the connection"
            finally:
                await self.resume()

    async def test_after_a_cut_comes_a_snapshot_again(self) -> None:
        self.skip_unless_interruptible()
        await self.create("web", 2)
        async with self.watching() as watch:
            await self.seen(watch, "web", 2)
            await self.interrupt()
            try:
                await watch.error(self.notice)
                cut = len(watch.recorder.events)
            finally:
                await self.resume()
            recorder = watch.recorder
            await self.until(
                watch,
                lambda _: any(event.kind in ("snapshot", "resumed") for event in recorder.events[cut:]),
                "a snapshot after the cut",
            )
            firsts = {recorder.events[start].kind for start in watch.starts if start < len(recorder.events)}
            assert firsts <= {"begun", "resumed"}, f"a watch that began again said first: {firsts}"
            await self.create("web", 1)
            await self.seen(watch, "web", 3)

    async def test_it_opens_while_the_system_is_down(self) -> None:
        self.skip_unless_interruptible()
        await self.create("web", 1)
        await self.interrupt()
        resumed = False
        try:
            async with self.watching() as watch:
                error = await watch.error(self.notice)
                assert isinstance(error, AdapterError), f"raised {error!r}, not an AdapterError"
                assert not watch.recorder.view, "it shows services while the system is down"
                assert not watch.recorder.count("snapshot"), "it gave a snapshot while the system is down"
                await self.resume()
                resumed = True
                await self.seen(watch, "web", 1)
        finally:
            if not resumed:
                await self.resume()

    async def test_cancelled_it_ends_soon_and_leaves_no_tasks(self) -> None:
        await self.create("web", 1)
        async with leaves_no_tasks(), self.open(self.context) as source:
            recorder = Recorder()
            task = asyncio.create_task(source.watch(recorder), name="watch")
            try:
                await recorder.until(bool, self.bound)
            finally:
                await ends(task, 5.0)

    async def test_no_secret_is_shown(self, caplog: pytest.LogCaptureFixture) -> None:
        if not self.context.credentials.secrets():
            pytest.skip("this source is given no credentials")
        caplog.set_level(logging.DEBUG)
        await self.create("web", 1)
        async with self.open(self.context) as source:
            shown = [repr(source)]
        async with self.watching() as watch:
            await self.seen(watch, "web", 1)
            if self.interruptible:
                await self.interrupt()
                try:
                    await watch.error(self.notice)
                finally:
                    await self.resume()
            shown += [f"{error!r} {error.__cause__!r}" for error in watch.errors]
        shown += [caplog.text, repr(self.context.warnings), repr(self.context.metrics.counters)]
        for secret in self.context.credentials.secrets():
            assert all(secret not in text for text in shown), "a credential is in a log line, a warning or an error"


def _less(some: Service, of: Service) -> list[Instance]:
    """Return the instances of one service that are not, exactly so, in the other."""
    others = {instance.id: instance for instance in of.instances}
    return [instance for instance in some.instances if others.get(instance.id) != instance]


def _check_instance(instance: Instance) -> None:
    msgspec.convert(
        msgspec.to_builtins(instance), Instance
    )  # types, and the words that readiness and address types may be
    assert instance.id, "an instance without id"
    assert instance.addresses, f"instance {instance.id!r} has no address"
    for address in instance.addresses:
        _check_address(address)
    for port in instance.ports:
        assert 1 <= port.number <= 65535, f"instance {instance.id!r}: port {port.number}"
        assert port.protocol in ("tcp", "udp", "sctp"), f"instance {instance.id!r}: protocol {port.protocol!r}"
    assert 0 <= instance.weight <= 65535, f"instance {instance.id!r}: weight {instance.weight}"


def _check_address(address: Address) -> None:
    try:
        canonical = str(ipaddress.ip_address(address.value))
    except ValueError:
        assert _HOST.fullmatch(address.value), f"address {address.value!r} is neither an IP literal nor a host name"
        assert not re.fullmatch(r"[0-9.]+", address.value), f"address {address.value!r} looks like IPv4 and is not"
        return
    assert address.value == canonical, f"address {address.value!r}; its canonical form is {canonical!r}"
    assert "%" not in canonical, f"address {address.value!r} has a zone"
