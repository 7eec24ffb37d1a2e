"""Health checks on a whole engine: what a verdict does to what is registered."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from tests.rig import Rig, instance, registration, service, sink, source
from waypost.engine import findings
from waypost.engine.overlay import HealthOverlay
from waypost.health.check import PASSED, Outcome, Target, failed, unknown
from waypost.kit.clock import LoopClock
from waypost.model import Address, Port, PublicationKey, ServiceKey
from waypost.settings import Metadata, RegistrationSpec, ServiceRegistration
from waypost.testing.context import RecordedMetrics
from waypost.testing.virtual import VirtualClock, virtual_test

CHECK = {"tcpSocket": {}, "periodSeconds": 10, "timeoutSeconds": 2, "failureThreshold": 3}
MAIN_AND_HTTP = [{"name": "main", "match": {"name": "admin"}}, {"name": "http"}]
QUICK = {**CHECK, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 1}


class Network:
    """What answers: all but the instances that are `down`; `blind`: no check can be made at all."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.blind = False
        self.asked: list[Target] = []

    async def __call__(self, target: Target) -> Outcome:
        self.asked.append(target)
        await asyncio.sleep(0.01)
        if self.blind:
            return unknown("no descriptor is free")
        return failed("no connection: ECONNREFUSED") if target.instance in self.down else PASSED


class Scene:
    """A rig and the network that its instances live in."""

    def __init__(self, folder: Path, **spec: Any) -> None:
        self.rig = Rig(folder)
        self.network = Network()
        self.overlay: HealthOverlay = None  # type: ignore[assignment]  # there while `running`
        if spec:
            self.rig.declare(registration("web", **spec))

    def runs(self, *instances: Any, **more: Any) -> None:
        self.rig.memory["mem"].set(service("web", *instances, **more))

    @asynccontextmanager
    async def running(self, *, real: bool = False) -> AsyncIterator[Rig]:
        clock = LoopClock() if real else VirtualClock()
        probe = None if real else self.network
        overlay = self.overlay = HealthOverlay(clock, Random(0), RecordedMetrics(), probe=probe, most=64)
        async with self.rig.running(overlay=overlay):
            yield self.rig

    def counts_are_right(self) -> None:
        for watch in self.overlay.watches.values():
            counted = [s for f in watch.followers.values() for n, s in f.subjects.items() if n not in f.away]
            assert watch.ward.total == len(counted)
            assert watch.ward.failing == sum(s.failing for s in counted)
        said = Counter(s.verdict for s in self.overlay.checker.subjects.values())
        assert said == +Counter(self.overlay.checker.counts)


@virtual_test
async def test_an_instance_that_fails_is_withdrawn_and_comes_back(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck=CHECK)
    scene.runs("a", "b", "c")
    async with scene.running() as rig:
        await rig.settle(3)
        assert rig.found() == ["web/a", "web/b", "web/c"]
        scene.network.down = {"b"}
        await rig.settle(19)
        assert rig.found() == ["web/a", "web/b", "web/c"]  # twice is not three times
        await rig.settle(14)
        assert rig.found() == ["web/a", "web/c"]
        (gone,) = [c for c in rig.engine.ring.since() if c.action == "removed"]
        assert (gone.instance, gone.cause) == ("b", "health")
        scene.counts_are_right()
        scene.network.down = set()
        await rig.settle(12)
        assert rig.found() == ["web/a", "web/b", "web/c"]
        scene.counts_are_right()


@virtual_test
async def test_one_that_never_answered_is_not_published_and_its_neighbours_are(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck=CHECK)
    scene.network.down = {"c"}
    scene.runs("a", "b", "c")
    async with scene.running() as rig:
        await rig.settle(100)
        assert rig.found() == ["web/a", "web/b"]
        scene.network.down = set()
        await rig.settle(12)
        assert rig.found() == ["web/a", "web/b", "web/c"]


@virtual_test
async def test_a_new_instance_is_checked_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck={**CHECK, "periodSeconds": 3600})
    scene.runs("a")
    async with scene.running() as rig:
        await rig.settle(1)
        scene.runs("a", "b")
        await rig.settle(1)
        assert rig.found() == ["web/a", "web/b"]


@virtual_test
async def test_a_restart_keeps_what_is_published_while_nothing_is_known(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck=CHECK)
    scene.runs(*(f"i{n}" for n in range(8)))
    async with scene.running() as rig:
        await rig.settle(3)
    scene.network.blind = True
    written = len(rig.target().log)
    async with scene.running() as rig:
        await rig.settle(1000)
        assert findings.snapshot(scene.overlay).unknown == 8
        assert findings.snapshot(scene.overlay).trouble == "no descriptor is free"
        scene.network.blind = False
        await rig.settle(100)
        assert findings.snapshot(scene.overlay).passing == 8
    assert len(rig.target().log) == written


