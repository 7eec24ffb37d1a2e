"""What was applied is answered: after a restart, after the DNS process died, after the engine was killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.rcode
import pytest

from tests.adapters.dns_server.asking import Opened, instance, publication
from waypost.adapter import AdapterError, Record
from waypost.testing.context import TestContext
from waypost_adapters.dns_server import frames
from waypost_adapters.dns_server.feed import Feed
from waypost_adapters.dns_server.process import Settings

WEB = "web.shop.prod.waypost.test."


async def test_without_state_it_says_that_it_does_not_know(opened: Opened) -> None:
    async with opened() as server:
        for name in (WEB, "waypost.test", "nope.waypost.test"):
            assert (await server.ask(name)).rcode() == dns.rcode.SERVFAIL
            assert (await server.ask(name, tcp=True)).rcode() == dns.rcode.SERVFAIL
        assert (await server.ask("example.org")).rcode() == dns.rcode.REFUSED
        await server.publish(publication(), instance("a"))
        assert (await server.ask("nope.waypost.test")).rcode() == dns.rcode.NXDOMAIN


async def test_after_a_restart_it_answers_before_anything_is_published(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication(), *(instance(f"i-{number}", f"10.0.0.{number}") for number in range(20)))
        before = await server.texts(WEB, tcp=True)
    async with opened(claim=False) as server:
        assert await server.texts(WEB, tcp=True) == before
        assert (await server.ask("nope.waypost.test")).rcode() == dns.rcode.NXDOMAIN


async def test_what_was_emptied_is_known_to_be_empty_after_a_restart(opened: Opened) -> None:
    async with opened() as server:
        await server.withdraw(*await server.publish(publication(), instance("a")))
    async with opened(claim=False) as server:
        assert (await server.ask(WEB)).rcode() == dns.rcode.NXDOMAIN


async def test_a_dns_process_that_dies_is_replaced_and_knows_all_again(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication(), instance("a"), instance("b", "10.0.0.2"))
        assert server.sink.feed.process_id is not None
        os.kill(server.sink.feed.process_id, signal.SIGKILL)
        question = dns.message.make_query(WEB, "A")
        listening = server.sink.listening
        answer = await dns.asyncquery.udp(question, listening.host, port=listening.port, timeout=20)
        assert answer.rcode() in {dns.rcode.SERVFAIL, dns.rcode.NOERROR}, "a question met while there was no process"
        await server.publish(publication(), instance("c", "10.0.0.3"))
        assert await server.texts(WEB) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        assert server.sink.feed.restarts == 1


async def test_it_is_not_applied_before_it_is_answered(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication(), instance("a"))
        process = server.sink.feed.process_id
        assert process is not None
        os.kill(process, signal.SIGSTOP)
        try:
            publishing = asyncio.create_task(server.publish(publication(), instance("b", "10.0.0.2")))
            done, _ = await asyncio.wait([publishing], timeout=0.5)
            assert not done, "applied while the DNS process stood still"
        finally:
            os.kill(process, signal.SIGCONT)
        await publishing
        assert await server.texts(WEB) == ["10.0.0.1", "10.0.0.2"]


async def test_while_a_new_process_is_fed_its_acknowledgements_prove_nothing(tmp_path: Path) -> None:
    feed = Feed(TestContext(tmp_path), Settings(0, 0, "waypost.test", 5), ())
    heard = asyncio.StreamReader()
    listening = asyncio.create_task(feed._listen(heard))
    feed._number = 3
    swapped = asyncio.create_task(feed.swapped())
    await asyncio.sleep(0)
    feed._number = feed._loaded = 10
    for number in (5, 9):
        heard.feed_data(frames.ACK.pack(number, 0))
    done, _ = await asyncio.wait([swapped], timeout=0.05)
    assert not done
    heard.feed_data(frames.ACK.pack(10, 0))
    await swapped
    heard.feed_eof()
    await listening


async def test_answers_follow_each_of_many_concurrent_writes(opened: Opened) -> None:
    async with opened() as server:

        async def turn(number: int) -> None:
            published = publication(f"s-{number}")
            name = f"s-{number}.shop.prod.waypost.test."
            records: list[Record] = []
            for step in range(1, 11):
                records = await server.publish(published, instance("a", f"10.0.{number}.{step}"))
                assert await server.texts(name) == [f"10.0.{number}.{step}"], (
                    "an older answer after a newer was applied"
                )
            await server.withdraw(*records)
            assert (await server.ask(name)).rcode() == dns.rcode.NXDOMAIN

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(turn(number))


async def test_a_taken_port_is_told_with_what_to_change(opened: Opened) -> None:
    async with opened(claim=False) as server:
        with pytest.raises(AdapterError, match="another process, or another resource of this one, listens there"):
            async with opened(claim=False, listen=str(server.sink.listening)):
                pass


_KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from waypost.adapter import Change
from waypost.testing.context import TestContext
from waypost_adapters.dns_server.config import Config
from waypost_adapters.dns_server.sink import open_sink
from tests.adapters.dns_server.asking import instance, publication

async def main():
    context = TestContext(Path(sys.argv[1]), owner="owner-a", environment="prod")
    async with open_sink(Config(listen="127.0.0.1:0"), context) as sink:
        fence = await sink.claim("prod", "owner-a")
        committed = sink.feed.committed
        def kill(rows):
            print(sink.feed.process_id, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        sink._store._committed = kill
        await sink.feed.loaded.wait()
        (record,) = sink.render(publication(), [instance("a", "10.0.0.7")])
        await sink.apply([Change(record.key, record)], fence)

asyncio.run(main())
"""


async def test_killed_between_commit_and_acknowledgement_it_answers_what_was_committed(
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
    await _ended(int(killed.stdout))
    async with opened(claim=False) as server:
        assert await server.texts(WEB) == ["10.0.0.7"]


async def _ended(process: int) -> None:
    """Return when the DNS process has ended, because its engine did."""
    async with asyncio.timeout(10):
        while True:
            try:
                os.kill(process, 0)
            except ProcessLookupError:
                return
            stat = Path(f"/proc/{process}/stat")
            if stat.exists() and stat.read_text(encoding="utf-8").split(")")[1].split()[0] == "Z":
                return
            await asyncio.sleep(0.02)
