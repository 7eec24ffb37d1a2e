"""The source: follows the leading master's event stream, and asks now and then for what the stream never says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, nullcontext

from yarl import URL

from waypost.adapter import AdapterError, Changes, Context, PermanentError, Place, Snapshot
from waypost.kit.addresses import base_url
from waypost.kit.failures import first_of
from waypost.kit.http import Stream
from waypost.kit.pace import Pace
from waypost.kit.problems import Problems
from waypost.kit.reach import place_of
from waypost.model import Service
from waypost_adapters.mesos.absence import Absence
from waypost_adapters.mesos.config import Config
from waypost_adapters.mesos.election import ensemble
from waypost_adapters.mesos.events import TYPES, After, apply, decode
from waypost_adapters.mesos.inventory import Inventory
from waypost_adapters.mesos.master import Leader, Masters
from waypost_adapters.mesos.places import Listed, Places
from waypost_adapters.mesos.recordio import Records
from waypost_adapters.mesos.view import View

__all__ = ["MesosSource", "open_source"]

HEARTBEATS = 2  # intervals without anything after which a stream is dead
FIRST_SECONDS = 120.0  # between two pieces of the first record
GATHER_SECONDS = 0.5  # agents that come back one by one make one snapshot
WHOLE_EVERY = 20  # every so many polls look at everything, the others at the agents
MOST_FAILED = 3  # polls in a row, then the stream is not believed either
MOST_EVENT_BYTES = 16 << 20

CALLS = ("GET_FRAMEWORKS", "GET_AGENTS", "GET_TASKS")
Pieces = AsyncGenerator[tuple[memoryview, bool] | None, None]


class MesosSource:
    """What it learned of agents outlives a connection: after a failover the new master does not know them yet."""

    def __init__(self, config: Config, context: Context, masters: Masters) -> None:
        self._config = config
        self._seconds = config.poll_seconds
        self._context, self._masters = context, masters
        self._problems = Problems(context.log, context.metrics, "mesos_problems_total")
        self._inventory = Inventory(context.name, config.naming, self._problems)
        self._absence = Absence()
        self._pace = Pace(context.clock)
        self._returned = asyncio.Event()  # an agent that was waited for
        self._doubt = False  # something is not known; the next poll looks at everything
        self._patience = FIRST_SECONDS

    def places(self) -> Sequence[Place]:
        given = _given(self._config)
        if any(master.startswith("zk://") for master in given):
            return [place_of(URL(f"http://{host}")) for master in given for host in ensemble(master).hosts]
        return [place_of(base_url(master, port=5050), self._config.tls.server_name) for master in given]

    async def watch(self, out: Changes) -> None:
        try:
            await self._watch(out)
        except BaseExceptionGroup as group:
            self._masters.rotate()
            raise first_of(group) from None
        except AdapterError:
            self._masters.rotate()
            raise

    async def _watch(self, out: Changes) -> None:
        leader = await self._masters.leader()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._masters.displaced(leader), name=f"{self._context.name}: election")
            await self._watch_leader(out, leader)

    async def _watch_leader(self, out: Changes, leader: Leader) -> None:
        wait_seconds = await self._masters.reregister_seconds(leader)
        self._doubt, self._patience = False, FIRST_SECONDS
        self._returned.clear()
        async with AsyncExitStack() as stack:
            async with out.snapshot() as snapshot:
                self._inventory.begin_view()
                stream = await stack.enter_async_context(self._masters.stream(leader, "SUBSCRIBE"))
                pieces = await stack.enter_async_context(aclosing(self._pieces(stream, leader)))
                view = View(self._inventory, self._problems)
                await self._read_first(pieces, view)
                await self._conclude(view, leader, wait_seconds)
                self._inventory.dirty.clear()
                self._inventory.suspects.clear()
                await self._publish(snapshot)
            self._patience = HEARTBEATS * view.heartbeat_seconds
            async with asyncio.TaskGroup() as group:
                group.create_task(self._poll(out, leader, wait_seconds), name=f"{self._context.name}: poll")
                await self._follow(pieces, out)

    # --- the stream -------------------------------------------------------------------------------------------------

    async def _pieces(self, stream: Stream, leader: Leader) -> Pieces:
        """Yield pieces of records as they come, and None where nothing more has come yet."""
        records, chunks = Records(), stream.chunks()
        while True:
            try:
                async with asyncio.timeout(self._patience):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                raise AdapterError(f"{leader.place}: the master ended its event stream") from None
            except TimeoutError:
                raise AdapterError(
                    f"{leader.place}: nothing came for {self._patience:g} s, not even a heartbeat: "
                    "the event stream is dead"
                ) from None
            for piece in records.feed(chunk):
                yield piece
            yield None

    async def _read_first(self, pieces: Pieces, view: View) -> None:
        async for item in pieces:
            if item is None:
                continue
            for _ in view.feed(item[0]):
                await self._pace.breathe()
            if item[1]:
                break
        view.end("SUBSCRIBED")

    async def _follow(self, pieces: Pieces, out: Changes) -> None:
        """Apply what comes; what came at once and belongs to one service is put at once."""
        record = bytearray()
        async for item in pieces:
            if item is None:
                self._flush(out)
                continue
            piece, ends = item
            if ends and not record:
                self._event(piece, out)
            else:
                record += piece
                if len(record) > MOST_EVENT_BYTES:
                    raise AdapterError(
                        f"an event of more than {MOST_EVENT_BYTES} bytes; the stream is not read any further"
                    )
                if ends:
                    self._event(record, out)
                    record = bytearray()
            await self._pace.breathe()

    def _event(self, record: memoryview | bytearray, out: Changes) -> None:
        event = decode(record)
        if isinstance(event, str):
            self._problems.tell(
                "Event", "an event", f"is not of the form expected, so the next poll looks at everything: {event}"
            )
            self._doubt = True
            return
        known = event.type in TYPES
        self._context.metrics.count("mesos_events_total", type=event.type if known else "other")
        if event.type == "HEARTBEAT":
            out.current()
            return
        if event.task_updated is not None and event.task_updated.status.timestamp:
            age = self._context.clock.wall() - event.task_updated.status.timestamp
            self._context.metrics.observe("mesos_status_age_seconds", max(age, 0.0))
        after = apply(event, self._inventory, self._absence)
        if after is After.SNAPSHOT:
            self._returned.set()
        elif after is After.VIEW:
            self._doubt = True
            if not known:
                self._problems.tell(
                    "Event", event.type, "is an event of unknown type; the next poll looks at everything"
                )

    def _flush(self, out: Changes) -> None:
        inventory = self._inventory
        for key in inventory.dirty:
            service = inventory.service(key)
            if service is not None:
                out.put(service)
            elif self._absence.missing:
                out.put(Service(key))  # instances on nodes that are waited for stay
            else:
                out.remove(key)
        inventory.dirty.clear()
        for suspect in inventory.suspects:
            out.suspect(*suspect)
        inventory.suspects.clear()

    # --- the poll ---------------------------------------------------------------------------------------------------

    async def _poll(self, out: Changes, leader: Leader, wait_seconds: float) -> None:
        """Ask for the agents, since the stream does not say when one dies, and now and then for everything."""
        polls = failed = 0
        while True:
            if await self._sleep() or self._absence.expire(self._context.clock.monotonic()):
                async with out.snapshot() as snapshot:
                    await self._publish(snapshot)
                continue
            polls += 1
            try:
                async with asyncio.timeout(FIRST_SECONDS):
                    if await self._read_agents(leader) or self._doubt or polls % WHOLE_EVERY == 0:
                        self._doubt = False
                        await self._read_all(out, leader, wait_seconds)
                failed = 0
            except PermanentError:
                raise
            except (AdapterError, TimeoutError) as error:
                failed += 1
                self._doubt = True
                self._context.metrics.count("mesos_failed_polls_total")
                if failed == MOST_FAILED:
                    raise AdapterError(
                        f"{failed} polls in a row failed, the last one so: {str(error) or 'too slow'}"
                    ) from None
            self._flush(out)

    async def _sleep(self) -> bool:
        """Return at the next poll's time, or true when agents have come back."""
        try:
            async with asyncio.timeout(self._seconds * self._context.random.uniform(0.9, 1.1)):
                await self._returned.wait()
        except TimeoutError:
            return False
        await self._context.clock.sleep(GATHER_SECONDS)
        self._returned.clear()
        return True

    async def _read_agents(self, leader: Leader) -> bool:
        """Return whether an agent has gone without a word."""
        view = View(self._inventory, self._problems)
        self._inventory.begin_agents()
        await self._call("GET_AGENTS", view, leader)
        return bool(self._inventory.end_agents())

    async def _read_all(self, out: Changes, leader: Leader, wait_seconds: float) -> None:
        async with out.snapshot() as snapshot:
            self._inventory.begin_view()
            view = View(self._inventory, self._problems)
            for call in CALLS:
                await self._call(call, view, leader)
            await self._conclude(view, leader, wait_seconds)
            await self._publish(snapshot)

    async def _call(self, call: str, view: View, leader: Leader) -> None:
        async with self._masters.stream(leader, call) as stream:
            async for chunk in stream.chunks():
                for _ in view.feed(chunk):
                    await self._pace.breathe()
        view.end(call)

    # --- what both do -----------------------------------------------------------------------------------------------

    async def _conclude(self, view: View, leader: Leader, wait_seconds: float) -> None:
        """Believe a view that has come whole from one and the same leader."""
        await self._masters.check(leader)
        self._inventory.end_agents()
        for _ in self._inventory.end_view():
            await self._pace.breathe()
        now = self._context.clock.monotonic()
        self._absence.view(leader.identity, view.agents, view.recovered, now, wait_seconds)

    async def _publish(self, snapshot: Snapshot) -> None:
        snapshot.unknown_nodes(self._absence.nodes)
        for key in list(self._inventory.groups):
            if (service := self._inventory.service(key)) is not None:
                snapshot.put(service)
            await self._pace.breathe()
        metrics = self._context.metrics
        metrics.gauge("mesos_tasks", len(self._inventory.tasks))
        metrics.gauge("mesos_waiting_tasks", len(self._inventory.waiting))
        metrics.gauge("mesos_missing_agents", len(self._absence.missing))


@asynccontextmanager
async def open_source(config: Config, context: Context) -> AsyncIterator[MesosSource]:
    """Give the source; connects when it watches. Raises PermanentError for a configuration that cannot work."""
    async with _places(config, context) as places:
        masters = Masters(config, context, places)
        async with masters.http:
            masters.warn_of_plain_text()
            yield MesosSource(config, context, masters)


def _given(config: Config) -> tuple[str, ...]:
    return (config.masters,) if isinstance(config.masters, str) else config.masters


def _places(config: Config, context: Context) -> AbstractAsyncContextManager[Places]:
    given = _given(config)
    if any(master.startswith("zk://") for master in given):
        if len(given) > 1:
            raise PermanentError("masters: expected one zk://… with all its servers, or URLs of masters; not both")
        try:
            from waypost_adapters.mesos.zookeeper import elected  # noqa: PLC0415 - an extra that most do not need
        except ImportError:
            raise PermanentError(
                "masters: zk://… needs kazoo, which is not installed: pip install 'waypost[zookeeper]'"
            ) from None
        return elected(config, context, given[0])
    return nullcontext(Listed([base_url(master, port=5050) for master in given]))
