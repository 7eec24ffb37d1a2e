"""Whether a place can be reached, and what a person is told where not."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from testbed.ports import free_port
from testbed.tls import Authority
from waypost.adapter import AdapterError, Finding, Place
from waypost.kit.reach import place_of, reach, tried
from waypost.testing.context import TestContext

DAY = 86_400.0


@contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[int]:
    with serving(socketserver.ThreadingTCPServer, ("127.0.0.1", 0), context) as server:
        yield server.server_address[1]


@contextmanager
def serving(kind: Any, address: Any, context: ssl.SSLContext | None = None) -> Iterator[Any]:
    """Take connections, speak TLS where there is a context, and hang up, in a thread."""

    class Hang(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(10)
            with contextlib.suppress(OSError):
                if context is None:
                    self.request.recv(1)  # what wants TLS has begun
                    self.request.sendall(b"no TLS here")
                else:
                    context.wrap_socket(self.request, server_side=True).close()

    with kind(address, Hang) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


async def steps(
    place: Place, folder: Path, *, now: float | None = None, seconds: float = 10.0, **credentials: str
) -> Sequence[Finding]:
    given = TestContext(folder, credentials=credentials).credentials
    return await reach(place, given, time.time() if now is None else now, seconds)


def told(found: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(finding.what, finding.status) for finding in found]


async def test_an_address_that_takes_connections_is_well(tmp_path: Path) -> None:
    with listening() as port:
        assert told(await steps(Place("127.0.0.1", port), tmp_path)) == [("connect", "ok")]
        found = await steps(Place("localhost", port), tmp_path)
    assert told(found) == [("name", "ok"), ("connect", "ok")]
    assert "127.0.0.1" in found[0].message


async def test_an_unknown_name_ends_it(tmp_path: Path) -> None:
    (found,) = await steps(Place("nowhere.invalid", 1), tmp_path)
    assert (found.what, found.status) == ("name", "failed")
    assert found.remedy


async def test_a_refused_connection_ends_it(tmp_path: Path) -> None:
    (found,) = await steps(Place("127.0.0.1", free_port(), tls=True), tmp_path)
    assert (found.what, found.status) == ("connect", "failed")
    assert "refused" in found.message


async def test_what_does_not_answer_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        connected, hung = await steps(Place("127.0.0.1", silent.getsockname()[1], tls=True), tmp_path, seconds=0.3)
    assert connected.status == "ok"
    assert (hung.what, hung.status) == ("tls", "failed")
    assert "no answer within 0.3 s" in hung.message


async def test_a_socket_is_a_place_too(tmp_path: Path) -> None:
    path = tmp_path / "s"
    (found,) = await steps(Place(socket=str(path)), tmp_path)
    assert (found.status, str(path) in found.message) == ("failed", True)
    with serving(socketserver.ThreadingUnixStreamServer, str(path)):
        assert told(await steps(Place(socket=str(path)), tmp_path)) == [("connect", "ok")]


async def test_a_certificate_that_ends_soon_is_a_warning_and_later_is_well(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    ca = authority.certificate.read_text()
    with listening(authority.server_context(authority.issue("server"))) as port:
        place = Place("127.0.0.1", port, tls=True)
        soon = await steps(place, tmp_path, ca=ca)
        later = await steps(place, tmp_path, now=time.time() - 30 * DAY, ca=ca)
    assert (soon[-1].what, soon[-1].status) == ("tls", "warning")
    assert "in 0 days" in soon[-1].message
    assert (later[-1].status, "valid for 30 days" in later[-1].message) == ("ok", True), later


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("expired", "expired"),
        ("stranger", "self-signed"),
        ("name", "mismatch"),
        ("ca", "not a PEM certificate"),
    ],
)
async def test_a_certificate_that_does_not_hold_is_told(tmp_path: Path, wrong: str, says: str) -> None:
    authority = Authority(tmp_path / "tls")
    ca = (Authority(tmp_path / "other") if wrong == "stranger" else authority).certificate.read_text()
    certificate = authority.issue("server", expired=wrong == "expired")
    with listening(authority.server_context(certificate)) as port:
        place = Place("127.0.0.1", port, tls=True, server_name="elsewhere.example" if wrong == "name" else "")
        found = await steps(place, tmp_path, ca="nonsense" if wrong == "ca" else ca)
    assert told(found) == [("connect", "ok"), ("tls", "failed")]
    assert says in found[-1].message.lower() or says in found[-1].message


async def test_a_port_without_tls_is_told(tmp_path: Path) -> None:
    with listening() as port:
        found = await steps(Place("127.0.0.1", port, tls=True), tmp_path)
    assert told(found) == [("connect", "ok"), ("tls", "failed")]
    assert "speak TLS" in found[-1].remedy


def test_urls_are_places() -> None:
    assert place_of(URL("https://[::1]:8501"), "consul.example") == Place("::1", 8501, True, "consul.example")
    assert place_of(URL("http://a:1")) == Place("a", 1)
    assert place_of(URL.build(scheme="unix", path="/run/x")) == Place(socket="/run/x")
    assert [str(Place("::1", 1)), str(Place("a", 1)), str(Place(socket="/x"))] == ["[::1]:1", "a:1", "/x"]


async def test_an_adapters_error_is_a_finding_that_failed() -> None:
    async def fine() -> str:
        return "well"

    async def broken() -> str:
        raise AdapterError("down")

    assert await tried("stamp", fine()) == Finding("stamp", "ok", "well")
    assert await tried("stamp", broken()) == Finding("stamp", "failed", "down")