@virtual_test
async def test_what_fell_over_while_waypost_was_down_is_withdrawn_after_its_threshold(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck=CHECK)
    scene.runs("a", "b", "c")
    async with scene.running() as rig:
        await rig.settle(3)
    scene.network.down = {"a"}
    async with scene.running() as rig:
        await rig.settle(15)
        assert rig.found() == ["web/a", "web/b", "web/c"]
        await rig.settle(30)
        assert rig.found() == ["web/b", "web/c"]


@virtual_test
@pytest.mark.parametrize("check", [CHECK, QUICK, {**CHECK, "failureThreshold": 2, "successThreshold": 3}])
async def test_a_mass_failure_is_panic_and_nothing_is_withdrawn(tmp_path: Path, check: dict[str, Any]) -> None:
    scene = Scene(tmp_path, healthCheck=check)
    names = [f"i{n:03}" for n in range(60)]
    scene.runs(*names)
    async with scene.running() as rig:
        await rig.settle(60)
        assert len(rig.found()) == 60
        written = len(rig.target().log)
        scene.network.down = set(names)
        await rig.settle(300)
        assert len(rig.target().log) == written
        assert findings.snapshot(scene.overlay).panicking == ["default/web"]
        told = findings.registration(scene.overlay, "default/web")
        assert told is not None
        assert (told.failing, told.panics, len(told.failures)) == (60, True, 10)
        assert told.failures[0].kept
        assert "not withdrawn" in told.failures[0].text
        assert not rig.engine.holds.holds
        scene.network.down = set()
        await rig.settle(100)
        assert findings.snapshot(scene.overlay).panicking == []
        assert len(rig.target().log) == written
        scene.counts_are_right()


@virtual_test
async def test_a_mass_failure_right_after_a_restart_is_panic_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck=QUICK)
    names = [f"i{n:03}" for n in range(100)]
    scene.runs(*names)
    async with scene.running() as rig:
        await rig.settle(5)
    written = len(rig.target().log)
    scene.network.down = set(names)
    async with scene.running() as rig:
        await rig.settle(100)
        assert findings.snapshot(scene.overlay).panicking == ["default/web"]
    assert len(rig.target().log) == written


@virtual_test
async def test_when_panic_ends_who_still_fails_is_withdrawn(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck=CHECK)
    names = [f"i{n}" for n in range(10)]
    scene.runs(*names)
    async with scene.running() as rig:
        await rig.settle(15)
        scene.network.down = set(names[:6])
        await rig.settle(60)
        assert len(rig.found()) == 10
        scene.network.down = {"i0", "i1"}
        await rig.settle(60)
        assert rig.found() == [f"web/i{n}" for n in range(2, 10)]


@virtual_test
async def test_with_100_percent_checks_always_withdraw(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck={**CHECK, "panicPercent": 100})
    scene.runs("a")
    async with scene.running() as rig:
        await rig.settle(5)
        assert rig.found() == ["web/a"]
        scene.network.down = {"a"}
        await rig.settle(60)
        assert rig.found() == []


@virtual_test
async def test_min_ready_instances_stay_and_wait_for_a_person(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck={**CHECK, "panicPercent": 100}, minReadyInstances=2)
    scene.runs("a", "b", "c")
    async with scene.running() as rig:
        await rig.settle(5)
        scene.network.down = {"a", "b", "c"}
        await rig.settle(60)
        assert len(rig.found()) == 2
        assert {hold.cause for hold in rig.engine.holds.holds.values()} == {"MinReady"}


@virtual_test
async def test_one_that_its_source_calls_not_ready_causes_no_panic(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck=CHECK)
    starting = [instance(f"s{n}", readiness="not-ready") for n in range(9)]
    scene.network.down = {f"s{n}" for n in range(9)}
    scene.runs("a", "b", "c", *starting)
    async with scene.running() as rig:
        await rig.settle(60)
        scene.network.down.add("a")
        await rig.settle(60)
        assert rig.found() == ["web/b", "web/c"]
        scene.counts_are_right()
        scene.network.down = set()
        scene.runs("a", "b", "c", *(f"s{n}" for n in range(9)))
        await rig.settle(15)
        assert len(rig.found()) == 12
        scene.counts_are_right()


