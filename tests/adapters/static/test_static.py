"""The source of declared services: conformance, and what is its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import yaml

from waypost.adapter import Source
from waypost.model import Address, Instance, Port, Service, ServiceKey
from waypost.testing.changes import Recorder
from waypost.testing.conformance_source import SourceConformance
from waypost.testing.context import TestContext
from waypost.testing.virtual import virtual_test
from waypost_adapters.static import SOURCE
from waypost_adapters.static.source import Config

WEB = ServiceKey("rack", "shop", "web")


class TestConformance(SourceConformance):
    interruptible = False

    def open(self, context: TestContext) -> AbstractAsyncContextManager[Source]:
        return SOURCE.open(Config(), context)

    async def create(self, name: str, count: int) -> Sequence[str]:
        declared = {service.key: service for service in self.context.declared.services()}
        had = declared.get(self.key(name), Service(self.key(name))).instances
        ids = [f"{name}-{len(had) + number}" for number in range(count)]
        made = tuple(Instance(each, (Address("10.0.0.7"),), (Port(80, "http"),)) for each in ids)
        self.context.declared.set(Service(self.key(name), {}, had + made))
        return ids

    async def destroy(self, instance: str) -> None:
        key = self.key(instance.partition("-")[0])
        (service,) = (each for each in self.context.declared.services() if each.key == key)
        left = tuple(each for each in service.instances if each.id != instance)
        if left:
            self.context.declared.set(Service(key, {}, left))
        else:
            self.context.declared.remove(key)

    async def empty(self) -> None:
        self.context.declared.remove(*(service.key for service in self.context.declared.services()))


@asynccontextmanager
async def watched(context: TestContext) -> AsyncIterator[Recorder]:
    recorder = Recorder()
    async with SOURCE.open(Config(), context) as source:
        task = asyncio.create_task(source.watch(recorder))
        await recorder.until(lambda _: recorder.count("snapshot") == 1)
        yield recorder
        task.cancel()
        await asyncio.wait([task])


def web(*ids: str, **labels: str) -> Service:
    return Service(WEB, labels, tuple(Instance(each, (Address("10.0.0.7"),)) for each in ids))


@virtual_test
async def test_only_what_differs_is_told(tmp_path: Path) -> None:
    context = TestContext(tmp_path, name="rack")
    other = Service(ServiceKey("rack", "shop", "api"), {}, web("x").instances)
    context.declared.set(web("a"), other)
    async with watched(context) as recorder:
        kept = recorder.view[other.key]
        context.declared.set(web("a", "b"), Service(other.key, {}, web("x").instances))
        await recorder.until(lambda view: len(view[WEB].instances) == 2)
        context.declared.remove(WEB)
        await recorder.until(lambda view: WEB not in view)
        assert [event.kind for event in recorder.events] == ["begun", "snapshot", "put", "remove"]
        assert recorder.view[other.key] is kept


@virtual_test
async def test_until_the_manifests_are_read_whole_nothing_is_absent(tmp_path: Path) -> None:
    """At a start one of the files may be in the middle of being written: what it declares is not gone."""
    context = TestContext(tmp_path, name="rack")
    context.declared.read(complete=False)
    context.declared.set(web("a"))
    recorder = Recorder()
    async with SOURCE.open(Config(), context) as source:
        task = asyncio.create_task(source.watch(recorder))
        await recorder.until(lambda view: WEB in view)
        context.declared.set(web("a", "b"))
        await recorder.until(lambda view: len(view[WEB].instances) == 2)
        assert {event.kind for event in recorder.events} == {"put"}
        context.declared.set(Service(ServiceKey("rack", "shop", "api"), {}, web("x").instances))
        context.declared.read(complete=True)
        await recorder.until(lambda _: recorder.count("snapshot") == 1)
        assert len(recorder.view) == 2
        context.declared.read(complete=False)
        context.declared.set(web("a"))
        await recorder.until(lambda view: len(view[WEB].instances) == 1)
        task.cancel()
        await asyncio.wait([task])
    assert recorder.count("snapshot") == 1


@virtual_test
async def test_what_stays_as_it_is_agrees_from_time_to_time(tmp_path: Path) -> None:
    """Else an absence that is doubted after a restart would be doubted for ever."""
    context = TestContext(tmp_path, name="rack")
    context.declared.set(web("a"))
    async with watched(context) as recorder:
        await asyncio.sleep(100)
        assert recorder.count("current") == 3


@virtual_test
async def test_what_changes_while_a_change_is_told_is_not_missed(tmp_path: Path) -> None:
    context = TestContext(tmp_path, name="rack")
    async with watched(context) as recorder:
        for number in range(50):
            context.declared.set(web(f"i-{number}"))
            await asyncio.sleep(0)
        await recorder.until(lambda view: view[WEB].instances[0].id == "i-49", timeout=1)


@virtual_test
async def test_registrations_that_declare_one_service_add_up(tmp_path: Path) -> None:
    context = TestContext(tmp_path, name="rack")
    declared = [web("a", "b", app="web", team="x"), web("b", "c", app="web", team="y")]
    context.declared.services = lambda: declared  # type: ignore[method-assign]  # two of one key, which `set` would not keep
    async with watched(context) as recorder:
        service = recorder.view[WEB]
        assert [instance.id for instance in service.instances] == ["a", "b", "c"]
        assert service.labels == {"app": "web"}
        assert [reason for reason, _ in context.warnings] == ["DuplicateInstance"]
        assert "`b`" in context.warnings[0][1]


def test_it_declares_and_takes_no_config_and_no_credentials() -> None:
    assert SOURCE.declares
    assert SOURCE.credentials == ()
    assert Config.__struct_fields__ == ()


def test_the_manifests_in_its_readme_are_yaml_of_this_type() -> None:
    readme = Path(__file__).parents[3] / "adapters" / "waypost_adapters" / "static" / "README.md"
    blocks = re.findall(r"```yaml\n(.*?)```", readme.read_text(), re.DOTALL)
    kinds = [document["kind"] for block in blocks for document in yaml.safe_load_all(block)]
    assert kinds == ["ServiceSource", "ServiceSource", "ServiceRegistration"]


@pytest.mark.parametrize("heading", ["Name", "Description", "Syntax", "Examples", "Bugs and limits"])
def test_its_readme_has_the_form_of_all_readmes(heading: str) -> None:
    readme = Path(__file__).parents[3] / "adapters" / "waypost_adapters" / "static" / "README.md"
    assert f"\n## {heading}\n" in readme.read_text()
