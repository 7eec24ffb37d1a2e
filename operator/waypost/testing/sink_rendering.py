# A test's name is its sentence.
# ruff: noqa: D102
"""The tests of SinkConformance about `render`: pure, the same everywhere, one key a record."""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections import Counter
from typing import Any, NoReturn

import pytest

from waypost.adapter import InvalidRecord, Record
from waypost.model import Publication, PublishedInstance, PublishedName
from waypost.testing import rendering
from waypost.testing.sink_bench import SinkBench

__all__ = ["RenderConformance"]


class _Forbidden:
    """Stands in for the clock and the randomness of a Context while `render` runs."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"render used `{name}` of its context")


def _raises(what: str) -> Any:
    def forbidden(*_: object, **__: object) -> NoReturn:
        raise AssertionError(f"render called {what}")

    return forbidden


class RenderConformance(SinkBench):
    """`render` is a function of its arguments alone."""

    async def test_render_gives_the_same_twice(self) -> None:
        name = self.name("web")
        async with self.open(self.context()) as sink, self.open(self.context()) as other:
            first = rendering.flat(sink, name, self.options())
            assert first == rendering.flat(sink, name, self.options()), "two renders differ"
            assert first == rendering.flat(other, name, self.options()), "the renders of two sinks differ"
            assert any(key for key, *_ in first), "nothing was rendered"

    @pytest.mark.parametrize("seed", ["1", "20"])
    async def test_render_gives_the_same_in_another_process(self, seed: str) -> None:
        name = self.name("web")
        async with self.open(self.context()) as sink:
            here = rendering.flat(sink, name, self.options())
        there = await rendering.render_elsewhere(self.adapter, self.config(), name, self.options(), seed)
        assert here == there, "a render in another process, with other hashes, differs"

    async def test_render_uses_no_clock_and_no_randomness(self, monkeypatch: pytest.MonkeyPatch) -> None:
        name, context = self.name("web"), self.context()
        async with self.open(context) as sink:
            setattr(context, "clock", _Forbidden())  # noqa: B010 - mypy knows what belongs there
            setattr(context, "random", _Forbidden())  # noqa: B010 - as above
            with monkeypatch.context() as patch:
                _forbid(patch, type(sink).__module__.partition(".")[0])
                rendering.flat(sink, name, self.options())

    async def test_each_instance_name_and_port_has_a_key_of_its_own(self) -> None:
        async with self.open(self.context()) as sink:
            items: list[tuple[Publication, PublishedInstance]] = [
                (published, instance)
                for published, instances in rendering.samples(self.name("web"), self.options())
                for instance in instances
            ]
            keys = Counter(
                item.key
                for published, instance in items
                for item in sink.render(published, [instance])
                if isinstance(item, Record)
            )
        assert keys, "nothing was rendered"
        twice = [key for key, count in keys.items() if count > 1]
        assert not twice, f"several records have the same key: {twice}"

    async def test_the_key_depends_on_names_ports_and_ids_only(self) -> None:
        async with self.open(self.context()) as sink:
            first = self.record(sink)
            others = {
                "readiness": self.record(sink, ready=False),
                "weight": self.record(sink, weight=9),
                "metadata": self.record(sink, metadata={"other": "yes"}),
                "labels": self.record(sink, labels={}),
                "zone": self.record(sink, zone="elsewhere", node="other"),
                "address": self.record(sink, number=77),
            }
        moved = [what for what, record in others.items() if record.key != first.key]
        assert not moved, f"the key changes with {moved}"
        assert others["address"].content != first.content, "another address gives the same content"
        assert others["readiness"].content != first.content or not others["readiness"].ready, "readiness is not shown"

    async def test_rendering_some_instances_gives_what_rendering_all_gives(self) -> None:
        async with self.open(self.context()) as sink:
            published = self.publication("web")
            instances = [rendering.instance(f"i-{number}", number) for number in range(20)]
            together = {record.key: record for record in rendering.records(sink, published, instances)}
            alone = {
                record.key: record
                for instance in reversed(instances)
                for record in rendering.records(sink, published, [instance])
            }
        assert together == alone, "an instance's records depend on which others are rendered with it"

    async def test_owner_and_registration_are_part_of_the_content(self) -> None:
        async with self.open(self.context()) as sink:
            instance = rendering.instance("i-1")
            shown = {
                record.content
                for published in (
                    self.publication("web"),
                    self.publication("web", owner="owner-b"),
                    self.publication("web", entry="second"),
                    self.publication("web", service="other"),
                )
                for record in rendering.records(sink, published, [instance])
            }
        assert len(shown) == 4, "owner, entry, registration and service do not all show in the content"

    async def test_a_name_for_one_port_shows_that_port(self) -> None:
        names = [PublishedName(self.name("web-http"), "http"), PublishedName(self.name("web-admin"), "admin")]
        async with self.open(self.context()) as sink:
            published = rendering.publication(names, options=self.options())
            rendered = list(sink.render(published, [rendering.instance("i-1")]))
            without = list(sink.render(published, [rendering.instance("i-1", ports=())]))
        records = [item for item in rendered if isinstance(item, Record)]
        assert len({record.key for record in records}) == 2, f"two names for two ports give {rendered}"
        assert {record.name for record in records} == {name.name for name in names}
        assert all(isinstance(item, InvalidRecord) for item in without), "a record for a port that is not there"


def _forbid(patch: pytest.MonkeyPatch, package: str) -> None:
    """Let every way to time and chance raise, also those that modules of the sink's package imported by name."""
    for module, names in (
        (time, ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter")),
        (random, ("random", "randint", "choice", "uniform", "getrandbits", "shuffle")),
        (uuid, ("uuid1", "uuid4")),
    ):
        for name in names:
            original = getattr(module, name)
            instead = _raises(f"{module.__name__}.{name}")
            patch.setattr(module, name, instead)
            for other in _modules(package):
                for alias, value in list(vars(other).items()):
                    if value is original:
                        patch.setattr(other, alias, instead)
    for other in _modules(package):
        for alias, value in list(vars(other).items()):
            if getattr(value, "__module__", "") == "datetime" and hasattr(value, "today"):
                patch.setattr(other, alias, _Forbidden())
            elif getattr(value, "__name__", "") == "datetime" and hasattr(value, "datetime"):
                patch.setattr(value, "datetime", _Forbidden())


def _modules(package: str) -> list[Any]:
    return [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == package]
