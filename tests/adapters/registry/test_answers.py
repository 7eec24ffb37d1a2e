"""What a consumer gets from the registry."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.adapters.registry.asking import Opened, ask, instance, publication
from waypost.adapter import InvalidRecord
from waypost.model import PublishedName


async def test_a_name_answers_with_its_instances_and_what_they_share(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(
            publication(),
            instance("a", "10.0.0.1", weight=5, zone="z1", version="2", tier="gold"),
            instance("b", "2001:db8::2", ready=False, version="2"),
        )
        answer = await server.get("/services/web")
        assert answer.status == 200
        assert answer.json == {
            "ServiceName": "web",
            "Namespace": "shop",
            "Environment": "prod",
            "Endpoints": "10.0.0.1:8080,[2001:db8::2]:8080",
            "Metadata": {"version": "2"},
            "Index": int(answer.headers["X-Waypost-Index"]),
            "Instances": [
                {
                    "ID": "a",
                    "Host": "10.0.0.1",
                    "Port": "8080",
                    "Ports": {"http": 8080, "admin": 9090},
                    "Endpoint": "",
                    "Weight": 5,
                    "Readiness": "ready",
                    "Zone": "z1",
                    "Metadata": {"version": "2", "tier": "gold"},
                },
                {
                    "ID": "b",
                    "Host": "2001:db8::2",
                    "Port": "8080",
                    "Ports": {"http": 8080, "admin": 9090},
                    "Endpoint": "",
                    "Weight": 1,
                    "Readiness": "not-ready",
                    "Zone": "",
                    "Metadata": {"version": "2"},
                },
            ],
        }
        assert await server.ids("/services/web?ready=true") == ["a"]


async def test_strategy_zone_and_limit_choose_and_order(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(
            publication(),
            instance("a", weight=0),
            instance("b", weight=3, zone="z1"),
            instance("c", weight=1, zone="z2"),
        )
        assert await server.ids("/services/web?strategy=ordered") == ["b", "c", "a"]
        assert await server.ids("/services/web?strategy=zone&zone=z2") == ["c", "b", "a"]
        assert await server.ids("/services/web?zone=z2&limit=1") == ["c"]
        turns = [(await server.ids("/services/web?strategy=round-robin&limit=1"))[0] for _ in range(6)]
        assert Counter(turns) == {"b": 3, "c": 3}
        firsts = Counter([(await server.ids("/services/web?strategy=weighted"))[0] for _ in range(60)])
        assert firsts["a"] == 0
        assert firsts["b"] > firsts["c"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("strategy=best", "expected one of Ordered, Weighted"),
        ("limit=0", "1 to 10000"),
        ("limit=x", "1 to 10000"),
        ("ready=maybe", "true or false"),
    ],
)
async def test_a_question_that_is_none_is_told_what_was_expected(opened: Opened, query: str, says: str) -> None:
    async with opened() as server:
        await server.publish(publication(), instance("a"))
        answer = await server.get(f"/services/web?{query}")
        assert answer.status == 400
        assert says in answer.json["error"]


async def test_a_name_in_two_places_must_be_asked_for_in_one(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication(), instance("a"))
        await server.publish(publication(namespace="test"), instance("b"))
        answer = await server.get("/services/web")
        assert answer.status == 400
        assert "namespace=shop&environment=prod, namespace=test&environment=prod" in answer.json["error"]
        assert await server.ids("/services/web?namespace=test") == ["b"]
        assert (await server.get("/services/web?namespace=shop&environment=staging")).status == 404


async def test_names_are_listed_with_counts(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication("web", "api.v2"), instance("a"), instance("b", ready=False))
        listed = (await server.get("/services")).json["Services"]
        assert [(one["ServiceName"], one["Instances"], one["Ready"]) for one in listed] == [
            ("api.v2", 2, 1),
            ("web", 2, 1),
        ]
        assert (await server.get("/health")).json["instances"] == 4


async def test_an_index_grows_with_its_name_alone_and_saves_the_same_answer(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication("web"), instance("a"))
        await server.publish(publication("other"), instance("a"))
        first = await server.get("/services/web")
        await server.publish(publication("other"), instance("a", weight=9))
        await server.publish(publication("web"), instance("a"))
        again = await server.get("/services/web", **{"If-None-Match": first.headers["ETag"]})
        assert again.status == 304, "nothing changed under this name"
        await server.publish(publication("web"), instance("a", weight=9))
        changed = await server.get("/services/web", **{"If-None-Match": first.headers["ETag"]})
        assert changed.status == 200
        assert changed.json["Index"] > first.json["Index"]


async def test_before_anything_is_known_it_says_so_and_never_that_there_is_nothing(opened: Opened) -> None:
    async with opened() as server:
        for path in ("/services/web", "/services", "/health"):
            answer = await server.get(path)
            assert answer.status == 503
            assert "nothing is known yet" in answer.json["error"]
        await server.publish(publication(), instance("a"))
        assert (await server.get("/services/other")).status == 404
        assert (await server.get("/health")).status == 200


async def test_after_a_restart_it_answers_before_anything_is_published(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication(), *(instance(f"i-{number:04}") for number in range(1_200)))
        before = await server.get("/services/web")
    async with opened(claim=False) as server:
        after = await server.get("/services/web")
        assert after.json["Instances"] == before.json["Instances"]
        assert after.json["Index"] > before.json["Index"]
        assert (await server.get("/services/other")).status == 404


async def test_what_was_emptied_is_known_to_be_empty_after_a_restart(opened: Opened) -> None:
    async with opened() as server:
        await server.withdraw(*await server.publish(publication(), instance("a")))
        assert (await server.get("/services/web")).status == 404
    async with opened(claim=False) as server:
        assert (await server.get("/services/web")).status == 404


async def test_readers_meanwhile_never_see_less_than_what_is_applied(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication(), instance("stays"))
        done = asyncio.Event()

        async def read() -> int:
            count = 0
            while not done.is_set():
                assert "stays" in await server.ids("/services/web")
                count += 1
            return count

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read())
            for number in range(100):
                (record,) = await server.publish(publication(), instance(f"i-{number}"))
                assert f"i-{number}" in await server.ids("/services/web")
                await server.withdraw(record)
            done.set()
        assert reading.result() > 1
        assert await server.ids("/services/web") == ["stays"]


async def test_two_ports_of_one_name_are_two_endpoints(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication(PublishedName("web", "http"), PublishedName("web", "admin")), instance("a"))
        answer = await server.get("/services/web")
        assert sorted(answer.json["Endpoints"].split(",")) == ["10.0.0.1:8080", "10.0.0.1:9090"]


@pytest.mark.parametrize("name", ["", "a/b", "a b", "-a", "a" * 254, "ü"])
async def test_what_can_be_no_name_fails_alone(opened: Opened, name: str) -> None:
    async with opened(claim=False) as server:
        (item,) = server.sink.render(publication(name), [instance("a")])
        assert isinstance(item, InvalidRecord)


async def test_without_a_source_nobody_registers(opened: Opened) -> None:
    async with opened() as server:
        answer = await ask(server.url, "POST", "/services/web", {"Host": "10.0.0.7"}, "tok")
        assert answer.status == 403
        assert "no ServiceSource" in answer.json["error"]


_KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.adapters.registry.asking import instance, open_server, publication

async def main():
    async with open_server(Path(sys.argv[1])) as server:
        await server.publish(publication(), instance("before"))
        server.sink._published.store._committed = lambda rows: os.kill(os.getpid(), signal.SIGKILL)
        await server.publish(publication(), instance("committed"))

asyncio.run(main())
"""


async def test_killed_between_commit_and_acknowledgement_it_shows_what_was_committed(
    opened: Opened, tmp_path: Path
) -> None:
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _KILLED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    async with opened(claim=False) as server:
        assert await server.ids("/services/web") == ["before", "committed"]