@virtual_test
async def test_a_check_that_two_registrations_ask_for_runs_once_and_serves_both(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck=CHECK)
    scene.rig.declare(sink("other"), registration("again", services="web", sinks=["out", "other"], healthCheck=CHECK))
    scene.rig.declare(registration("free", services="web", names=["free"]))
    scene.runs("a", "b", "c")
    async with scene.running() as rig:
        await rig.settle(100)
        assert findings.snapshot(scene.overlay).checks == 3
        assert all(count in {10, 11} for count in Counter(t.instance for t in scene.network.asked).values())
        scene.network.down = {"a"}
        await rig.settle(60)
        assert not [key for key in rig.found("other") if key.endswith("/a")]
        assert [key for key in rig.found() if key.endswith("/a")] == ["free/a"]  # who asks for no check has none
        told = findings.registration(scene.overlay, "default/again")
        assert told is not None
        assert (told.instances, told.failing) == (3, 1)
        rig.withdraw("registrations", "default/again")
        await rig.settle(5)
        assert findings.snapshot(scene.overlay).checks == 3
        scene.counts_are_right()
        rig.withdraw("registrations", "default/web")
        await rig.settle(5)
        assert findings.snapshot(scene.overlay).checks == 0
        before = len(scene.network.asked)
        await rig.settle(100)
        assert len(scene.network.asked) == before


@virtual_test
async def test_an_instance_is_followed_where_it_goes_and_forgotten_when_it_goes(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck=CHECK)
    scene.runs(instance("a", host="10.0.0.1"), "b", "c", "d")
    async with scene.running() as rig:
        await rig.settle(5)
        scene.network.down = {"a"}
        await rig.settle(60)
        assert "web/a" not in rig.found()
        scene.network.down = set()
        scene.runs(instance("a", host="10.0.0.2", port=9000), "b", "c")
        await rig.settle(3)
        assert rig.found() == ["web/a", "web/b", "web/c"]
        assert {(t.address, t.port) for t in scene.overlay.checker.subjects if t.instance == "a"} == {
            ("10.0.0.2", 9000)
        }
        assert findings.snapshot(scene.overlay).checks == 3
        rig.memory["mem"].delete(ServiceKey("mem", "", "web"))
        await rig.settle(3)
        assert findings.snapshot(scene.overlay).checks == 0
        assert not scene.overlay.watches


@virtual_test
async def test_one_that_moves_while_it_is_well_stays_published(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck={**CHECK, "successThreshold": 3})
    scene.runs("a", "b")
    async with scene.running() as rig:
        await rig.settle(40)
        assert rig.found() == ["web/a", "web/b"]
        scene.runs(instance("a", port=9000), "b")
        for _ in range(40):
            await rig.settle(1)
            assert rig.found() == ["web/a", "web/b"]
        assert rig.records()["web/a"]["ports"] == [[9000, "http", "tcp"]]


@virtual_test
async def test_what_a_renamed_registration_takes_over_is_as_ready_as_it_was(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck=CHECK, entry={"notReady": "Publish"}, names=["web"])
    scene.runs("a", "b")
    async with scene.running() as rig:
        await rig.settle(40)
    rig.withdraw("registrations", "default/web")
    rig.declare(registration("shop", services="web", healthCheck=CHECK, entry={"notReady": "Publish"}, names=["web"]))
    rig.engine = None  # type: ignore[assignment]
    log = rig.target().log
    before = len(log)
    async with scene.running():
        await rig.settle(40)
        written = [msgspec.json.decode(write.new or b"") for write in log[before:]]
        assert [(each["ownership"]["waypost-registration"], each["ready"]) for each in written] == [
            ("default/shop", True),
            ("default/shop", True),
        ]


@virtual_test
@pytest.mark.parametrize(
    ("port", "more", "checked"),
    [
        (None, {}, 8080),
        ("http", {}, 8080),
        ("admin", {}, 9090),
        (1234, {}, 1234),
        (None, {"ports": [{"name": "main", "match": {"index": 2}}]}, 9090),
        ("main", {"ports": [{"name": "side"}, {"name": "main", "match": {"name": "admin"}}]}, 9090),
        (None, {"ports": MAIN_AND_HTTP, "entry": {"ports": ["http"]}}, 8080),
        ("main", {"ports": MAIN_AND_HTTP, "entry": {"ports": ["http"]}}, 9090),
    ],
)
async def test_the_port_is_the_one_that_is_asked_for(
    tmp_path: Path, port: int | str | None, more: dict[str, Any], checked: int
) -> None:
    kind = {"tcpSocket": {} if port is None else {"port": port}}
    scene = Scene(tmp_path, healthCheck={**CHECK, **kind}, **more)
    one = instance("a", port=0)
    ports = (Port(53, "dns", "udp"), Port(8080, "http"), Port(9090, "admin"))
    scene.runs(type(one)("a", (Address("10.0.0.1"), Address("10.0.0.2")), ports))
    async with scene.running() as rig:
        await rig.settle(3)
    assert {(t.address, t.port) for t in scene.network.asked} == {("10.0.0.1", checked)}


