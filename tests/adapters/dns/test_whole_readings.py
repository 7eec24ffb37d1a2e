"""A zone that is read whole again: what differs from what is known is told, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.servers import Bind, Knot, NameServer
from tests.adapters.dns.publishing import instance, owner
from waypost.kit import dnsnames
from waypost.kit.clock import LoopClock
from waypost_adapters.dns import layout, wire
from waypost_adapters.dns.mirror import Mirror, Whole
from waypost_adapters.dns.zone import FULL_SECONDS

APEX = dnsnames.encode("prod.example.com")
TEXTS = [
    b"waypost=1 owner=%s registration=r entry=e service=s instance=i path=p name=web "
    b"at=%s srv= ready=1 weight=1 ttl=5" % (owner, at)
    for owner in (b"me", b"other")
    for at in (b"10.0.0.1", b"10.0.0.2")
]
OWNS = {layout.key_name(entry.key, APEX) or b"" for text in TEXTS if (entry := layout.decode(text))}
assert len(OWNS) == 2, "one of ours and one of another owner's"
NAMES = [*(dnsnames.encode(f"{label}.prod.example.com") for label in ("web", "api")), *sorted(OWNS)]


def one_ttl(rdatas: list[bytes], ttl: int) -> dict[bytes, int]:
    return dict.fromkeys(rdatas, ttl)


def records(values: list[bytes]) -> st.SearchStrategy[dict[bytes, int]]:
    """A set with one TTL."""
    return st.builds(
        one_ttl,
        st.lists(st.sampled_from(values), min_size=1, unique=True),
        st.sampled_from([5, 30]),
    )


ADDRESSES = records([bytes((10, 0, 0, n)) for n in range(4)])
ZONES = st.dictionaries(st.tuples(st.sampled_from(NAMES), st.just(wire.A)), ADDRESSES).flatmap(
    lambda found: st.dictionaries(
        st.tuples(st.sampled_from(NAMES), st.just(wire.TXT)), records([wire.text(text) for text in TEXTS])
    ).map(lambda texts: {**found, **texts})
)


def brought(mirror: Mirror, whole: Whole) -> int:
    """Bring a mirror to this; how many records were told."""
    changes = [change for change in mirror.differences(whole) if change is not None]
    for added, (name, type, ttl, rdata) in changes:
        if added:
            mirror.add(name, type, ttl, rdata)
        else:
            mirror.remove(name, type, rdata)
    return len(changes)


def held(mirror: Mirror) -> object:
    """All that a mirror knows, in no order."""
    sets = {
        (name, each.type): (each.ttl, frozenset(each.rdatas)) for name, sets in mirror.nodes.items() for each in sets
    }
    wanted = {(name, type): mirror.wanted(name, type) for name in NAMES for type in (wire.A, wire.TXT)}
    return sets, set(mirror.owned), wanted, {name: len(list(mirror.strangers(name))) for name in NAMES}


@given(before=ZONES, after=ZONES)
def test_a_known_zone_becomes_what_one_read_for_the_first_time_is(before: Whole, after: Whole) -> None:
    new, known = Mirror(APEX, "me"), Mirror(APEX, "me")
    brought(new, after)
    brought(known, before)
    assert brought(known, before) == 0
    brought(known, after)
    assert held(known) == held(new)
    assert brought(known, after) == 0


class Ahead(LoopClock):
    """A clock that can be put forward."""

    seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.seconds


@pytest.fixture(
    params=[
        pytest.param(Bind, marks=pytest.mark.server("bind"), id="bind"),
        pytest.param(Knot, marks=pytest.mark.server("knot"), id="knot"),
    ]
)
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[NameServer]:
    async with request.param(tmp_path / "server") as made:
        yield made


async def test_a_whole_reading_marks_what_others_changed_alone(server: NameServer, tmp_path: Path) -> None:
    clock = Ahead()
    async with owner(server, tmp_path, clock=clock) as me:
        there = [instance("a", "10.0.0.7"), instance("b", "10.0.0.8")]
        await me.put("web", *there)
        await me.observed()
        await me.put("api", *there)  # which the log has not told yet
        await server.update(delete=["web A 10.0.0.7"])
        clock.seconds = FULL_SECONDS + 1
        marked: asyncio.Queue[set[str] | None] = asyncio.Queue()
        drift = getattr(me.sink, "drift", None)
        assert drift is not None
        following = asyncio.create_task(drift(marked.put_nowait))
        async with asyncio.timeout(20):
            found = await marked.get()
        following.cancel()
        await asyncio.wait([following])
        assert found == {record.key for record in me.records("web", *there)}
