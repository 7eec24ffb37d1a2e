"""Adapters that fail in every way they can: each fails alone, says so, and is begun again."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.rig import Rig, registration, service, sink, source
from waypost.adapter import AdapterError, AdapterType, Fence, Fenced, PermanentError
from waypost.engine import context as engine_context
from waypost.testing.memory import Fault, MemorySink
from waypost.testing.virtual import virtual_test


def prepared(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    return rig


def wrapped(rig: Rig, which: str, opened: Callable[[Any, Any, AdapterType[Any]], Any]) -> None:
    """Let the rig's adapters of a kind be opened by `opened(config, context, the real type)`."""
    made = getattr(rig, which)

    def kind(name: str) -> AdapterType[Any]:
        real = made(name)
        return msgspec.structs.replace(real, open=lambda config, context: opened(config, context, real))

    setattr(rig, which, kind)


# --- sources


@pytest.mark.parametrize(
    "error", [AdapterError("no route"), PermanentError("wrong token"), RuntimeError("a bug"), KeyError("x")], ids=repr
)
def test_a_source_that_cannot_be_opened_is_tried_again(tmp_path: Path, error: Exception) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = prepared(tmp_path)
        tries = itertools.count()

        @asynccontextmanager
        async def opened(config: Any, context: Any, real: AdapterType[Any]) -> AsyncIterator[Any]:
            if next(tries) < 3:
                raise error
            async with real.open(config, context) as made:
                yield made

        wrapped(rig, "_source_type", opened)
        async with rig.running() as engine:
            await asyncio.sleep(0.0001)
            condition = engine.sources["mem"].condition
            assert not condition.ok
            assert condition.reason == ("Refused" if isinstance(error, PermanentError) else "Unreachable")
            await rig.settle(60)
            assert rig.found() == ["web/a", "web/b"]
            assert engine.sources["mem"].condition.ok

    scenario()


