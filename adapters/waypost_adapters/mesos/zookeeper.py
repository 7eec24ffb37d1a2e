"""Follows the election of masters in ZooKeeper.

The only module that imports kazoo. Its threads end here: they do no more than wake the loop or settle a future.
Never: a write to ZooKeeper; forgetting a master because ZooKeeper is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import AuthFailedError, KazooException, NoAuthError, NoNodeError
from kazoo.retry import KazooRetry
from yarl import URL

from waypost.adapter import AdapterError, Context, PermanentError
from waypost.kit.addresses import is_loopback
from waypost_adapters.mesos.config import ZOOKEEPER_CREDENTIALS, Config
from waypost_adapters.mesos.election import Candidate, Ensemble, candidate, ensemble, ranked

__all__ = ["Elected", "elected"]

SESSION_SECONDS = 10.0
ANSWER_SECONDS = 10.0  # of one request
FIRST_SECONDS = 5.0  # until something is known
READ_EVERY = 30.0  # seconds, in case a watch is lost
STOP_SECONDS = 5.0
MOST_WAIT = 5.0  # seconds between two tries to connect


class Elected:
    """The masters that contend, as last read; kept while ZooKeeper is away."""

    def __init__(self, config: Config, context: Context, where: Ensemble) -> None:
        self._scheme = config.leader_scheme
        self._context, self._where = context, where
        self._candidates: tuple[Candidate, ...] = ()
        self._hosts: set[str] = set()  # that any candidate of this life named
        self._trouble: AdapterError = AdapterError(f"{where.told}: ZooKeeper has not answered yet")
        self._wake = asyncio.Event()
        self._known = asyncio.Event()
        self._elected = asyncio.Condition()
        self._version = self._asked = 0
        self._loop = asyncio.get_running_loop()

    # --- what Places says -------------------------------------------------------------------------------------------

    async def urls(self) -> Sequence[URL]:
        """Return where the leader is, then the others; waits a while for the first answer."""
        if not self._candidates:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_SECONDS):
                    await self._known.wait()
        if not self._candidates:
            raise self._trouble
        self._asked = self._version
        return [url for each in self._candidates for url in each.urls]

    def rotate(self) -> None:
        """Read again: what was known may be old."""
        self._wake.set()

    def knows(self, host: str) -> bool:
        """Return whether a master has named itself so in ZooKeeper."""
        return host in self._hosts

    def plain(self) -> bool:
        """Return whether a leader beyond this machine is asked over plain http."""
        return any(url.scheme == "http" and not is_loopback(url.host or "") for c in self._candidates for url in c.urls)

    async def displaced(self, master: str) -> None:
        """Return when another one is told to lead."""
        async with self._elected:
            await self._elected.wait_for(
                lambda: self._version != self._asked and bool(self._candidates) and self._candidates[0].id != master
            )

    # --- following --------------------------------------------------------------------------------------------------

    async def follow(self, client: Any) -> None:
        """Read the election whenever it may have changed, until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._take(await self._read(client))
            except AdapterError as error:
                self._trouble = error
                if isinstance(error, PermanentError):
                    self._known.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READ_EVERY):
                    await self._wake.wait()

    async def _take(self, candidates: tuple[Candidate, ...]) -> None:
        if not candidates:  # between two elections: the last ones are as good as any
            raise AdapterError(
                f"{self._where.told}: no master has registered there: is it the path of the masters' `--zk`?"
            )
        if candidates != self._candidates:
            if self._candidates[:1] != candidates[:1]:
                self._context.log.info("master=%s elected=yes", candidates[0].urls[0].authority)
            self._hosts |= {url.host for each in candidates for url in each.urls if url.host}
            async with self._elected:
                self._candidates = candidates
                self._version += 1
                self._elected.notify_all()
        self._known.set()

    async def _read(self, client: Any) -> tuple[Candidate, ...]:
        path, told = self._where.path, self._where.told
        try:
            if not client.connected:
                raise AdapterError(f"{told}: ZooKeeper cannot be reached")
            try:
                nodes = ranked(await self._ask(client.get_children_async(path, watch=self.woken)))
            except NoNodeError:
                await self._ask(client.exists_async(path, watch=self.woken))
                return ()
            found = []
            for node in nodes:
                with contextlib.suppress(NoNodeError):  # gone meanwhile: the watch on its parent fires
                    content, _ = await self._ask(client.get_async(f"{path}/{node}"))
                    found.append(candidate(f"{path}/{node}", content, self._scheme))
            return tuple(found)
        except (NoAuthError, AuthFailedError):
            raise PermanentError(
                f"{told}: ZooKeeper does not permit reading {path}: correct the credentials `zookeeperUsername` and "
                "`zookeeperPassword`, or the node's ACL"
            ) from None
        except TimeoutError:
            raise AdapterError(f"{told}: ZooKeeper did not answer within {ANSWER_SECONDS:g} s") from None
        except KazooException as error:
            raise AdapterError(f"{told}: ZooKeeper failed: {type(error).__name__}") from None

    async def _ask(self, result: Any) -> Any:
        """Wait for what kazoo promises, on this loop."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def settle() -> None:
            if future.done():
                return
            if result.exception is not None:
                future.set_exception(result.exception)
            else:
                future.set_result(result.value)

        result.rawlink(lambda _: self._call(settle))
        async with asyncio.timeout(ANSWER_SECONDS):
            return await future

    def woken(self, _event: object) -> None:
        """Look again: something changed there, or the connection did. Called from any thread."""
        self._call(self._wake.set)

    def _call(self, what: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(what)


@asynccontextmanager
async def elected(config: Config, context: Context, url: str) -> AsyncIterator[Elected]:
    """Give the masters as ZooKeeper tells of them; connects in the background."""
    where = ensemble(url)
    client = _client(where, context)
    found = Elected(config, context, where)
    client.add_listener(found.woken)
    client.start_async()
    following = asyncio.create_task(found.follow(client), name=f"{context.name}: election")
    try:
        yield found
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await asyncio.to_thread(_stop, client)


def _client(where: Ensemble, context: Context) -> Any:
    username, password = (context.credentials.get(name) for name in ZOOKEEPER_CREDENTIALS)
    if (username is None) != (password is None):
        raise PermanentError("credentials `zookeeperUsername` and `zookeeperPassword` belong together: give both")
    if username is None and where.username is not None:
        username, password = where.username, where.password
        context.warn(
            "PasswordInManifest",
            "masters: the password of ZooKeeper stands in the manifest; give it as credential `zookeeperPassword`",
        )
    return KazooClient(
        hosts=",".join(where.hosts),
        timeout=SESSION_SECONDS,
        auth_data=[("digest", f"{username}:{password}")] if username is not None else None,
        connection_retry=KazooRetry(max_tries=-1, delay=0.1, backoff=2, max_delay=MOST_WAIT),
        logger=_silent(),
    )


def _stop(client: Any) -> None:
    """Close the session; blocks."""
    client.stop()
    client.close()


def _silent() -> logging.Logger:
    """A logger for kazoo: what it has to say is said above, in our words."""
    logger = logging.getLogger("kazoo")
    logger.setLevel(logging.CRITICAL)
    return logger
