"""Reading many keys as they were at one moment, page by page, with bounded memory.

Every page is at the revision of the first, so the pages together are one consistent view, whatever is written
meanwhile. Pages are sized by what the last one weighed, so that none takes long to decode; what is too large to be
taken at all is passed over with an empty value (no record of Waypost's is).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from waypost.adapter import AdapterError
from waypost.kit.etcd import rpc_pb2 as rpc
from waypost.kit.etcd.client import Client
from waypost.kit.etcd.faults import TooLarge
from waypost.kit.etcd.wire import after

__all__ = ["Page", "scan"]

PAGE_BYTES = 768 * 1024  # etcd counts the whole rest of the range for every page: few large ones spare it
FIRST_PAGE = 256  # keys, before anything is known of their size
LARGEST_PAGE = 10_000  # keys

Page = Sequence[rpc.KeyValue]


async def scan(client: Client, key: bytes, end: bytes) -> AsyncGenerator[tuple[int, Page], None]:
    """Yield (revision, keys and values) in the order of keys, from `key` to before `end`.

    The first page comes even if there is none in the range. Raises AdapterError where a page cannot be had (Compacted:
    the view's revision went away while it was read); then the pages so far are no complete view.
    """
    revision = cluster = 0
    limit = FIRST_PAGE
    more = True
    while more:
        request = rpc.RangeRequest(key=key, range_end=end, limit=limit, revision=revision)
        try:
            answer = await client.range(request)
        except TooLarge:
            if limit > 1:
                limit = max(1, limit // 8)
                continue
            request.keys_only = True
            answer = await client.range(request)
        if not revision:
            revision, cluster = answer.header.revision, answer.header.cluster_id
        elif answer.header.cluster_id != cluster:
            raise AdapterError("etcd: the endpoints are members of different clusters; no complete view can be had")
        page, more = answer.kvs, answer.more
        if page:
            key = after(page[-1].key)
            average = max(1, answer.ByteSize() // len(page))
            limit = max(1, min(LARGEST_PAGE, limit * 8, PAGE_BYTES // average))
        yield revision, page
