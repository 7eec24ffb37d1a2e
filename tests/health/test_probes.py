"""The checks themselves, on real sockets of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import pytest

from waypost.health.check import PASSED, Check, Target, TcpSocket
from waypost.health.checker import Checker
from waypost.health.probes import Probes, connect, most_at_once
from waypost.health.subject import Subject
from waypost.kit.cidrs import Allowed
from waypost.kit.clock import LoopClock
from waypost.kit.metrics import MetricsRegistry

LOOPBACK = ("127.0.0.0/8", "::1/128")


@contextmanager
def listening(host: str = "127.0.0.1", backlog: int = 128) -> Iterator[socket.socket]:
    with closing(socket.create_server((host, 0), family=_version(host), backlog=backlog)) as server:
        server.setblocking(False)
        yield server


def _version(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def accepted(server: socket.socket) -> int:
    """Return how many connections were made to it."""
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def probes(cidrs: Sequence[str] = LOOPBACK, names: dict[str, list[str]] | None = None) -> Probes:
    async def resolve(name: str, port: int) -> Sequence[str]:
        if names is None or name not in names:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return names[name]

    return Probes(lambda _source, address: Allowed(cidrs).refusal(address), resolve)


def at(address: str, port: int, timeout: float = 2) -> Target:
    return Target(Check(TcpSocket(), 10, timeout), "mem", "a", address, port)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_port_that_listens_passes_and_a_closed_one_fails(host: str) -> None:
    with listening(host) as server:
        port = server.getsockname()[1]
        assert await probes()(at(host, port)) == PASSED
        assert accepted(server) == 1
    found = await probes()(at(host, port))
    assert (found.ok, found.reason) == (False, "no connection: ECONNREFUSED")


async def test_a_server_sees_the_connection_end_in_order() -> None:
    with listening() as server:
        assert (await connect("127.0.0.1", server.getsockname()[1])).ok
        connection, _ = server.accept()
        with connection:
            assert connection.recv(100) == b""  # an end, and no ConnectionResetError


@pytest.mark.parametrize("cidrs", [(), ("10.0.0.0/8",)])
async def test_an_address_that_is_not_allowed_is_never_contacted(cidrs: Sequence[str]) -> None:
    with listening() as server:
        found = await probes(cidrs)(at("127.0.0.1", server.getsockname()[1]))
        assert found.ok is None
        assert "not contacted: 127.0.0.1 is" in found.reason
        assert accepted(server) == 0


async def test_a_host_name_is_resolved_once_and_only_an_allowed_answer_contacted() -> None:
    asked = []

    async def resolve(name: str, port: int) -> Sequence[str]:
        asked.append(name)
        return ["169.254.169.254", "127.0.0.1"]

    with listening() as server:
        port = server.getsockname()[1]
        allowed = Probes(lambda _, address: Allowed(LOOPBACK).refusal(address), resolve)
        assert await allowed(at("web.example", port)) == PASSED
        assert asked == ["web.example"]
        assert accepted(server) == 1
        refused = Probes(lambda _, address: Allowed().refusal(address), resolve)
        found = await refused(at("web.example", port))
        assert found.ok is None
        assert accepted(server) == 0


async def test_a_name_that_is_not_there_is_a_failure_and_a_resolver_that_fails_is_none() -> None:
    async def broken(name: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    async def hanging(name: str, port: int) -> Sequence[str]:
        await asyncio.sleep(3600)
        raise AssertionError

    assert (await probes()(at("nowhere.example", 80))).ok is False
    assert (await probes(names={"empty.example": []})(at("empty.example", 80))).ok is False
    for resolve in (broken, hanging):
        found = await Probes(lambda _, __: None, resolve)(at("web.example", 80, timeout=0.1))
        assert found.ok is None
        assert "cannot be resolved now" in found.reason


async def test_a_name_that_no_resolver_could_take_is_no_crash() -> None:
    found = await Probes(lambda _, __: None)(at("a" * 70 + ".example", 80))
    assert found.ok is not True


@contextmanager
def files(count: int) -> Iterator[None]:
    """Let this process open no more than `count` further files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    there = max(int(name.name) for name in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + 1 + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
async def test_no_descriptor_is_left_is_no_failure_of_the_instance() -> None:
    held: list[socket.socket] = []
    with listening() as server, files(8):
        try:
            with contextlib.suppress(OSError):
                while True:
                    held.append(socket.socket())
            found = await connect("127.0.0.1", server.getsockname()[1])
        finally:
            for each in held:
                each.close()
    assert (found.ok, found.reason) == (None, "no connection can be made from here: EMFILE")


class Refusing(socket.socket):
    number = 0

    def connect_ex(self, address: object) -> int:
        return self.number


@pytest.mark.parametrize(
    ("number", "ok"),
    [
        (errno.EADDRNOTAVAIL, None),
        (errno.ENETUNREACH, None),
        (errno.ENOBUFS, None),
        (errno.EACCES, None),
        (errno.EHOSTUNREACH, False),
        (errno.ETIMEDOUT, False),
        (errno.ECONNRESET, False),
    ],
)
async def test_what_fails_on_our_side_says_nothing_of_the_instance(
    number: int, ok: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Refusing, "number", number)
    monkeypatch.setattr(socket, "socket", Refusing)
    assert (await connect("10.0.0.1", 80)).ok is ok


class Selfish(socket.socket):
    """Takes the very port that it connects to as its own, as may happen by chance on this machine."""

    def connect_ex(self, address: object) -> int:
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.bind(address)  # type: ignore[arg-type]
        return super().connect_ex(address)  # type: ignore[arg-type]


async def test_a_check_that_meets_itself_has_met_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setattr(socket, "socket", Selfish)
    found = await connect("127.0.0.1", port)
    assert (found.ok, found.reason) == (False, "no connection: ECONNREFUSED")


async def test_a_check_that_is_cancelled_leaves_nothing_open() -> None:
    with listening(backlog=0) as server:
        port = server.getsockname()[1]
        crowd = [socket.socket() for _ in range(8)]  # a full backlog: a further connection hangs
        try:
            for each in crowd:
                each.setblocking(False)
                each.connect_ex(("127.0.0.1", port))
            before = len(list(Path("/proc/self/fd").iterdir()))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await connect("127.0.0.1", port)
            assert len(list(Path("/proc/self/fd").iterdir())) == before
        finally:
            for each in crowd:
                each.close()


def test_how_many_run_at_once_is_bounded_by_the_files_that_may_be_open() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 16 <= most_at_once() <= 1024
    assert most_at_once() <= max(16, soft // 4)


def test_a_check_costs_no_more_than_three_bare_connections() -> None:
    """The goal is 4,000 a second and core; a bare `sock_connect` made two to three times that."""
    count = 1500
    with listening(backlog=4096) as server:
        port = server.getsockname()[1]

        def measured(work: Callable[[int], None]) -> float:
            work(100)
            _drain(server)
            began = time.process_time()
            work(count)
            spent = time.process_time() - began
            _drain(server)
            return spent

        bare, whole = (min(measured(work) for _ in range(3)) for work in (_bare(port), _whole(port)))
    assert whole < 3 * bare


def _drain(server: socket.socket) -> None:
    accepted(server)


def _bare(port: int) -> Callable[[int], None]:
    async def one() -> None:
        with socket.socket() as sock:
            sock.setblocking(False)
            async with asyncio.timeout(5):
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))

    async def all_of_them(count: int) -> None:
        for _ in range(0, count, 50):
            await asyncio.gather(*(one() for _ in range(50)))

    return lambda count: asyncio.run(all_of_them(count))


def _whole(port: int) -> Callable[[int], None]:
    async def all_of_them(count: int) -> None:
        done = asyncio.Event()
        heard = 0

        def hear(subject: Subject, _failing: bool, _verdict: bool | None) -> None:
            nonlocal heard
            assert subject.verdict
            heard += 1
            if heard == count:
                done.set()

        metrics = MetricsRegistry().bound()
        checker = Checker(LoopClock(), Random(0), probes(), hear, metrics, most=50)
        for number in range(count):
            target = Target(Check(TcpSocket(), 3600, 5), "mem", str(number), "127.0.0.1", port)
            checker.soon(checker.subscribe(target, "me"))
        task = asyncio.ensure_future(checker.run())
        await done.wait()
        task.cancel()
        await asyncio.wait([task])

    return lambda count: asyncio.run(all_of_them(count))
