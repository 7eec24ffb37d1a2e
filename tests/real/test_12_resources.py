"""Promise 12 on real servers: a source, a sink, a credential or a grant that goes or breaks deletes no record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from testbed.servers import Bind, Consul, Etcd
from tests.real.conftest import driver_on
from tests.real_rig import Driver, RealRig, until
from tests.rig import service, source


async def filled(tmp_path: Path, driver: Driver) -> RealRig:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(rig.registration("web"))
    async with rig.running():
        await rig.settle()
    return rig


async def declared(rig: RealRig, declare: Callable[[RealRig], object]) -> None:
    """Change the manifests; return when they are in force and all is done that they ask for."""
    sink, target = rig.settings.sinks.get("out"), rig.engine.reconciler.targets.get("out")
    declare(rig)
    edited = rig.settings.sinks.get("out") is not sink
    targets = rig.engine.reconciler.targets
    await until(lambda: rig.engine.settings is rig.settings, "the manifests are in force")
    await until(lambda: not edited or targets.get("out") is not target, "the sink is begun anew")
    await at_rest(rig)


async def at_rest(rig: RealRig) -> None:
    """Return when all that may be done is done."""
    target = rig.engine.reconciler.targets.get("out")
    if target is not None and target.mode != "Paused":
        await until(lambda: target.settled, "it is settled")


BREAKING: dict[str, Callable[[RealRig], object]] = {
    "the source is deleted": lambda rig: rig.withdraw("sources", "mem"),
    "the sink is deleted": lambda rig: rig.withdraw("sinks", "out"),
    "the grant of the sink is narrowed": lambda rig: rig.declare(rig.sink(grants=[{"namespaces": ["other"]}])),
    "the name is reserved": lambda rig: rig.declare(rig.sink(reservedNames=["web*"])),
    "the grant of the source is narrowed": lambda rig: rig.declare(source(grants=[{"namespaces": ["other"]}])),
    "the environment is not accepted": lambda rig: rig.declare(rig.sink(accepts={"registered": ["prod"]})),
    "the source is frozen": lambda rig: rig.declare(source(mode="Frozen")),
    "the sink is paused": lambda rig: rig.declare(rig.sink(mode="Paused")),
}


@pytest.mark.parametrize("what", sorted(BREAKING))
async def test_nothing_is_deleted_or_written_where(driver: Driver, tmp_path: Path, what: str) -> None:
    rig = await filled(tmp_path, driver)
    before = await driver.revision()
    whole = rig.settings
    async with rig.running():
        await rig.settle()
        await declared(rig, BREAKING[what])
        assert await driver.revision() == before, "while it runs"
    async with rig.running():
        await at_rest(rig)
        assert await driver.revision() == before, "nor at a start"
        await declared(rig, lambda rig: rig.declare(*whole.sources.values(), *whole.sinks.values()))
        await rig.settle()
        assert await driver.revision() == before, "nor when it is put right"


async def guarded_etcd(folder: Path) -> tuple[Etcd, dict[str, str]]:
    server = await Etcd(folder, auth=True, unsafe_no_fsync=True).start()
    await server.add_user("waypost", "the-password", "/waypost/")
    return server, {"username": "waypost", "password": "the-password"}


async def guarded_consul(folder: Path) -> tuple[Consul, dict[str, str]]:
    server = await Consul(folder, acl=True).start()
    rules = (
        'node_prefix "waypost-" {policy = "write"}\n'
        'service_prefix "" {policy = "write"}\nkey_prefix "waypost/" {policy = "write"}'
    )
    return server, {"token": await server.limited_token(rules)}


async def guarded_bind(folder: Path) -> tuple[Bind, dict[str, str]]:
    server = await Bind(folder).start()
    return server, {"tsigKey": server.key}


@pytest.mark.parametrize(
    "guarded",
    [
        pytest.param(guarded_etcd, marks=pytest.mark.server("etcd")),
        pytest.param(guarded_consul, marks=pytest.mark.server("consul")),
        pytest.param(guarded_bind, marks=pytest.mark.server("bind", "dig")),
    ],
)
@pytest.mark.parametrize("broken", ["gone", "wrong"])
async def test_a_secret_that_is_gone_or_wrong_deletes_nothing_and_its_return_is_noticed(
    tmp_path: Path, guarded: Callable[[Path], Awaitable[tuple[Etcd | Consul | Bind, dict[str, str]]]], broken: str
) -> None:
    server, credentials = await guarded(tmp_path / "server")
    secret = list(credentials)[-1]
    try:
        driver = await driver_on(server)
        files = {name: tmp_path / f"{name}.txt" for name in credentials}
        for name, value in credentials.items():
            files[name].write_text(value)
        named = [{"name": name, "file": str(path)} for name, path in files.items()]
        rig = RealRig(tmp_path, driver, credentials=named)
        rig.memory["mem"].set(service("web", "a", "b"))
        rig.declare(rig.registration("web"))
        async with rig.running():
            await rig.settle()
        before = await driver.revision()
        if broken == "gone":
            files[secret].unlink()
        else:
            files[secret].write_text("00000000-0000-0000-0000-000000000000")
        async with rig.running() as engine:
            target = engine.reconciler.targets["out"]
            await until(lambda: target.condition.reason in {"Refused", "Unreachable"}, "it is refused")
            assert credentials[secret] not in repr(target.condition)
            assert not target.loaded
            assert await driver.revision() == before
            files[secret].write_text(credentials[secret])
            await rig.until_condition("Writing")
            rig.memory["mem"].set(service("web", "a", "b", "c"))
            await rig.until_there("web/a", "web/b", "web/c")
    finally:
        await server.kill9()
