"""Follows one collection: lists it in pages, watches it from there, and lists it again where the watch lost the thread.

What is promised: `objects` is what the API server had at `version`, whole; each change reaches the handler once, in the
server's order; what vanished while nobody watched is told by the next list (kopf and most others never tell it). A list
counts only when all its pages came, of one version. An object that cannot be read stays as it was and is told.

A watch ends by the server's clock, every minute, and is taken up again at `version`; so is one that is cut, and loses
nothing by it. One in which nothing comes and which does not end in time is dead, and ended here: bookmarks would tell
sooner, but a collection that has not changed since the API server began has none. Then, and after a cut, the server is
asked for its version: one that has gone back (etcd restored) would let us wait for ever, so all is listed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Generic, Protocol, TypeVar

import msgspec

from waypost.adapter import AdapterError
from waypost.kit.answers import Silent
from waypost.kit.backoff import Backoff
from waypost.kit.kubernetes.api import Api
from waypost.kit.kubernetes.errors import ApiError, answered
from waypost.kit.kubernetes.pages import NotWhole, pages
from waypost.kit.kubernetes.resource import Meta, Resource
from waypost.kit.kubernetes.wire import HEAD, STATUS, VERSION, located
from waypost.kit.pace import Pace

__all__ = ["Handler", "Informer", "Key", "Named", "Object"]

Key = tuple[str, str]  # namespace ("" where it has none), name

MOST_RESTARTS = 3  # of a list whose continue token expired
MOST_CUTS = 3  # of a watch in a row, none of which lasted, until that is an error
LASTED_SECONDS = 10.0


class Named(Protocol):
    """The metadata that an object must be decoded with; `waypost.kit.kubernetes.resource.Meta` has no more."""

    @property
    def namespace(self) -> str:
        """The namespace, or ""."""

    @property
    def name(self) -> str:
        """The name."""

    @property
    def uid(self) -> str:
        """Another one for each object that ever had this name."""

    @property
    def resource_version(self) -> str:
        """Another one for each state."""


class Object(Protocol):
    """What `decode` makes of an object's JSON."""

    @property
    def metadata(self) -> Named:
        """The metadata."""


T = TypeVar("T", bound=Object)
T_contra = TypeVar("T_contra", bound=Object, contravariant=True)


class Handler(Protocol[T_contra]):
    """Is told what there is. Subclass it: the first three must be there. Whatever they raise ends the informer."""

    async def replaced(self, objects: Mapping[Key, T_contra], gone: Sequence[T_contra]) -> None:
        """Take all that there is, after each list, and what is no longer there since the one before.

        One that was made anew under its name is in both. The watch begins when this returns. `objects` is the
        informer's own and follows the watch: keep no iterator over it.
        """

    def put(self, now: T_contra, before: T_contra | None) -> None:
        """Take an object that is new (`before` None) or has changed."""

    def deleted(self, last: T_contra) -> None:
        """Take an object's end; `last` is as it was last known."""

    def alive(self) -> None:
        """The server said that nothing else has happened until now."""
        return  # a default

    def unreadable(self, key: Key, reason: str) -> None:
        """An object is there that cannot be decoded; what was known of it stays in `objects`."""
        return  # a default

    def failing(self, error: AdapterError, seconds: float) -> None:
        """`run` cannot list or watch, and tries again after so many seconds."""
        return  # a default


