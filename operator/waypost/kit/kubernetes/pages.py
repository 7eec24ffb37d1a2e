"""Lists a collection: in one answer where that is not too large, else page by page.

A list without a limit is answered from the API server's memory, and so is a first page. The pages after it are so only
while the server still has the version that they are of: in a collection that nobody has changed for some minutes it
reads and decodes each object anew, which took ten times as long (measured on Kubernetes 1.35; docs/performance.md).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress

import msgspec

from waypost.adapter import AdapterError
from waypost.kit.answers import Unanswered
from waypost.kit.kubernetes.api import Api
from waypost.kit.kubernetes.wire import PAGE, Page

__all__ = ["pages"]

FIRST_PAGE = 50  # objects; the sizes of what follows are reckoned from what came
PAGE_BYTES = 1_000_000  # what one page should have at most
WHOLE_BYTES = 32 << 20  # what one answer may have: decoding it holds the loop up for some 30 ms, once


async def pages(
    api: Api, path: str, params: Mapping[str, str], *, most: int, seconds: float
) -> AsyncGenerator[Page, None]:
    """Yield all objects of one version: in one page, or in pages of at most `most`.

    Raises as `Api.request` does, with `seconds` for each answer, and AdapterError where an answer is no list. How many
    objects there are is not told where selectors choose among them: then it is pages.
    """
    page, size = await _page(api, path, {**params, "limit": str(min(most, FIRST_PAGE))}, seconds)
    count = len(page.items or ())
    left = page.metadata.remaining
    if left is not None and (count + left) * size <= WHOLE_BYTES * count:
        with suppress(Unanswered):  # it may be larger than it seemed: in pages, then
            page, _ = await _page(api, path, params, seconds)
    while True:
        yield page
        if not page.metadata.token:
            return
        fitting = PAGE_BYTES * len(page.items or ()) // max(size, 1)
        limit = str(max(1, min(most, fitting)))
        page, size = await _page(api, path, {**params, "continue": page.metadata.token, "limit": limit}, seconds)


async def _page(api: Api, path: str, params: Mapping[str, str], seconds: float) -> tuple[Page, int]:
    """Return a page, and how many bytes it had."""
    body = await api.request("GET", path, params=params, seconds=seconds)
    try:
        page = PAGE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AdapterError(f"GET {path}: the answer is no list of the API: {error}") from None
    if not page.metadata.resource_version:
        raise AdapterError(f"GET {path}: the list has no resourceVersion")
    return page, len(body)