@virtual_test
async def test_one_without_the_port_is_not_checked_says_so_and_keeps_what_is_published(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.rig.declare(registration("web"))
    scene.runs("a", "b")
    async with scene.running() as rig:
        await rig.settle(3)
        rig.declare(registration("web", healthCheck={**CHECK, "tcpSocket": {"port": "admin"}}))
        await rig.settle(60)
        assert rig.found() == ["web/a", "web/b"]
        assert scene.network.asked == []
        found = findings.instance(
            scene.overlay, "out", PublicationKey("default/web", "out", ServiceKey("mem", "", "web")), "a"
        )
        assert found is not None
        assert (found.said, found.text) == ("unchecked", "not checked: it has no port `admin`")


@virtual_test
async def test_an_edited_check_keeps_what_is_published_until_it_has_decided(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck=CHECK)
    scene.runs("a", "b", "c")
    async with scene.running() as rig:
        await rig.settle(5)
        written = len(rig.target().log)
        rig.declare(registration("web", healthCheck={**CHECK, "failureThreshold": 5, "successThreshold": 4}))
        await rig.settle(100)
        assert len(rig.target().log) == written
        assert findings.snapshot(scene.overlay).checks == 3
        rig.declare(registration("web"))
        await rig.settle(5)
        assert len(rig.target().log) == written
        assert findings.snapshot(scene.overlay).checks == 0


@virtual_test
async def test_flapping_faster_than_the_threshold_writes_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck=CHECK)
    scene.runs("a", "b", "c")
    async with scene.running() as rig:
        await rig.settle(5)
        written = len(rig.target().log)
        for _ in range(30):
            scene.network.down = {"a"}
            await rig.settle(15)
            scene.network.down = set()
            await rig.settle(15)
        assert len(rig.target().log) == written
        scene.counts_are_right()


@virtual_test
async def test_a_suspect_is_checked_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck={**CHECK, "periodSeconds": 3600, "failureThreshold": 1})
    scene.runs("a", "b", "c")
    async with scene.running() as rig:
        await rig.settle(60)
        scene.network.down = {"a"}
        for name, who in (("web", "a"), ("web", "nobody"), ("nothing", "a")):
            rig.memory["mem"].suspect(ServiceKey("mem", "", name), who, "a client could not connect")
        await rig.settle(2)
        assert rig.found() == ["web/b", "web/c"]


@virtual_test
async def test_who_may_not_read_a_service_does_not_have_it_contacted(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck=CHECK)
    scene.rig.declare(source(grants=[{"namespaces": ["others"], "serviceNamespaces": ["**"]}]))
    scene.runs("a")
    async with scene.running() as rig:
        await rig.settle(100)
    assert scene.network.asked == []


def weighted(**shares: int) -> ServiceRegistration:
    """Return a registration of some services under one name, each with its share."""
    body = {
        "sources": [
            {"name": name, "sourceRef": {"name": "mem"}, "service": {"name": name}, "weight": share}
            for name, share in shares.items()
        ],
        "sinks": [{"name": "out", "sinkRef": {"name": "out"}}],
        "names": ["web"],
        "healthCheck": CHECK,
    }
    return ServiceRegistration(Metadata("web", "default"), msgspec.convert(body, RegistrationSpec))


