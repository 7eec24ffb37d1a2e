"""What the sink writes into a real cluster, as kubectl and the `kubernetes` package see it; what it leaves alone."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import kubernetes as witness
import pytest

from testbed.servers import Kubernetes
from tests.adapters.kubernetes.sink_rig import Owner, Room, instance, many, owner
from tests.real_rig import until

OWNER = "waypost.dev/owner"


@pytest.fixture
async def room(kubernetes: Kubernetes) -> Room:
    return await Room(kubernetes).make()


def versions(slices: list[dict[str, Any]]) -> dict[str, str]:
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in slices}


async def test_kubectl_and_the_kubernetes_package_see_where_the_service_is(room: Room, tmp_path: Path) -> None:
    async with owner(room, tmp_path) as ours:
        ready = instance("web.1", "10.0.0.7", "2001:db8::7", zone="z1")
        await ours.put("web", ready, instance("web.2", "10.0.0.8", ready=False))
    shown = await asyncio.to_thread(
        room.kube.kubectl, "get", "endpointslices", "-n", room.namespace, "-l", "kubernetes.io/service-name=web"
    )
    rows = sorted(line.split()[1:4] for line in shown.stdout.splitlines()[1:])
    assert [(family, port, sorted(each.split(","))) for family, port, each in rows] == [
        ("IPv4", "8080", ["10.0.0.7", "10.0.0.8"]),
        ("IPv6", "8080", ["2001:db8::7"]),
    ]

    def read() -> tuple[Any, Any]:
        loaded: Any = witness.config
        with loaded.new_client_from_config(str(room.kube.kubeconfig)) as client:
            slices = witness.client.DiscoveryV1Api(client).list_namespaced_endpoint_slice(room.namespace)
            return witness.client.CoreV1Api(client).read_namespaced_service("web", room.namespace), slices.items

    service, slices = await asyncio.to_thread(read)
    assert (service.spec.type, service.spec.cluster_ip, service.spec.selector) == ("ClusterIP", "None", None)
    assert [(port.name, port.port, port.protocol) for port in service.spec.ports] == [("http", 8080, "TCP")]
    seats = {(s.address_type, e.addresses[0]): e for s in slices for e in s.endpoints}
    assert {at: e.conditions.ready for at, e in seats.items()} == {
        ("IPv4", "10.0.0.7"): True,
        ("IPv4", "10.0.0.8"): False,
        ("IPv6", "2001:db8::7"): True,
    }
    assert seats["IPv4", "10.0.0.7"].zone == "z1"
    for each in slices:
        labels = each.metadata.labels
        assert labels["kubernetes.io/service-name"] == "web"
        assert labels["endpointslice.kubernetes.io/managed-by"] == "waypost"
        assert labels["service.kubernetes.io/headless"] == ""
        assert [entry.manager for entry in each.metadata.managed_fields] == ["waypost"]
        assert not any(seat.deprecated_topology for seat in each.endpoints)


async def test_nothing_is_attached_to_a_service_that_is_not_ours(room: Room, tmp_path: Path) -> None:
    before = await room.foreign_service("web")
    async with owner(room, tmp_path) as ours:
        outcomes = await ours.apply(ours.records("web", *many(3)))
        assert {(each.status, each.reason) for each in outcomes.values()} == {
            ("conflict", f"the Service {room.namespace}/web is not ours")
        }
        assert await room.addresses("web") == []
        assert not [each for each in await room.all("endpointslices") if OWNER in each["metadata"]["labels"]]
        assert await room.get("services", "web") == before
        await room.delete("services", "web")
        await ours.put("web", *many(3))


async def test_a_service_that_looks_like_ours_and_has_no_mark_is_not_ours(room: Room, tmp_path: Path) -> None:
    async with owner(room, tmp_path) as ours:
        await ours.put("web", *many(1))
        service = await room.get("services", "web")
        assert service is not None
        del service["metadata"]["labels"]["waypost.dev/owner"]
        kept = await room.update("services", service)
        outcomes = await ours.apply(ours.records("web", *many(2)))
        assert {each.status for each in outcomes.values()} == {"conflict"}
        assert await room.get("services", "web") == kept
        await ours.drop("web", *many(1))  # what we have there may still go
        assert await room.slices("web") == []
        assert await room.get("services", "web") == kept


async def test_foreign_slices_stay_whether_they_have_the_name_of_ours_or_serve_our_service(
    room: Room, tmp_path: Path
) -> None:
    async with owner(room, tmp_path) as ours:
        await ours.put("web", *many(1))
        (ours_was,) = await room.slices("web")
        await ours.drop("web", *many(1))
        body = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.9.9.9"]}], "ports": []}
        name = ours_was["metadata"]["name"]
        taken = await room.create("endpointslices", {"metadata": {"name": name}, **body})
        labels = {"kubernetes.io/service-name": "web"}
        beside = await room.create("endpointslices", {"metadata": {"name": "by-hand", "labels": labels}, **body})
        await ours.put("web", *many(2))
        await ours.drop("web", *many(1))
        assert await room.get("endpointslices", name) == taken
        assert await room.get("endpointslices", "by-hand") == beside
        assert await room.addresses("web") == ["10.0.0.2", "10.9.9.9"]
        (told,) = await ours.sink.inspect(["web"])
        assert (told.name, told.owner) == ("web", "")
        assert "by-hand" in told.summary


async def test_of_five_thousand_instances_one_change_writes_one_slice(room: Room, tmp_path: Path) -> None:
    instances = many(5000)
    async with owner(room, tmp_path) as ours:
        began = time.monotonic()
        await ours.put("web", *instances)
        print(f"5,000 instances in {time.monotonic() - began:.1f} s")
        before = await room.slices("web")
        assert sorted(len(each["endpoints"]) for each in before) == [100] * 50
        assert len(await room.addresses("web")) == 5000
        service = await room.get("services", "web")
        changes = [
            (ours.put, instance("web.17", "10.0.0.17", ready=False)),
            (ours.drop, instances[4000]),
            (ours.put, instance("web.new", "10.1.0.1")),
        ]
        for change, changed in changes:
            known = versions(await room.slices("web"))
            began = time.monotonic()
            await change("web", changed)
            print(f"one change in {1000 * (time.monotonic() - began):.0f} ms")
            now = versions(await room.slices("web"))
            assert len({name for name in now if now[name] != known.get(name)}) == 1
            assert now.keys() == known.keys()
        assert await room.get("services", "web") == service
        began = time.monotonic()
        assert len(await ours.observed()) == 5000
        print(f"all observed in {1000 * (time.monotonic() - began):.0f} ms")
        await ours.drop("web", *instances, instance("web.new", "10.1.0.1"))
    assert await room.slices("web") == []
    assert await room.get("services", "web") is None


@pytest.mark.parametrize("what", ["readiness", "address", "stray", "emptied", "gone", "annotation", "ports", "service"])
async def test_what_a_hand_changes_shows_and_is_put_right(room: Room, tmp_path: Path, what: str) -> None:
    async with owner(room, tmp_path) as ours:
        wanted = ours.records("web", *many(3))
        await ours.apply(wanted)
        assert await ours.repair(wanted) == []
        (found,) = await room.slices("web")
        name = found["metadata"]["name"]
        service = await room.get("services", "web")
        assert service is not None
        if what == "readiness":
            found["endpoints"][1]["conditions"]["ready"] = False
        elif what == "address":
            found["endpoints"][1]["addresses"] = ["10.6.6.6"]
        elif what == "stray":
            found["endpoints"].append({"addresses": ["10.6.6.6"]})
        elif what == "emptied":
            found["endpoints"] = []
        elif what == "annotation":
            del found["metadata"]["annotations"]["waypost.dev/records"]
        elif what == "ports":
            found["ports"][0]["port"] = 1
        if what == "gone":
            await room.delete("endpointslices", name)
        elif what == "service":
            service["spec"]["ports"] = [{"name": "other", "port": 1}]
            await room.update("services", service)
        else:
            await room.update("endpointslices", found)
        assert await ours.repair(wanted) != []
        assert await ours.repair(wanted) == []
    assert await room.addresses("web") == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    service = await room.get("services", "web")
    assert service is not None
    assert [port["name"] for port in service["spec"]["ports"]] == ["http"]
    slices = await room.slices("web")
    assert [each["ports"][0]["port"] for each in slices if each["endpoints"]] == [8080]


async def test_a_service_deleted_by_hand_comes_back_while_its_slices_stay(room: Room, tmp_path: Path) -> None:
    async with owner(room, tmp_path) as ours:
        wanted = ours.records("web", *many(3))
        await ours.apply(wanted)
        await room.delete("services", "web")
        assert await room.addresses("web") == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        assert len(await ours.repair(wanted)) == 1
        assert await room.get("services", "web") is not None
        assert await ours.repair(wanted) == []


async def test_what_others_say_about_our_objects_stays(room: Room, tmp_path: Path) -> None:
    async with owner(room, tmp_path) as ours:
        await ours.put("web", *many(1))
        (found,) = await room.slices("web")
        service = await room.get("services", "web")
        assert service is not None
        for plural, each in (("endpointslices", found), ("services", service)):
            each["metadata"]["annotations"]["external-dns.alpha.kubernetes.io/hostname"] = "web.example.com"
            each["metadata"]["labels"]["team"] = "shop"
            await room.update(plural, each)
        wanted = ours.records("web", *many(2), instance("web.9", "10.0.0.9", http=9090))
        assert (await ours.apply(wanted))["web.9"].status == "applied"
        assert await ours.repair(wanted) == []
        now = [await room.get("endpointslices", found["metadata"]["name"]), await room.get("services", "web")]
        for kept in now:
            assert kept is not None
            assert kept["metadata"]["labels"]["team"] == "shop"
            assert kept["metadata"]["annotations"]["external-dns.alpha.kubernetes.io/hostname"] == "web.example.com"


async def test_a_host_name_makes_the_service_another_name_until_there_is_an_address(room: Room, tmp_path: Path) -> None:
    alias, address = instance("db.1", "db.example.com"), instance("db.2", "10.0.0.2")
    async with owner(room, tmp_path) as ours:

        async def spec() -> dict[str, Any]:
            service = await room.get("services", "db")
            assert service is not None
            found: dict[str, Any] = service["spec"]
            return found

        await ours.put("db", alias)
        assert ((await spec())["type"], (await spec())["externalName"]) == ("ExternalName", "db.example.com")
        await ours.put("db", address)
        assert ((await spec())["type"], (await spec())["clusterIP"]) == ("ClusterIP", "None")
        assert await room.addresses("db") == ["10.0.0.2"]
        wanted = ours.records("db", alias, address)
        assert await ours.repair(wanted) == []
        await ours.drop("db", address)
        assert (await spec())["externalName"] == "db.example.com"
        await ours.drop("db", alias)
        assert await room.get("services", "db") is None


async def test_a_service_with_an_address_of_its_own_keeps_it_and_its_ports_numbers(room: Room, tmp_path: Path) -> None:
    async with owner(room, tmp_path, serviceType="ClusterIP") as ours:
        await ours.put("web", instance("a", "10.0.0.1", http=31005), instance("b", "10.0.0.2", http=31002))
        before = await room.get("services", "web")
        assert before is not None
        assert before["spec"]["clusterIP"].startswith("10.96.")
        assert [port["port"] for port in before["spec"]["ports"]] == [31002]
        assert not any("service.kubernetes.io/headless" in s["metadata"]["labels"] for s in await room.slices("web"))
        await ours.drop("web", instance("b", "10.0.0.2", http=31002))
        await ours.put("web", instance("c", "10.0.0.3", http=31001))
        after = await room.get("services", "web")
        assert after is not None
        assert after["spec"] == before["spec"]


async def test_addresses_of_the_clusters_own_services_are_refused(room: Room, tmp_path: Path) -> None:
    async with owner(room, tmp_path) as ours:
        outcomes = await ours.apply(ours.records("web", instance("own", "10.96.0.1"), instance("other", "10.0.0.1")))
        assert (outcomes["own"].status, outcomes["other"].status) == ("invalid", "applied")
        assert "10.96.0.0/16" in outcomes["own"].reason
    async with owner(room, tmp_path, clusterCIDRs=[]) as ours:
        await ours.put("web", instance("own", "10.96.0.1"))


async def test_other_namespaces_are_written_by_name_and_one_that_comes_later_is_taken_up(
    room: Room, tmp_path: Path
) -> None:
    name = f"{room.namespace}-b"
    rules = "/apis/rbac.authorization.k8s.io/v1"
    async with owner(room, tmp_path, namespaces=[name]) as ours:
        assert "NamespaceMissing" in dict(ours.context.warnings)
        (outcome,) = (await ours.apply(ours.records(f"web.{name}", *many(1)))).values()
        assert outcome.status == "invalid"
        await ours.put("web", *many(1))  # and delays nobody
        await room.kube.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        binding = {
            "metadata": {"name": "waypost"},
            "subjects": [{"kind": "ServiceAccount", "name": "waypost", "namespace": room.namespace}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        }
        await room.kube.call("POST", f"{rules}/namespaces/{name}/rolebindings", binding)
        await ours.put(f"web.{name}", *many(1))
        assert {each.name for each in (await ours.observed()).values()} == {"web", f"web.{name}"}
    stamps = await room.kube.call("GET", f"/api/v1/namespaces/{name}/configmaps")
    assert "waypost-stamp-me" in {each["metadata"]["name"] for each in stamps["items"]}


async def test_a_quota_refuses_one_service_alone(room: Room, tmp_path: Path) -> None:
    async with owner(room, tmp_path) as ours:
        await ours.put("first", *many(1))
        hard = {"metadata": {"name": "few"}, "spec": {"hard": {"services": "1"}}}
        made = await room.create("resourcequotas", hard)
        made["status"] = {"hard": {"services": "1"}, "used": {"services": "1"}}
        path = room.path("resourcequotas", "few") + "/status"
        await room.kube.call("PUT", path, made)
        (outcome,) = (await ours.apply(ours.records("second", *many(1)))).values()
        assert outcome.status == "invalid", outcome
        assert "exceeded quota" in outcome.reason
        await ours.put("first", *many(2))


async def test_batches_of_several_publications_under_one_name_do_not_lose_each_other(
    room: Room, tmp_path: Path
) -> None:
    async with owner(room, tmp_path) as ours:
        names = [f"s{n}" for n in range(8)]
        await asyncio.gather(
            *[ours.put("web", instance(name, f"10.0.0.{n}"), service=name) for n, name in enumerate(names, 1)]
        )
        assert await room.addresses("web") == [f"10.0.0.{n}" for n in range(1, 9)]
        (found,) = await room.slices("web")
        assert len(json.loads(found["metadata"]["annotations"]["waypost.dev/records"])["publications"]) == 8


async def test_somebody_faster_makes_it_look_again_and_nothing_is_lost(room: Room, tmp_path: Path) -> None:
    async with owner(room, tmp_path) as ours, owner(room, tmp_path, claim=False) as other:
        other.fence = ours.fence  # a late write of our own: the same fence, another memory
        await ours.put("web", *many(2))
        await other.put("web", *many(3))
        await ours.put("web", instance("web.4", "10.0.0.4"))  # from what it remembers of two
        assert await room.addresses("web") == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]


async def test_our_own_writes_are_not_told_as_changes_and_others_are(room: Room, tmp_path: Path) -> None:
    async with owner(room, tmp_path) as ours:
        await ours.put("web", *many(2))
        wanted = ours.records("web", *many(3))
        await ours.observed()
        marked: set[str] = set()

        def mark(keys: Any) -> None:
            marked.update(["anything"] if keys is None else keys)

        following = asyncio.create_task(ours.sink.drift(mark))
        try:
            drift = ours.sink._drift

            def watches() -> bool:
                return len(drift.followed) == 2 and all(each.version for each, _ in drift.followed)

            await until(watches, "it watches")
            await ours.apply(wanted)
            await ours.put("other", *many(3))
            await ours.drop("other", *many(3))
            (found,) = await room.slices("web")
            found["endpoints"].pop(0)
            await room.update("endpointslices", found)
            await until(lambda: marked, "the change by hand is told")
            assert marked == {each.key for each in wanted}
        finally:
            following.cancel()
            await asyncio.wait([following])


async def test_what_was_left_empty_when_something_was_cut_off_goes_with_the_next_batch(
    room: Room, tmp_path: Path
) -> None:
    async with owner(room, tmp_path) as ours:
        await ours.put("web", *many(1))
        labels = {OWNER: "me", "endpointslice.kubernetes.io/managed-by": "waypost", "kubernetes.io/service-name": "old"}
        nobody = {"waypost.dev/records": "{}"}
        await room.create("services", {"metadata": {"name": "old", "labels": labels}, "spec": {"clusterIP": "None"}})
        meta = {"name": "old-4-x", "labels": labels, "annotations": nobody}
        await room.create("endpointslices", {"metadata": meta, "addressType": "IPv4", "endpoints": [], "ports": []})
        seat = {"addresses": ["10.0.0.9"]}
        unread = {"name": "unread-4-x", "labels": labels | {"kubernetes.io/service-name": "unread"}}
        await room.create("endpointslices", {"metadata": unread, "addressType": "IPv4", "endpoints": [seat]})
        assert len(await ours.observed()) == 1
        await ours.put("web", *many(2))
        assert await room.get("services", "old") is None
        assert await room.slices("old") == []
        assert len(await room.slices("unread")) == 1  # somebody may stand there: it is not known
        assert await room.addresses("web") == ["10.0.0.1", "10.0.0.2"]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "own"


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_an_api_server_killed_during_writes_loses_nothing(own: Path, tmp_path: Path) -> None:
    instances = many(2000)
    async with Kubernetes(own, controllers=False) as kube:
        room = await Room(kube).make()
        async with owner(room, tmp_path, timeoutSeconds=3) as ours:
            wanted = ours.records("web", *instances[:1500]) + [
                each for n in range(50) for each in ours.records(f"s{n}", *instances[1500 + 10 * n : 1510 + 10 * n])
            ]
            known: set[str] = set()

            async def write() -> None:
                for start in range(0, len(wanted), 100):
                    batch = wanted[start : start + 100]
                    found = await ours.apply(batch)
                    known.update(each.key for each in batch if found[each.instance].status == "applied")

            task = asyncio.create_task(write())
            await until(lambda: len(known) >= 300, "300 records are acknowledged")
            await kube.api.kill9()
            with pytest.raises(Exception, match=r"."):  # nothing can be sent, or nothing is answered
                await asyncio.wait_for(_failing(task, ours, wanted), 60)
            acknowledged = set(known)
            await kube.api.start(timeout=120)
            ours.fence = await _claimed(ours)
            seen = await ours.observed()
            assert acknowledged <= seen.keys(), "what was acknowledged is gone"
            while await ours.repair(wanted):
                pass
            assert len(await ours.observed()) == len(wanted)
            assert len(await room.addresses("web")) == 1500


async def _failing(task: asyncio.Task[None], ours: Owner, wanted: Any) -> None:
    """Wait for the end of the writing, then write on until that raises."""
    await task
    while True:
        await ours.apply(wanted[:10])


async def _claimed(ours: Owner) -> Any:
    for _ in range(50):
        try:
            return await ours.sink.claim("test", "me", ours.fence.epoch)
        except Exception:  # noqa: BLE001 - it has just come back
            await asyncio.sleep(0.2)
    raise AssertionError("not claimed after 10 s")