class Informer(Generic[T]):
    """One collection. `objects` are what is there, by (namespace, name); `version` is "" until the first list.

    `decode` is a function of an object's JSON, or the msgspec struct that it has: declare only what is used. If there
    is a `decode_in`, it decodes what events bring: it is given bytes that hold the JSON, with where it begins and where
    it ends, and may keep these bytes. Selectors are the API's own. `page` is the most objects a page may have, where
    it is pages (see `pages`).
    """

    def __init__(
        self,
        api: Api,
        resource: Resource,
        decode: Callable[[bytes | memoryview], T] | type[T],
        *,
        decode_in: Callable[[bytes, int, int], T] | None = None,
        label_selector: str = "",
        field_selector: str = "",
        page: int = 500,
        watch_seconds: float = 60.0,
        silent_seconds: float = 75.0,
        list_seconds: float = 60.0,
    ) -> None:
        self.resource = resource
        self.objects: dict[Key, T] = {}
        self.version = ""
        self._api = api
        self._path = resource.path()
        self._decode = msgspec.json.Decoder(decode).decode if isinstance(decode, type) else decode
        self._decode_in = decode_in or (lambda text, start, stop: self._decode(memoryview(text)[start:stop]))
        self._selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._selectors = {name: value for name, value in self._selectors.items() if value}
        self._page = page
        self._watch_seconds, self._silent, self._list_seconds = watch_seconds, silent_seconds, list_seconds
        self._pace = Pace(api.clock)
        self._established = False

    async def run(self, handler: Handler[T]) -> None:
        """Follow until cancelled: after each failure again, with backoff, from where it was."""
        backoff, clock = Backoff(self._api.random, first=0.2, limit=30.0, steady=30.0), self._api.clock
        while True:
            began = clock.monotonic()
            try:
                await self.follow(handler)
            except AdapterError as error:
                delay = backoff.failed(clock.monotonic() - began)
                if isinstance(error, ApiError):
                    delay = max(delay, min(error.retry_after_seconds, 60.0))
                handler.failing(error, delay)
                await clock.sleep(delay)

    async def follow(self, handler: Handler[T]) -> None:
        """List where that is needed, then watch, until cancelled or until it raises AdapterError; never returns.

        Called again it goes on from `version`. A watch that ends, expires or is cut is no error; that it cannot be
        taken up again is one.
        """
        backoff, clock = Backoff(self._api.random, first=0.1, limit=10.0, steady=LASTED_SECONDS), self._api.clock
        doubtful = bool(self.version)  # it is not known what happened to the server since
        cuts = 0
        while True:
            if not self.version or (doubtful and await self._went_back()):
                await self._list(handler)
            began = clock.monotonic()
            doubtful, self._established = False, False
            try:
                await self._watch(handler)
                handler.alive()
                cuts = 0
            except Silent:
                if not self._established:
                    raise
                doubtful = True
            except ApiError as error:
                if not error.is_expired:
                    raise
                self.version = ""
            except AdapterError:
                cuts = 1 if clock.monotonic() - began >= LASTED_SECONDS else cuts + 1
                if not self._established or cuts > MOST_CUTS:
                    raise
                doubtful = True
            delay = backoff.failed(clock.monotonic() - began)
            await clock.sleep(delay if backoff.failures > 1 else 0)

    # --- the list

    async def _list(self, handler: Handler[T]) -> None:
        fresh, version = await self._pages_of_one_version(handler)
        before, self.objects = self.objects, fresh
        gone = []
        for key, last in before.items():
            now = fresh.get(key)
            if now is None or now.metadata.uid != last.metadata.uid:
                gone.append(last)
        self.version = version
        await handler.replaced(self.objects, gone)

    async def _pages_of_one_version(self, handler: Handler[T]) -> tuple[dict[Key, T], str]:
        """Begin again where so much time passed that the pages left cannot be of the version of those that came.

        And in pages where one answer for all did not come whole.
        """
        whole = True
        for _ in range(MOST_RESTARTS):
            try:
                return await self._pages(handler, whole=whole)
            except NotWhole:
                whole = False
            except ApiError as error:
                if not error.is_expired:
                    raise
        return await self._pages(handler, whole=False)

    async def _pages(self, handler: Handler[T], *, whole: bool) -> tuple[dict[Key, T], str]:
        found: dict[Key, T] = {}
        version = ""
        listing = pages(
            self._api, self._path, self._selectors, most=self._page, seconds=self._list_seconds, whole=whole
        )
        async with aclosing(listing) as parts:
            async for items, told in parts:
                version = told  # the last one's counts
                for raw in items:
                    self._take(memoryview(raw), found, handler)
                    await self._pace.breathe()
        return found, version

    def _take(self, raw: memoryview, found: dict[Key, T], handler: Handler[T]) -> None:
        try:
            object = self._decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            head = self._head(raw)
            key = (head.namespace, head.name)
            if (known := self.objects.get(key)) is not None:
                found[key] = known
            handler.unreadable(key, str(error))
            return
        found[object.metadata.namespace, object.metadata.name] = object

    def _head(self, raw: memoryview) -> Meta:
        try:
            return HEAD.decode(raw).metadata
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.version = ""  # what it was is not known: all is listed again
            raise AdapterError(f"GET {self._path}: something is no object of the API: {error}") from None

    async def _went_back(self) -> bool:
        """Return whether the server's version is older than ours. Versions of one collection are comparable numbers."""
        body = await self._api.request("GET", self._path, params={**self._selectors, "limit": "1"})
        try:
            return int(VERSION.decode(body).metadata.resource_version) < int(self.version)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            return True  # an API that is not etcd's may have other versions: then a list is the safe way

    # --- the watch

    async def _watch(self, handler: Handler[T]) -> None:
        """Watch from `version` until the server ends it."""
        seconds = int(self._watch_seconds * self._api.random.uniform(0.9, 1.1))
        params = {
            **self._selectors,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self.version,
            "timeoutSeconds": str(max(1, seconds)),
        }
        now = self._api.clock.monotonic
        async with self._api.stream(self._path, params=params, idle_seconds=self._silent) as lines:
            self._established = True
            async for line in lines:
                began = now()
                self._event(line, handler)
                await self._pace.worked(began)

    def _event(self, line: bytes, handler: Handler[T]) -> None:
        try:
            kind, text, start, stop = located(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.version = ""  # what it was is not known: all is listed again
            raise AdapterError(f"GET {self._path}: an event is not of the form expected: {error}") from None
        if kind in {"ADDED", "MODIFIED", "DELETED"}:
            self._change(kind, text, start, stop, handler)
            return
        raw = memoryview(text)[start:stop]
        if kind == "BOOKMARK":
            self.version = self._head(raw).resource_version or self.version
            handler.alive()
        elif kind == "ERROR":
            said = STATUS.decode(raw)
            raise answered(said.code or 500, bytes(raw), f"GET {self._path}")

    def _change(self, kind: str, text: bytes, start: int, stop: int, handler: Handler[T]) -> None:
        try:
            object = self._decode_in(text, start, stop)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            head = self._head(memoryview(text)[start:stop])
            key = (head.namespace, head.name)
            self.version = head.resource_version
            if kind != "DELETED":
                handler.unreadable(key, str(error))
            elif (last := self.objects.pop(key, None)) is not None:
                handler.deleted(last)
            return
        meta = object.metadata
        key = (meta.namespace, meta.name)
        self.version = meta.resource_version
        before = self.objects.get(key)
        if kind == "DELETED":
            self.objects.pop(key, None)
            handler.deleted(object if before is None else before)
        else:
            self.objects[key] = object
            handler.put(object, before)
