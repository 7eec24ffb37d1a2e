"""Follows the custom resources and says what they ask for: the Feed of the operator on Kubernetes.

A kind that cannot be listed or watched stays as it was. What the API server says is gone is judged by the Book; what
that needs to know, whether a CRD is there, is asked here. Changes that come together are put together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from waypost.adapter import AdapterError, Clock
from waypost.kit.kubernetes.api import Api
from waypost.kit.kubernetes.informer import Handler, Informer, Key
from waypost.kube.book import KEPT, Book
from waypost.kube.crds import Definitions, resource_of, why_unfollowed
from waypost.kube.objects import Item, Maker
from waypost.settings import Settings, Types

__all__ = ["ResourceFeed"]

FIRST_SECONDS = 10.0  # how long the first Settings wait for kinds that cannot be listed
WINDOW_SECONDS = 0.02  # how long changes gather
SHARE = 4.0  # of the time, at most a fifth goes into reading what is asked for
AGAIN_SECONDS = 2.0  # after that long it is asked again whether a CRD is there

log = logging.getLogger("waypost.kube.feed")


class ResourceFeed:
    """Implements `waypost.settings.Feed`. `on_change` is told of each object that came or went: its kind and key."""

    def __init__(
        self,
        api: Api,
        types: Types,
        home: str,
        clock: Clock,
        *,
        on_change: Callable[[str, str], None] = lambda _kind, _key: None,
    ) -> None:
        """`home` is Waypost's own namespace."""
        self.book = Book(types)
        self.failures: dict[str, str] = {}  # kind → why it is not followed now
        self._api = api
        self._clock = clock
        self._definitions = Definitions(api)
        self._makers = {kind: Maker(kind, types, home) for kind in KEPT}
        self._on_change = on_change
        self._stirred = asyncio.Event()
        self._listed = asyncio.Event()

    async def watch(self, put: Callable[[Settings], None]) -> None:
        """See `waypost.settings.Feed`."""
        async with asyncio.TaskGroup() as group:
            for kind in KEPT:
                informer = Informer(self._api, resource_of(kind), self._makers[kind])
                group.create_task(informer.run(_Follower(self, kind)), name=f"informer {kind}")
            await self._first()
            last: Settings | None = None
            while True:
                self._stirred.clear()
                judged = await self._judge()
                began = self._clock.monotonic()
                settings = self.book.settings()
                if settings is not last:
                    last = settings
                    put(settings)
                ended = self._clock.monotonic()
                rested = ended + SHARE * (ended - began)
                await self._wait(judged)
                await self._clock.sleep(max(WINDOW_SECONDS, rested - self._clock.monotonic()))

    async def _first(self) -> None:
        """Wait for the lists, but not for one that fails for long."""
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                await self._listed.wait()
        except TimeoutError:
            log.warning("unlisted=%s effect='nothing is deleted'", ",".join(sorted(self.failures)) or "?")

    async def _judge(self) -> bool:
        """Judge what was told to be gone; False where that has to be tried again."""
        done = True
        for told in self.book.told():
            try:
                standing = await self._definitions.standing(told.kind)
            except AdapterError as error:
                done = False
                log.warning(
                    "kind=%s gone=%d error=%r effect='not believed until it is known whether the CRD is there'",
                    told.kind,
                    len(told.uids),
                    str(error),
                )
                continue
            if standing == "there":
                self.book.order(told)
                log.info("kind=%s deleted=%d", told.kind, len(told.uids))
            else:
                self.book.doubt(told)
                log.warning("kind=%s gone=%d effect='the CRD is gone: they stay in force'", told.kind, len(told.uids))
            for key in told.uids:
                self._on_change(told.kind, key)
        return done

    async def _wait(self, judged: bool) -> None:  # noqa: FBT001 - what `_judge` said
        if judged:
            await self._stirred.wait()
            return
        try:
            async with asyncio.timeout(AGAIN_SECONDS):
                await self._stirred.wait()
        except TimeoutError:
            pass

    # --- what the informers tell

    async def replaced(self, kind: str, items: Sequence[Item], gone: Sequence[Item]) -> None:
        """Take a whole list."""
        for item in gone:
            self._makers[kind].forget(item.metadata.uid)
            self._on_change(kind, item.key)
        try:
            await self._definitions.listed(kind)
        except AdapterError as error:
            log.warning("kind=%s error=%r effect='no deletion is believed'", kind, str(error))
        self.book.replaced(kind, items)
        if self.failures.pop(kind, None) is not None or gone:
            log.info("kind=%s listed=%d absent=%d", kind, len(items), len(gone))
        for item in items:
            self._on_change(kind, item.key)
        if self.book.complete:
            self._listed.set()
        self._stirred.set()

    def changed(self, kind: str, item: Item) -> None:
        """Take an object that is new or has changed."""
        if self.book.put(kind, item):
            self._stirred.set()
        self._on_change(kind, item.key)

    def ended(self, kind: str, item: Item) -> None:
        """Take an object's end."""
        self._makers[kind].forget(item.metadata.uid)
        self.book.removed(kind, item)
        self._on_change(kind, item.key)
        self._stirred.set()

    def failing(self, kind: str, error: AdapterError, seconds: float) -> None:
        """Note that a kind is not followed now."""
        text = why_unfollowed(error)
        news = self.failures.get(kind) != text
        self.failures[kind] = text
        log.log(
            logging.WARNING if news else logging.DEBUG,
            "kind=%s error=%r retry_seconds=%.1f effect='what was known of it stays in force'",
            kind,
            text,
            seconds,
        )


class _Follower(Handler[Item]):
    """Hands on what the informer of one kind tells."""

    def __init__(self, feed: ResourceFeed, kind: str) -> None:
        self._feed = feed
        self._kind = kind

    async def replaced(self, objects: Mapping[Key, Item], gone: Sequence[Item]) -> None:
        """See `Handler`."""
        await self._feed.replaced(self._kind, list(objects.values()), gone)

    def put(self, now: Item, before: Item | None) -> None:
        """See `Handler`."""
        self._feed.changed(self._kind, now)

    def deleted(self, last: Item) -> None:
        """See `Handler`."""
        self._feed.ended(self._kind, last)

    def alive(self) -> None:
        """See `Handler`."""

    def unreadable(self, key: Key, reason: str) -> None:
        """See `Handler`."""
        log.error("kind=%s name=%s error=%r effect='it stays as it was'", self._kind, "/".join(key), reason)

    def failing(self, error: AdapterError, seconds: float) -> None:
        """See `Handler`."""
        self._feed.failing(self._kind, error, seconds)