class Ending:
    """A source whose watch reads nothing and returns, or raises."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
        self.watches = 0

    async def watch(self, out: Any) -> None:
        self.watches += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (None, "the adapter's watch ended, which it must not"),
        (RuntimeError("a bug"), "the adapter failed: RuntimeError: a bug"),
        (ExceptionGroup("many", [ValueError("inner")]), "the adapter failed: ValueError: inner"),
        (AdapterError("503"), "503"),
    ],
    ids=repr,
)
def test_a_watch_that_ends_is_begun_again_with_backoff(tmp_path: Path, error: Exception | None, text: str) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = prepared(tmp_path)
        ending = Ending(error)

        @asynccontextmanager
        async def opened(config: Any, context: Any, real: AdapterType[Any]) -> AsyncIterator[Any]:
            yield ending

        wrapped(rig, "_source_type", opened)
        async with rig.running() as engine:
            await rig.settle(600)
            assert engine.sources["mem"].condition.message == text
            assert engine.sources["mem"].condition.since < rig.clock.wall() - 500, "it is down since it went down"
            assert 20 < ending.watches < 200, "with backoff, but for ever"

    scenario()


@virtual_test
async def test_a_source_that_is_refused_is_asked_less_often(tmp_path: Path) -> None:
    rig = prepared(tmp_path)
    ending = Ending(PermanentError("wrong token"))

    @asynccontextmanager
    async def opened(config: Any, context: Any, real: AdapterType[Any]) -> AsyncIterator[Any]:
        yield ending

    wrapped(rig, "_source_type", opened)
    async with rig.running() as engine:
        await rig.settle(20)
        assert ending.watches <= 4
        assert engine.sources["mem"].condition.reason == "Refused"


# --- ending


Cleanup = Callable[[], Awaitable[None]]


async def _raises() -> None:
    raise AdapterError("could not log out")


async def _fails() -> None:
    raise RuntimeError("a bug on the way out")


async def _hangs() -> None:
    await asyncio.sleep(1000)


async def _swallows() -> None:
    return


class Stubborn:
    """A source that does something else than end when it is cancelled."""

    def __init__(self, real: Any, cleanup: Cleanup) -> None:
        self.real = real
        self.cleanup = cleanup

    async def watch(self, out: Any) -> None:
        try:
            await self.real.watch(out)
        except asyncio.CancelledError:
            await self.cleanup()


@pytest.mark.parametrize("cleanup", [_raises, _fails, _swallows, _hangs], ids=lambda c: c.__name__.strip("_"))
def test_a_source_that_does_not_end_as_it_should_stops_nobody(tmp_path: Path, cleanup: Cleanup) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = prepared(tmp_path)
        rig.declare(source("bad"), registration("api", source="bad"))
        rig.memory["bad"].set(service("api", "x", source="bad"))

        @asynccontextmanager
        async def opened(config: Any, context: Any, real: AdapterType[Any]) -> AsyncIterator[Any]:
            async with real.open(config, context) as made:
                yield Stubborn(made, cleanup) if context.name == "bad" else made

        wrapped(rig, "_source_type", opened)
        async with rig.running() as engine:
            await rig.settle()
            rig.declare(source("bad", safety={"minLoss": 6}))  # its runner begins anew
            await rig.settle(10)
            rig.declare(registration("web", metadata={"team": "shop"}))
            await rig.settle(10)
            assert rig.records()["web/a"]["metadata"] == {"team": "shop"}
            rig.memory["bad"].set(service("api", "x", "y", source="bad"))
            await rig.settle(10)
            assert "api/y" in rig.found()
            assert engine.settled()

    scenario()


@pytest.mark.parametrize("cleanup", [_raises, _fails, _hangs], ids=lambda c: c.__name__.strip("_"))
def test_a_sink_that_cannot_be_closed_stops_nobody(tmp_path: Path, cleanup: Cleanup) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = prepared(tmp_path)
        rig.declare(sink("bad"), registration("web", sinks=["out", "bad"]))

        @asynccontextmanager
        async def opened(config: Any, context: Any, real: AdapterType[Any]) -> AsyncIterator[Any]:
            async with real.open(config, context) as made:
                try:
                    yield made
                finally:
                    if context.name == "bad":
                        await cleanup()

        wrapped(rig, "_sink_type", opened)
        async with rig.running():
            await rig.settle()
            rig.declare(sink("bad", safety={"minRemovals": 6}))
            await rig.settle(10)
            rig.memory["mem"].set(service("web", "a", "b", "c"))
            await rig.settle(10)
            assert rig.found("out") == rig.found("bad") == ["web/a", "web/b", "web/c"]

    scenario()


# --- sinks


class Breaks(MemorySink):
    """A sink whose `advance` does not come through."""

    broken = False

    async def advance(self, fence: Fence) -> Fence:
        if Breaks.broken:
            raise AdapterError("advance: no route")
        return await super().advance(fence)


@virtual_test
async def test_a_manifest_edited_while_its_sink_waits_to_try_again_is_taken(tmp_path: Path) -> None:
    """A session that fails in a group of tasks, and a cancellation while it pauses: the engine lives on."""
    rig = prepared(tmp_path)
    rig.on_sink = lambda made: setattr(made, "__class__", Breaks)
    async with rig.running() as engine:
        await rig.settle()
        Breaks.broken = True
        rig.sinks["out"].faults.append(Fault("lost"))
        rig.memory["mem"].set(service("web", "a", "b", "c"))
        await asyncio.sleep(0.1)
        rig.sinks["out"].down = AdapterError("down")
        await rig.settle(100)
        assert not engine.reconciler.targets["out"].condition.ok
        Breaks.broken = False
        rig.declare(sink(safety={"minRemovals": 6}))
        await rig.settle(60)
        assert rig.found() == ["web/a", "web/b", "web/c"]
        assert engine.settled()


@virtual_test
async def test_an_observe_that_breaks_off_deletes_nothing_and_is_said(tmp_path: Path) -> None:
    rig = prepared(tmp_path)
    async with rig.running():
        await rig.settle()
    rig.on_sink = lambda made: setattr(made, "observe_breaks", 1)
    async with rig.running() as engine:
        await rig.settle(60)
        condition = engine.reconciler.targets["out"].condition
        assert (condition.ok, condition.reason) == (False, "Unreachable")
        assert "broke off" in condition.message
        rig.sinks["out"].observe_breaks = None
        await rig.settle(60)
        assert engine.settled()
    assert len(rig.target().log) == 2


@virtual_test
async def test_a_resync_that_breaks_off_proves_nothing_missing(tmp_path: Path) -> None:
    rig = prepared(tmp_path)
    rig.resync_seconds = 10
    rig.on_sink = lambda made: setattr(made, "drift", lambda _mark: asyncio.Event().wait())
    async with rig.running() as engine:
        await rig.settle()
        rig.sinks["out"].observe_breaks = 0
        await rig.settle(100)
        assert engine.reconciler.targets["out"].ledger.records == 2
        rig.target().set("web/a", None)
        await rig.settle(100)
        assert rig.found() == ["web/b"]
        rig.sinks["out"].observe_breaks = None
        await rig.settle(100)
        assert rig.found() == ["web/a", "web/b"]


@pytest.mark.parametrize("error", [AdapterError("cut"), None], ids=["raises", "returns"])
def test_what_happened_while_drift_was_cut_is_found(tmp_path: Path, error: AdapterError | None) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = prepared(tmp_path)
        rig.resync_seconds = 100_000
        async with rig.running():
            await rig.settle()
            made = rig.sinks["out"]
            if error is None:
                for cut in made._drifting:
                    cut.set_result(None)
            else:
                made.cut_drift(error)
            await asyncio.sleep(0)
            rig.target().set("web/a", None)
            await rig.settle(60)
            assert rig.found() == ["web/a", "web/b"]

    scenario()


@virtual_test
async def test_fenced_with_another_error_beside_it_it_still_never_claims_again(tmp_path: Path) -> None:
    rig = prepared(tmp_path)
    armed = False

    class Both(MemorySink):
        async def advance(self, fence: Fence) -> Fence:
            try:
                return await asyncio.Event().wait()  # type: ignore[return-value]
            finally:
                raise AdapterError("cut off")

        async def observe(self, keys: Any = None) -> AsyncIterator[Any]:
            if armed:
                raise Fenced("epoch 9 rules")
            async for observed in super().observe(keys):
                yield observed

    rig.on_sink = lambda made: setattr(made, "__class__", Both)
    async with rig.running() as engine:
        await rig.settle()
        rig.sinks["out"].faults.append(Fault("lost"))
        rig.memory["mem"].set(service("web", "a", "b", "c"))
        await rig.settle(1)
        armed = True
        engine.reconciler.targets["out"].look_due.set()
        await rig.settle(600)
        assert rig.target().stamps["me"].fence.epoch == 1
        assert engine.reconciler.targets["out"].condition.reason == "Fenced"


# --- credentials


@virtual_test
async def test_a_rotation_wakes_a_source_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = prepared(tmp_path)
    rotated = asyncio.Event()

    async def changed(self: engine_context.FileCredentials) -> None:
        await rotated.wait()

    monkeypatch.setattr(engine_context.FileCredentials, "changed", changed)
    rig.memory["mem"].fail(PermanentError("wrong token"))
    async with rig.running() as engine:
        await rig.settle(1000)
        assert engine.sources["mem"].condition.reason == "Refused"
        rig.memory["mem"].recover()
        rotated.set()
        await asyncio.sleep(0.1)
        assert engine.sources["mem"].condition.ok


@virtual_test
async def test_credentials_that_cannot_be_followed_stop_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = prepared(tmp_path)

    async def changed(self: engine_context.FileCredentials) -> None:
        raise OSError("no inotify watches are left")

    monkeypatch.setattr(engine_context.FileCredentials, "changed", changed)
    rig.memory["mem"].fail(PermanentError("wrong token"))
    rig.on_sink = lambda made: setattr(made, "down", PermanentError("wrong password"))
    async with rig.running() as engine:
        await rig.settle(100)
        watches = engine.sources["mem"]._backoff.failures
        assert watches < 30, "it waits all the same"
        rig.memory["mem"].recover()
        rig.sinks["out"].down = None
        await rig.settle(60)
        assert rig.found() == ["web/a", "web/b"]


@pytest.mark.parametrize(
    ("error", "reason"), [(AdapterError("no route"), "Unreachable"), (PermanentError("token revoked"), "Refused")]
)
def test_a_sink_that_goes_while_nothing_is_to_be_written_says_so_and_recovers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: AdapterError, reason: str
) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = prepared(tmp_path)
        async with rig.running() as engine:
            await rig.settle()
            target = engine.reconciler.targets["out"]
            assert target.condition.reason == "Writing"
            writes = len(rig.target().log)

            rig.sinks["out"].down = error
            rig.sinks["out"].cut_drift(error)
            await asyncio.sleep(5)
            assert (target.condition.ok, target.condition.reason) == (False, reason)
            assert str(error) in target.condition.message
            await asyncio.sleep(600)
            told = [r for r in caplog.records if r.levelname == "WARNING" and str(error) in r.getMessage()]
            assert len(told) == 1, "it is news once, not at each try"

            rig.sinks["out"].down = None
            await asyncio.sleep(70)
            assert target.condition.reason == "Writing"
            assert len(rig.target().log) == writes

    scenario()


def test_a_sink_without_drift_that_goes_is_noticed_at_the_next_look(tmp_path: Path) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = prepared(tmp_path)
        rig.resync_seconds = 60
        rig.on_sink = lambda made: setattr(made, "drift", lambda _mark: asyncio.Event().wait())
        async with rig.running() as engine:
            await rig.settle()
            rig.sinks["out"].down = AdapterError("no route")
            await asyncio.sleep(70)
            assert engine.reconciler.targets["out"].condition.reason == "Unreachable"

    scenario()
