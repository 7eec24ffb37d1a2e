"""Lists, beside a real API server: one answer where that is not too large, else pages."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from testbed.servers.kubernetes import Kubernetes
from tests.kit.kubernetes.following import Shelf
from waypost.kit.answers import Unanswered
from waypost.kit.kubernetes import pages as listing
from waypost.kit.kubernetes.api import Api, connect
from waypost.kit.kubernetes.pages import pages

pytestmark = pytest.mark.server("kube", "etcd")

NAMES = {"a", "b", "c", "d", "e"}


@pytest.fixture
async def shelf(kubernetes: Kubernetes) -> Shelf:
    shelf = Shelf(kubernetes, f"pages-{secrets.token_hex(4)}")
    await shelf.make()
    await asyncio.gather(*(shelf.put(name) for name in NAMES))
    return shelf


async def read(api: Api, shelf: Shelf, selector: Mapping[str, str] = {}) -> tuple[set[str], int]:
    """The names of what is listed, without the ConfigMap of the cluster's CA; and how many pages there were."""
    found = [page.items or () async for page in pages(api, shelf.resource.path(), selector, most=2, seconds=30)]
    names = [msgspec.json.decode(raw)["metadata"]["name"] for items in found for raw in items]
    assert len(names) == len(set(names))
    return set(names) - {"kube-root-ca.crt"}, len(found)


async def test_a_small_collection_is_one_answer_of_which_no_part_is_read_twice(shelf: Shelf) -> None:
    async with connect(shelf.cluster.kubeconfig) as api:
        assert await read(api, shelf) == (NAMES, 1)


async def test_a_large_collection_is_pages(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "WHOLE_BYTES", 600)
    async with connect(shelf.cluster.kubeconfig) as api:
        names, count = await read(api, shelf)
    assert (names, count >= 3) == (NAMES, True)


async def test_what_selectors_choose_is_pages_because_nobody_knows_how_much_it_is(shelf: Shelf) -> None:
    async with connect(shelf.cluster.kubeconfig) as api:
        assert await read(api, shelf, {"labelSelector": "test=yes"}) == (NAMES, 3)


async def test_an_answer_that_is_larger_than_it_seemed_is_read_in_pages(shelf: Shelf) -> None:
    async with connect(shelf.cluster.kubeconfig) as api:
        request = api.request

        async def too_large(method: str, path: str, **options: Any) -> bytes:
            if "limit" not in options["params"]:
                raise Unanswered("the answer is larger than 100 bytes")
            return await request(method, path, **options)

        api.request = too_large  # type: ignore[method-assign]  # no test makes 256 MB of objects
        names, count = await read(api, shelf)
    assert (names, count >= 3) == (NAMES, True)
