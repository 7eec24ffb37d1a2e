"""The informer, beside real API servers: what it tells of lists, events, cuts, expiry, and what was missed."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.proxy import Proxy
from testbed.pytest_plugin import in_a_loop_of_its_own
from testbed.servers.kubernetes import Kubernetes
from tests.kit.kubernetes.following import Config, Shelf, Told, running
from waypost.adapter import AdapterError
from waypost.kit.kubernetes import api as apis
from waypost.kit.kubernetes import pages
from waypost.kit.kubernetes.api import Api, connect
from waypost.kit.kubernetes.errors import ApiError, ApiRefused
from waypost.kit.kubernetes.informer import Informer

pytestmark = pytest.mark.server("kube", "etcd")


@pytest.fixture(scope="module")
def uncached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """An API server that reads etcd for each request: what etcd has forgotten, it cannot answer."""
    cluster = Kubernetes(tmp_path_factory.mktemp("uncached"), controllers=False, flags=["--watch-cache=false"])
    in_a_loop_of_its_own(cluster.start())
    yield cluster
    in_a_loop_of_its_own(cluster.stop())


def of(api: Api, shelf: Shelf, **options: Any) -> Informer[Config]:
    """An informer of a shelf's own: each namespace may have another ConfigMap, with the cluster's CA."""
    return Informer(api, shelf.resource, Config, label_selector="test=yes", **options)


async def shelf_in(cluster: Kubernetes) -> Shelf:
    shelf = Shelf(cluster, f"informer-{secrets.token_hex(4)}")
    await shelf.make()
    return shelf


@pytest.fixture
async def shelf(kubernetes: Kubernetes) -> Shelf:
    return await shelf_in(kubernetes)


@asynccontextmanager
async def through_proxy(cluster: Kubernetes) -> AsyncIterator[tuple[Proxy, Api]]:
    async with Proxy(cluster.url) as proxy:
        kubeconfig = cluster.write_kubeconfig("proxied", cluster.api.admin, server=f"https://{proxy.address}")
        async with connect(kubeconfig) as api:
            yield proxy, api


async def compact(cluster: Kubernetes) -> None:
    """Let etcd forget all that was before now."""
    revision = (await cluster.etcd.call("kv/range", {"key": "AA=="}))["header"]["revision"]
    await cluster.etcd.call("kv/compaction", {"revision": revision, "physical": True})


async def test_all_pages_of_a_list_are_told_at_once_and_then_each_change(shelf: Shelf) -> None:
    for name in "abcde":
        await shelf.put(name)
    told = Told()
    async with connect(shelf.cluster.kubeconfig) as api:
        informer = of(api, shelf, page=2)
        async with running(informer, told):
            await told.told("replaced", ["a", "b", "c", "d", "e"], [])
            await shelf.put("f", "1")
            await shelf.change("a", "2")
            await shelf.delete("b")
            await told.told("deleted", "b")
    changes = [event for event in told.events if event[0] != "alive"][1:]
    assert changes == [("put", "f", "1", None), ("put", "a", "2", "0"), ("deleted", "b")]
    assert sorted(name for _, name in informer.objects) == ["a", "c", "d", "e", "f"]


async def test_an_empty_collection_is_a_list_too(shelf: Shelf) -> None:
    told = Told()
    async with (
        connect(shelf.cluster.kubeconfig) as api,
        running(of(api, shelf), told),
    ):
        await told.told("replaced", [], [])


async def test_a_watch_that_ended_in_time_says_that_nothing_else_happened_and_goes_on(shelf: Shelf) -> None:
    told = Told()
    async with connect(shelf.cluster.kubeconfig) as api, running(of(api, shelf, watch_seconds=1), told):
        await told.until(lambda: len(told.all("alive")) > 2)
        await shelf.put("a")
        await told.told("put", "a", "0", None)
    assert len(told.all("replaced")) == 1


async def test_a_bookmark_moves_the_version_past_what_is_not_selected(shelf: Shelf) -> None:
    told = Told()
    async with connect(shelf.cluster.kubeconfig) as api:
        informer = of(api, shelf, watch_seconds=5)
        async with running(informer, told):
            await told.until(lambda: told.all("replaced"))
            other = await shelf.cluster.call("POST", shelf.resource.path(), {"metadata": {"name": "not-selected"}})
            await told.until(lambda: int(informer.version) >= int(other["metadata"]["resourceVersion"]))
    assert {event[0] for event in told.events} == {"replaced", "alive"}


async def test_a_cut_watch_goes_on_without_a_list_and_misses_nothing(shelf: Shelf) -> None:
    await shelf.put("a")
    told = Told()
    async with through_proxy(shelf.cluster) as (proxy, api), running(of(api, shelf), told):
        await told.told("replaced", ["a"], [])
        for n in ("1", "2", "3"):
            await proxy.refuse()
            await shelf.change("a", n)
            await proxy.heal()
            await told.told("put", "a", n, str(int(n) - 1))
    assert len(told.all("replaced")) == 1


async def test_an_outage_is_told_and_what_happened_meanwhile_comes_after_it(shelf: Shelf) -> None:
    await shelf.put("a")
    await shelf.put("b")
    told = Told()
    async with through_proxy(shelf.cluster) as (proxy, api), running(of(api, shelf), told):
        await told.told("replaced", ["a", "b"], [])
        await proxy.refuse()
        await told.until(lambda: told.all("failing"))
        assert not told.all("deleted")
        await shelf.delete("b")
        await shelf.put("c")
        await proxy.heal()
        await told.told("deleted", "b")
        await told.told("put", "c", "0", None)
    assert len(told.all("replaced")) == 1
    assert all(isinstance(error, AdapterError) for _, error in told.all("failing"))


async def test_what_vanished_while_the_version_expired_is_told_by_the_list(uncached: Kubernetes) -> None:
    shelf = await shelf_in(uncached)
    for name in "abc":
        await shelf.put(name)
    told = Told()
    async with through_proxy(uncached) as (proxy, api):
        informer = of(api, shelf)
        async with running(informer, told):
            await told.told("replaced", ["a", "b", "c"], [])
            await proxy.refuse()
            await shelf.delete("a")
            await shelf.delete("b")
            await shelf.put("b", "1")  # another one of the same name
            await shelf.put("d")
            await compact(uncached)
            await proxy.heal()
            await told.told("replaced", ["b", "c", "d"], ["a", "b"])
            await shelf.put("e")
            await told.told("put", "e", "0", None)
    assert not told.all("deleted")


async def test_a_continue_token_that_expired_begins_the_list_again(uncached: Kubernetes) -> None:
    shelf = await shelf_in(uncached)
    for name in "abcd":
        await shelf.put(name)
    told = Told()
    async with connect(uncached.kubeconfig) as api:
        asked: list[dict[str, str]] = []
        request = api.request

        async def compacted_after_the_first_page(method: str, path: str, **options: Any) -> bytes:
            body = await request(method, path, **options)
            asked.append(options["params"])
            if len(asked) == 1:
                await shelf.delete("a")
                await compact(uncached)
            return body

        api.request = compacted_after_the_first_page  # type: ignore[method-assign]  # between two pages
        async with running(of(api, shelf, page=2), told):
            await told.until(lambda: told.all("replaced"))
    assert told.events[0] == ("replaced", ["b", "c", "d"], []), "the pages of two versions were not mixed"
    assert "continue" not in asked[1]


async def test_one_answer_for_all_that_is_cut_counts_for_nothing_and_is_asked_for_in_pages(
    uncached: Kubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FIRST_PAGE", 1)
    monkeypatch.setattr(pages, "PAGE_BYTES", 400_000)
    shelf = await shelf_in(uncached)
    for name in "abcdefgh":
        await shelf.put(name, padding=200_000)
    told = Told()
    async with through_proxy(uncached) as (proxy, api):
        await proxy.cut(1_100_000)  # after so many bytes: some parts come, and not all
        gone = asyncio.Event()
        arriving = api.pieces

        @asynccontextmanager
        async def then_one_goes(path: str, **options: Any) -> AsyncIterator[AsyncIterator[bytes]]:
            try:
                async with arriving(path, **options) as pieces:
                    yield pieces
            finally:
                await shelf.delete("a")
                await proxy.heal()
                gone.set()

        api.pieces = then_one_goes  # type: ignore[method-assign]  # between the two lists
        async with running(Informer(api, shelf.resource, Config), told):
            await told.until(lambda: told.all("replaced"))
    assert gone.is_set()
    assert told.events[0] == ("replaced", list("bcdefgh"), []), "nothing of the answer that was cut is left"


async def test_an_api_server_that_was_killed_and_came_back_is_followed_again(uncached: Kubernetes) -> None:
    shelf = await shelf_in(uncached)
    await shelf.put("a")
    told = Told()
    async with connect(uncached.kubeconfig) as api, running(of(api, shelf), told):
        await told.told("replaced", ["a"], [])
        await uncached.api.restart(kill=True)
        await shelf.change("a", "1")
        await told.told("put", "a", "1", "0")
    assert not told.all("deleted")


async def test_a_server_whose_version_went_back_is_listed_again(shelf: Shelf) -> None:
    await shelf.put("a")
    told = Told()
    async with connect(shelf.cluster.kubeconfig) as api:
        informer = of(api, shelf)
        async with running(informer, told):
            await told.told("replaced", ["a"], [])
        informer.version = str(int(informer.version) + 1_000_000_000)  # as after a restored etcd
        await shelf.delete("a")
        async with running(informer, told):
            await told.told("replaced", [], ["a"])


async def test_a_watch_without_a_word_is_taken_up_again(shelf: Shelf) -> None:
    await shelf.put("a")
    told = Told()
    async with through_proxy(shelf.cluster) as (proxy, api), running(of(api, shelf, silent_seconds=1.0), told):
        await told.told("replaced", ["a"], [])
        await proxy.wait_accepted(2)
        await proxy.hang()
        await shelf.change("a", "1")
        before = proxy.accepted
        await proxy.wait_accepted(before + 1)  # the informer has given the silent one up
        await proxy.drop()  # as the other side would in the end
        await proxy.heal()
        await told.told("put", "a", "1", "0")
    assert len(told.all("replaced")) == 1


async def test_an_error_within_the_stream_is_waited_out(shelf: Shelf) -> None:
    await shelf.put("a")
    told = Told()
    said = {"kind": "Status", "code": 500, "reason": "InternalError", "message": "etcd is slow"}
    line = json.dumps({"type": "ERROR", "object": said}).encode() + b"\n"
    async with Proxy(shelf.cluster.url, backend_tls=shelf.cluster.api.context) as proxy:
        kubeconfig = shelf.cluster.write_kubeconfig("plain", shelf.cluster.api.admin, server=proxy.url)
        async with connect(kubeconfig) as api:
            informer = of(api, shelf)
            async with running(informer, told):
                await told.told("replaced", ["a"], [])
            version = informer.version
            await proxy.answer(200, line)
            informer._went_back = _no  # type: ignore[method-assign]  # the answer of 200 tells of no version
            async with running(informer, told):
                await told.until(lambda: told.all("failing"))
                error = told.all("failing")[0][1]
                assert isinstance(error, ApiError)
                assert (error.status, error.reason) == (500, "InternalError")
                assert informer.version == version
                await proxy.heal()
                await shelf.change("a", "1")
                await told.told("put", "a", "1", "0")
    assert len(told.all("replaced")) == 1


async def _no() -> bool:
    return False


async def test_an_object_that_cannot_be_read_stays_as_it_was_and_delays_no_other(shelf: Shelf) -> None:
    await shelf.put("bad", "4")
    await shelf.put("good", "1")
    told = Told()
    async with connect(shelf.cluster.kubeconfig) as api:
        informer = of(api, shelf)
        async with running(informer, told):
            await told.told("replaced", ["good"], [])
            assert told.events[0] == ("unreadable", "bad")
            await shelf.change("good", "5")
            await told.told("unreadable", "good")
            assert informer.objects[shelf.namespace, "good"].data.n == "1"
            await shelf.change("bad", "2")
            await told.told("put", "bad", "2", None)
            informer.version = ""  # a list does not make it vanish either
        async with running(informer, told):
            await told.told("replaced", ["bad", "good"], [])
            await shelf.delete("good")
            await told.told("deleted", "good")


async def test_a_right_that_is_missing_is_an_error_and_no_empty_list(shelf: Shelf) -> None:
    await shelf.cluster.call(
        "POST", f"/api/v1/namespaces/{shelf.namespace}/serviceaccounts", {"metadata": {"name": "nobody"}}
    )
    kubeconfig = shelf.cluster.write_kubeconfig("nobody", await shelf.cluster.token(shelf.namespace, "nobody"))
    async with connect(kubeconfig) as api:
        with pytest.raises(ApiRefused, match="403 Forbidden"):
            await Informer(api, shelf.resource, Config).follow(Told())


async def test_what_is_not_the_api_is_an_error(tmp_path: Path, shelf: Shelf) -> None:
    async with Proxy(shelf.cluster.url) as proxy:
        kubeconfig = shelf.cluster.write_kubeconfig("elsewhere", "x", server=proxy.url)
        async with connect(kubeconfig) as api:
            for body in (b"<html>", b"{}", b'{"metadata": {}}'):
                await proxy.answer(200, body)
                with pytest.raises(AdapterError):
                    await Informer(api, shelf.resource, Config).follow(Told())


async def test_pages_of_large_objects_are_small(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are made to fit: no single answer is much above what is decoded within some milliseconds."""
    monkeypatch.setattr(pages, "FIRST_PAGE", 2)
    monkeypatch.setattr(pages, "WHOLE_BYTES", 2_000_000)
    for at in range(12):
        body = {"metadata": {"name": f"big-{at}"}, "data": {"n": "0", "x": "y" * 300_000}}
        await shelf.cluster.call("POST", shelf.resource.path(), body)
    async with connect(shelf.cluster.kubeconfig) as api:
        sizes: list[int] = []
        request = api.request

        async def measured(method: str, path: str, **options: Any) -> bytes:
            body = await request(method, path, **options)
            sizes.append(len(body))
            return body

        api.request = measured  # type: ignore[method-assign]  # what is read is counted
        told = Told()
        informer = Informer(api, shelf.resource, Config, page=500)
        async with running(informer, told):
            await told.until(lambda: told.all("replaced"))
    assert len(informer.objects) == 12
    assert max(sizes) < 1_300_000


async def test_a_list_that_is_larger_than_it_seemed_is_read_in_pages(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FIRST_PAGE", 1)
    monkeypatch.setattr(apis, "MOST_BODY_BYTES", 1_000_000)
    await shelf.put("a")
    for name in "bcdefgh":
        await shelf.put(name, padding=200_000)
    told = Told()
    async with connect(shelf.cluster.kubeconfig) as api:
        request, continued = api.request, 0

        async def counted(method: str, path: str, **options: Any) -> bytes:
            nonlocal continued
            continued += "continue" in options["params"]
            return await request(method, path, **options)

        api.request = counted  # type: ignore[method-assign]  # what is asked for is counted
        informer = Informer(api, shelf.resource, Config, page=2)
        async with running(informer, told):
            await told.until(lambda: told.all("replaced"))
    assert {name for _, name in informer.objects} >= set("abcdefgh")
    assert continued >= 4
    assert not told.all("failing")


async def test_it_ends_when_it_is_cancelled(shelf: Shelf) -> None:
    told = Told()
    async with connect(shelf.cluster.kubeconfig) as api, running(Informer(api, shelf.resource, Config), told) as task:
        await told.until(lambda: told.all("replaced"))
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([task])
