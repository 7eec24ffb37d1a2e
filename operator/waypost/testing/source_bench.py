"""What the tests of SourceConformance stand on: the hooks that a subclass fills in, and a supervised watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from waypost.adapter import Source
from waypost.model import Service, ServiceKey
from waypost.testing.changes import Recorder
from waypost.testing.context import TestContext

__all__ = ["SourceBench", "Supervised"]


class Supervised:
    """A watch that is called again when it raises, as Waypost does; `errors` and `returned` tell how calls ended."""

    def __init__(self, source: Source) -> None:
        self.recorder = Recorder()
        self.errors: list[Exception] = []
        self.returned = 0
        self.starts: list[int] = []  # where in the recorder's events each call began
        self.stopping = False  # a watch that swallows its cancellation must not be called again
        self._source = source
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled, a tenth of a second between a call's end and the next."""
        while not self.stopping:
            self.starts.append(len(self.recorder.events))
            try:
                await self._source.watch(self.recorder)
                self.returned += 1
            except Exception as error:  # noqa: BLE001 - whatever it raises is looked at by a test
                self.errors.append(error)
            self._ended.set()
            await asyncio.sleep(0.1)

    async def error(self, seconds: float) -> Exception:
        """Return what the next call to end raised. Raises AssertionError when none does."""
        seen = len(self.errors)
        try:
            async with asyncio.timeout(seconds):
                while len(self.errors) == seen:
                    self._ended.clear()
                    await self._ended.wait()
        except TimeoutError:
            raise AssertionError(f"watch raised nothing within {seconds:g} s: it swallows errors") from None
        return self.errors[-1]


class SourceBench:
    """Hooks to fill in: `open`, `create`, `destroy`, `empty`, `interrupt`, `resume`; the rest has defaults.

    All must act on the real system beside the source (its API, a second client), never through the source.
    """

    bound = 10.0  # seconds within which the source must tell of a change
    notice = 30.0  # seconds within which it must notice that its connection is cut
    interruptible = True  # False where there is no connection to cut: those tests are skipped
    name = "conformance"  # the source's resource name
    credentials: Mapping[str, str] = {}  # what the source needs to get in; none of it may ever be shown

    # --- hooks

    def open(self, context: TestContext) -> AbstractAsyncContextManager[Source]:
        """Return the opened source, as its AdapterType's `open` does; the system may be down."""
        raise NotImplementedError

    async def create(self, name: str, count: int) -> Sequence[str]:
        """Let `count` more instances of the service `name` run; return what `destroy` knows each by. Need not wait."""
        raise NotImplementedError

    async def destroy(self, instance: str) -> None:
        """End one instance that `create` returned; with its last one the service may go too."""
        raise NotImplementedError

    async def empty(self) -> None:
        """End everything."""
        raise NotImplementedError

    async def interrupt(self) -> None:
        """Cut the source from the system (stop the server, or a proxy between) while its instances run on."""
        raise NotImplementedError

    async def resume(self) -> None:
        """Let the source reach the system again."""
        raise NotImplementedError

    def key(self, name: str) -> ServiceKey:
        """Return the key under which the source shows the service that `create` named."""
        return ServiceKey(self.name, "", name)

    # --- how the tests drive it

    @pytest.fixture(autouse=True)
    def _state(self, tmp_path: Path) -> None:
        self.context = TestContext(tmp_path, name=self.name, credentials=self.credentials)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Supervised]:
        """Open the source and watch it, supervised."""
        async with self.open(self.context) as source:
            supervised = Supervised(source)
            task = asyncio.create_task(supervised.run(), name="watch")
            try:
                yield supervised
            finally:
                supervised.stopping = True
                task.cancel()
                _, pending = await asyncio.wait([task], timeout=5)
                assert not pending, "watch is still there 5 s after it was cancelled"

    async def seen(self, watch: Supervised, name: str, count: int) -> Service:
        """Wait until the service has that many instances, and return it."""
        key = self.key(name)
        await self.until(watch, lambda view: key in view and len(view[key].instances) == count, f"{count} of `{name}`")
        return watch.recorder.view[key]

    async def until(self, watch: Supervised, holds: Callable[[Mapping[ServiceKey, Service]], bool], what: str) -> None:
        """Wait, at most `bound`, until `holds(view)`. Raises AssertionError that says what was waited for."""
        try:
            await watch.recorder.until(holds, self.bound)
        except TimeoutError as error:
            raise AssertionError(f"{what}: {error}; raised: {watch.errors[-1:]}") from None

    def skip_unless_interruptible(self) -> None:
        """Skip the test for a source that has no connection."""
        if not self.interruptible:
            pytest.skip("this source has no connection to cut")
