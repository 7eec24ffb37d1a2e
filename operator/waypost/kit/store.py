"""A store of records in one SQLite file, for sinks that are servers themselves.

What is published, and the owners' stamps.

A write compares the fence and the owner of each record in the transaction that writes, and is acknowledged after the
commit is on disk (WAL, synchronous=FULL): it survives kill -9 and a power cut. One thread per store writes; the batches
that wait for it are committed together. `committed` is told each batch in the order of the commits, on the event loop,
before whoever wrote it is; also when the writer has been cancelled meanwhile. Two processes may open one file: SQLite
locks between them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from waypost.adapter import AdapterError, Change, Fence, Foreign, NotClaimed, Outcome
from waypost.kit import dnsnames, storefile
from waypost.kit.storefile import Row

__all__ = ["Committed", "Row", "Store", "open_store"]

T = TypeVar("T")
PAGE = 500
SLOW_SECONDS = 20.0  # a disk that takes longer stands still
_WAITING = 256  # jobs at most that wait for the writer


Committed = Callable[[Sequence[Row]], None]

_FOREIGN = (
    "SELECT key, name, owner, substr(content, 1, 200) FROM record WHERE name = ? AND owner != ? ORDER BY key LIMIT ?"
)
_FOREIGN_AS_DNS = _FOREIGN.replace("name = ?", "lower(rtrim(name, '.')) = ?")  # a pass over all; for people, who wait


class _Uncertain(AdapterError):
    """The commit failed, or has not ended: the batch may be found later, or not."""


class _Job:
    __slots__ = ("done", "result", "rows", "work")

    def __init__(self, work: Callable[[sqlite3.Connection, list[Row]], Any], done: asyncio.Future[Any]) -> None:
        self.work = work
        self.done = done
        self.rows: list[Row] = []
        self.result: Any = None


class Store:
    """The store. `known`: something was published here at some time, so that "nothing there" is an answer."""

    def __init__(self, path: Path, thread: ThreadPoolExecutor, committed: Committed) -> None:
        self._path = path
        self._thread = thread
        self._committed = committed
        self._database: sqlite3.Connection | None = None
        self._jobs: deque[_Job] = deque()
        self._draining: asyncio.Future[None] | None = None  # the last one; it tells through its jobs, never itself
        self._loop = asyncio.get_running_loop()
        self.known = False

    async def claim(self, environment: str, owner: str, past: int) -> Fence:
        """Set the owner's epoch past the stamp's and `past`.

        Raises PermanentError where a stamp says another environment.
        """
        return await self._run(lambda database, _: storefile.claim(database, environment, owner, past))

    async def stamp(self, environment: str, owner: str) -> str:
        """Return, for people, what the stamps say; see storefile.stamp."""
        return await self._run(lambda database, _: storefile.stamp(database, environment, owner))

    async def advance(self, owner: str, fence: Fence) -> Fence:
        """Set the generation one higher. Raises Fenced, NotClaimed."""

        def work(database: sqlite3.Connection, _: list[Row]) -> Fence:
            storefile.superseded(database, owner, fence)
            database.execute("UPDATE stamp SET generation = generation + 1 WHERE owner = ?", (owner,))
            row = database.execute("SELECT epoch, generation FROM stamp WHERE owner = ?", (owner,)).fetchone()
            return Fence(*row)

        return await self._run(work)

    async def apply(self, owner: str, batch: Sequence[Change], fence: Fence | None) -> Mapping[str, Outcome]:
        """Write a batch; the outcomes hold once this returns.

        Raises Fenced, NotClaimed, AdapterError: nothing was written.
        """
        if fence is None:
            raise NotClaimed("a write without a fence; this store has stamps: claim it first")
        try:
            outcomes = await self._run(lambda database, rows: storefile.apply(database, owner, batch, fence, rows))
        except _Uncertain as error:
            return {change.key: Outcome("unknown", str(error)) for change in batch}
        self.known = self.known or any(outcome.status == "applied" for outcome in outcomes.values())
        return outcomes

    async def page(self, after: str = "", size: int = PAGE) -> list[Row]:
        """Return records of all owners behind a key, in their order.

        As they are when all writes before have been committed.
        """

        def work(database: sqlite3.Connection, _: list[Row]) -> list[Row]:
            found = database.execute(
                "SELECT key, owner, name, content FROM record WHERE key > ? ORDER BY key LIMIT ?", (after, size)
            )
            return [Row(*row) for row in found]

        return await self._run(work)

    async def owned(self, owner: str, keys: Collection[str] | None = None) -> AsyncIterator[Row]:
        """Yield the records of an owner, all or those of the keys. What is written meanwhile may be shown or not."""
        if keys is not None:
            wanted = sorted(keys)
            for at in range(0, len(wanted), PAGE):
                part = wanted[at : at + PAGE]
                for row in await self._run(lambda database, _, part=part: storefile.by_key(database, owner, part)):  # type: ignore[misc]
                    yield row
            return
        after = ""
        while rows := await self.page(after):
            for row in rows:
                if row.owner == owner:
                    yield row
            after = rows[-1].key

    async def foreign(
        self, owner: str, names: Collection[str], limit: int = 100, *, as_dns: bool = False
    ) -> list[Foreign]:
        """Return the records of other owners under these names; `as_dns`: in either case, with or without final dot."""
        wanted = {dnsnames.canonical(name) for name in names} if as_dns else names
        query = _FOREIGN_AS_DNS if as_dns else _FOREIGN

        def work(database: sqlite3.Connection, _: list[Row]) -> list[Foreign]:
            found: list[Foreign] = []
            for name in sorted(wanted):
                rows = database.execute(query, (name, owner, limit - len(found)))
                found += [Foreign(key, name, who, text.decode("utf-8", "replace")) for key, name, who, text in rows]
            return found

        return await self._run(work)

    async def _run(self, work: Callable[[sqlite3.Connection, list[Row]], T]) -> T:
        """Run in the store's thread within a transaction that may hold others' work too.

        Raises what the work raises.
        """
        if len(self._jobs) >= _WAITING:
            raise AdapterError(f"the store is slow: {_WAITING} writes wait for its disk")
        job = _Job(work, self._loop.create_future())
        self._jobs.append(job)
        self._draining = self._loop.run_in_executor(self._thread, self._drain)
        try:
            async with asyncio.timeout(SLOW_SECONDS):
                result: T = await job.done
        except TimeoutError:
            raise _Uncertain(f"the store's disk did not answer within {SLOW_SECONDS:g} s") from None
        return result

    def _drain(self) -> None:
        """In the thread: run what waits as one transaction, then tell the loop."""
        jobs: list[_Job] = []
        while self._jobs and len(jobs) < _WAITING:
            jobs.append(self._jobs.popleft())
        if not jobs:
            return
        failure: BaseException | None = None
        try:
            self._transact(jobs)
        except BaseException as error:  # noqa: BLE001 - a bug must reach its callers, never vanish in a thread
            failure = _unwritten(self._database, error)
        self._loop.call_soon_threadsafe(self._tell, jobs, failure)

    def _transact(self, jobs: Sequence[_Job]) -> None:
        if self._database is None:
            self._database = storefile.connect(self._path)
            self.known = self._database.execute("SELECT 1 FROM fact WHERE name = 'published'").fetchone() is not None
        self._database.execute("BEGIN IMMEDIATE")
        for job in jobs:
            try:
                job.result = job.work(self._database, job.rows)
            except AdapterError as error:  # raised before the first write of that job
                job.result = error
        try:
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise _Uncertain(f"the store's disk failed while it was asked to keep this: {error}") from error

    def close(self) -> None:
        """In the thread: close the file."""
        if self._database is not None:
            self._database.close()

    def _tell(self, jobs: Sequence[_Job], failure: BaseException | None) -> None:
        for job in jobs:
            if failure is None and job.rows:
                self.known = True
                self._committed(job.rows)
            if job.done.done():
                continue  # whoever asked was cancelled
            if failure is not None:
                job.done.set_exception(failure)
            elif isinstance(job.result, Exception):
                job.done.set_exception(job.result)
            else:
                job.done.set_result(job.result)


@asynccontextmanager
async def open_store(path: Path, committed: Committed) -> AsyncIterator[Store]:
    """Open or make the file; where the disk refuses for now, each call tries again.

    Raises PermanentError: no store of ours.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="store")
    store = Store(path, thread, committed)
    try:
        with suppress(storefile.Unreachable):
            await store.page(size=1)
        yield store
    finally:
        try:
            await _uninterrupted(store._loop.run_in_executor(thread, store.close))  # noqa: SLF001 - the two are one
        finally:
            thread.shutdown(wait=False)


async def _uninterrupted(future: asyncio.Future[None]) -> None:
    """Wait for the end whatever comes: the file is closed before the folder is given back."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    future.result()


def _unwritten(database: sqlite3.Connection | None, error: BaseException) -> BaseException:
    """Roll back; return what the callers get: the batch is not there, whole or in part."""
    try:
        if database is not None and database.in_transaction:
            database.execute("ROLLBACK")
    except sqlite3.Error:
        pass  # the connection is gone: an open transaction was never committed
    if isinstance(error, sqlite3.Error):
        return storefile.Unreachable(f"the store's disk refused: {error}; nothing was written")
    return error
