"""Lists a collection: in one answer where that is not too large, else page by page.

A list without a limit is answered from the API server's memory, and so is a first page. The pages after it are so only
while the server still has the version that they are of: in a collection that nobody has changed for some minutes it
reads and decodes each object anew, which took ten times as long (measured on Kubernetes 1.35; docs/performance.md).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing

import msgspec

from waypost.adapter import AdapterError
from waypost.kit.answers import Unanswered
from waypost.kit.kubernetes.api import Api
from waypost.kit.kubernetes.errors import ApiError
from waypost.kit.kubernetes.parts import Parts
from waypost.kit.kubernetes.wire import PAGE, Page

__all__ = ["NotWhole", "pages"]

FIRST_PAGE = 50  # objects; the sizes of what follows are reckoned from what came
PAGE_BYTES = 1_000_000  # what one page should have at most
WHOLE_BYTES = 32 << 20  # what one answer may have: more may be too much at once for the API server


class NotWhole(Unanswered):
    """One answer for all did not come to its end: in pages it may."""


async def pages(
    api: Api, path: str, params: Mapping[str, str], *, most: int, seconds: float, whole: bool = True
) -> AsyncGenerator[tuple[Sequence[msgspec.Raw], str], None]:
    """Yield all objects of one version, some at a time as they come, with the last of them that version, before it "".

    In one answer, unless `whole` is false, or in pages of at most `most`. Raises as `Api.request` does, with `seconds`
    for each answer, NotWhole, and AdapterError where an answer is no list. How many objects there are is not told where
    selectors choose among them: then it is pages.
    """
    page, size = await _page(api, path, {**params, "limit": str(min(most, FIRST_PAGE))}, seconds)
    count = len(page.items or ())
    left = page.metadata.remaining
    if whole and left is not None and (count + left) * size <= WHOLE_BYTES * count:
        async with aclosing(_whole(api, path, params, seconds)) as parts:
            async for part in parts:
                yield part
        return
    while True:
        yield page.items or (), "" if page.metadata.token else page.metadata.resource_version
        if not page.metadata.token:
            return
        fitting = PAGE_BYTES * len(page.items or ()) // max(size, 1)
        limit = str(max(1, min(most, fitting)))
        page, size = await _page(api, path, {**params, "continue": page.metadata.token, "limit": limit}, seconds)


async def _whole(
    api: Api, path: str, params: Mapping[str, str], seconds: float
) -> AsyncGenerator[tuple[Sequence[msgspec.Raw], str], None]:
    parts = Parts()
    try:
        async with api.pieces(path, params=params, seconds=seconds) as pieces:
            async for piece in pieces:
                if items := parts.feed(piece):
                    yield items, ""
        last = _checked(path, parts.end)
    except AdapterError as error:
        if isinstance(error, ApiError):
            raise
        raise NotWhole(str(error)) from None  # a text that ends too early, of a connection that ended well, as well
    yield last.items or (), last.metadata.resource_version


async def _page(api: Api, path: str, params: Mapping[str, str], seconds: float) -> tuple[Page, int]:
    """Return a page, and how many bytes it had."""
    body = await api.request("GET", path, params=params, seconds=seconds)
    return _checked(path, lambda: PAGE.decode(body)), len(body)


def _checked(path: str, decode: Callable[[], Page]) -> Page:
    try:
        page = decode()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AdapterError(f"GET {path}: the answer is no list of the API: {error}") from None
    if not page.metadata.resource_version:
        raise AdapterError(f"GET {path}: the list has no resourceVersion")
    return page
