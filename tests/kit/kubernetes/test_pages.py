"""Lists, beside a real API server: one answer where that is not too large, else pages."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from testbed.servers.kubernetes import Kubernetes
from tests.kit.kubernetes.following import Shelf
from waypost.kit.kubernetes import pages as listing
from waypost.kit.kubernetes.api import Api, connect
from waypost.kit.kubernetes.pages import NotWhole, pages

pytestmark = pytest.mark.server("kube", "etcd")

NAMES = {"a", "b", "c", "d", "e"}


@pytest.fixture
async def shelf(kubernetes: Kubernetes) -> Shelf:
    shelf = Shelf(kubernetes, f"pages-{secrets.token_hex(4)}")
    await shelf.make()
    await asyncio.gather(*(shelf.put(name) for name in NAMES))
    return shelf


async def read(
    api: Api, shelf: Shelf, selector: Mapping[str, str] = {}, *, whole: bool = True
) -> tuple[set[str], list[str]]:
    """The names of what is listed, without the ConfigMap of the cluster's CA; and the versions that were told."""
    listing = pages(api, shelf.resource.path(), selector, most=2, seconds=30, whole=whole)
    found = [(items, version) async for items, version in listing]
    names = [msgspec.json.decode(raw)["metadata"]["name"] for items, _ in found for raw in items]
    assert len(names) == len(set(names))
    versions = [version for _, version in found]
    assert [bool(version) for version in versions] == [False] * (len(versions) - 1) + [True]
    return set(names) - {"kube-root-ca.crt"}, versions


async def test_a_small_collection_is_one_answer_of_which_no_part_is_read_twice(shelf: Shelf) -> None:
    async with connect(shelf.cluster.kubeconfig) as api:
        names, versions = await read(api, shelf)
    assert (names, len(versions)) == (NAMES, 1)


async def test_a_large_collection_is_pages(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "WHOLE_BYTES", 600)
    async with connect(shelf.cluster.kubeconfig) as api:
        names, versions = await read(api, shelf)
    assert (names, len(versions) >= 3) == (NAMES, True)


async def test_what_selectors_choose_is_pages_because_nobody_knows_how_much_it_is(shelf: Shelf) -> None:
    async with connect(shelf.cluster.kubeconfig) as api:
        names, versions = await read(api, shelf, {"labelSelector": "test=yes"})
    assert (names, len(versions)) == (NAMES, 3)


async def test_whoever_asks_for_pages_gets_pages(shelf: Shelf) -> None:
    async with connect(shelf.cluster.kubeconfig) as api:
        names, versions = await read(api, shelf, whole=False)
    assert (names, len(versions) >= 3) == (NAMES, True)


@pytest.mark.parametrize("left", [0, 1, 500, -1])
async def test_a_text_that_ends_early_though_its_connection_ended_well_is_no_list(shelf: Shelf, left: int) -> None:
    async with connect(shelf.cluster.kubeconfig) as api:
        whole = api.pieces

        @asynccontextmanager
        async def short(path: str, **options: Any) -> AsyncIterator[AsyncIterator[bytes]]:
            async with whole(path, **options) as pieces:
                text = b"".join([piece async for piece in pieces]).rstrip()

                async def cut() -> AsyncIterator[bytes]:
                    yield text[:left]

                yield cut()

        api.pieces = short  # type: ignore[method-assign]  # as a proxy would do that gives no length
        with pytest.raises(NotWhole):
            await read(api, shelf)
        names, _ = await read(api, shelf, whole=False)
    assert names == NAMES


async def test_a_large_answer_is_told_in_parts_while_it_comes(shelf: Shelf) -> None:
    await asyncio.gather(*(shelf.put(f"large-{at}", padding=100_000) for at in range(12)))
    large = {f"large-{at}" for at in range(12)}
    async with connect(shelf.cluster.kubeconfig) as api:
        names, versions = await read(api, shelf)
    assert (names, len(versions) >= 3) == (NAMES | large, True)