@virtual_test
async def test_weights_follow_verdicts(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.rig.declare(weighted(blue=90, green=10))
    scene.rig.memory["mem"].set(service("blue", "a", "b", "c"), service("green", "d"))
    async with scene.running() as rig:
        await rig.settle(5)
        before = {key.rpartition("/")[2]: record["weight"] for key, record in rig.records().items()}
        scene.network.down = {"a"}
        await rig.settle(60)
        after = {key.rpartition("/")[2]: record["weight"] for key, record in rig.records().items()}
    assert before == {"a": 3000, "b": 3000, "c": 3000, "d": 1000}
    assert after == {"b": 4500, "c": 4500, "d": 1000}


@virtual_test
async def test_weights_count_what_is_known_to_fail_already(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.rig.declare(registration("first", services="blue", names=["first"], healthCheck=CHECK))
    scene.rig.memory["mem"].set(service("blue", "a", "b", "c"))
    scene.network.down = {"a"}
    async with scene.running() as rig:
        await rig.settle(60)
        rig.declare(weighted(blue=90))
        await rig.settle(5)
        weights = {key: record["weight"] for key, record in rig.records().items() if key.startswith("web/")}
    assert weights == {"web/b": 5000, "web/c": 5000}


@virtual_test
async def test_an_entry_of_weight_0_is_checked_and_causes_no_panic(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.rig.declare(weighted(blue=100, green=0))
    scene.rig.memory["mem"].set(service("blue", "a", "b", "c"), service("green", "d", "e", "f", "g"))
    scene.network.down = {"d", "e", "f", "g"}
    async with scene.running() as rig:
        await rig.settle(60)
        assert {t.instance for t in scene.network.asked} == set("abcdefg")
        scene.network.down.add("a")
        await rig.settle(60)
        assert rig.found() == ["web/b", "web/c"]


@virtual_test
async def test_random_histories_end_where_the_network_says_and_the_counts_are_right(tmp_path: Path) -> None:
    for seed in range(8):
        random = Random(seed)
        scene = Scene(tmp_path / str(seed), healthCheck={**CHECK, "panicPercent": 100, "failureThreshold": 2})
        # budgets are policy's business: here all may go
        scene.rig.declare(sink(safety={"maxRemovalPercent": 100, "minRemovals": 1000, "maxChangePercent": 100}))
        names = [f"i{n}" for n in range(12)]
        scene.runs(*names)
        async with scene.running() as rig:
            for _ in range(40):
                await rig.settle(random.uniform(0, 12))
                scene.network.down ^= set(random.sample(names, 2))
                running = random.sample(names, random.randint(3, 12))
                readiness = random.choices(["ready", "ready", "not-ready"], k=12)
                ports = random.choices([8080, 9090], k=12)
                scene.runs(
                    *(instance(n, port=p, readiness=r) for n, p, r in zip(running, ports, readiness, strict=False))
                )
                scene.counts_are_right()
            scene.runs(*names)
            await rig.settle(60)
            scene.counts_are_right()
            assert rig.found() == sorted(f"web/{n}" for n in names if n not in scene.network.down)


async def test_only_allowed_addresses_are_contacted(tmp_path: Path) -> None:
    """Real sockets: a listener on loopback is left alone until the source's `allowedCIDRs` names it."""
    scene = Scene(tmp_path, healthCheck=QUICK)
    with closing(socket.create_server(("127.0.0.1", 0))) as server, closing(socket.socket()) as closed:
        server.setblocking(False)
        closed.bind(("127.0.0.1", 0))  # held, and nobody listens
        scene.rig.declare(sink(allowedCIDRs=["127.0.0.0/8"]))
        ports = {"up": server.getsockname()[1], "down": closed.getsockname()[1]}
        scene.runs(*(instance(name, host="127.0.0.1", port=port) for name, port in ports.items()))
        async with scene.running(real=True) as rig:
            await asyncio.sleep(1.5)
            with pytest.raises(BlockingIOError):
                server.accept()
            assert rig.found() == []
            rig.declare(source(allowedCIDRs=["127.0.0.0/8"]))
            async with asyncio.timeout(20):
                while rig.found() != ["web/up"]:
                    rig.engine.ring.news.clear()
                    await rig.engine.ring.news.wait()
            server.accept()[0].close()


@virtual_test
async def test_a_large_service_is_taken_up_in_slices_and_whatever_happens_meanwhile_is_right(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healthCheck=CHECK)
    names = [f"i{n:04}" for n in range(2000)]
    scene.runs(*names)
    async with scene.running() as rig:
        while not scene.overlay.checker.subjects:  # noqa: ASYNC110 - each turn of the loop is looked at
            await asyncio.sleep(0)
        assert len(scene.overlay.checker.subjects) < 200  # no more than a slice in one go
        moved = [instance(name, port=9000) for name in names[:1000]]
        scene.runs(*moved, *names[1000:1500])  # 500 are gone, a thousand have moved, before all were seen
        await rig.settle(20)
        targets = scene.overlay.checker.subjects
        assert sorted(t.instance for t in targets) == names[:1500]
        assert all(t.port == (9000 if t.instance < "i1000" else 8080) for t in targets)
        assert len(rig.found()) == 1500
        scene.counts_are_right()
        scene.runs(*names, labels={"new": "yes"})
        rig.withdraw("registrations", "default/web")
        await rig.settle(1)
        assert not scene.overlay.checker.subjects
