"""What kit.serve promises, tried with raw sockets and urllib."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from waypost.adapter import AdapterError, PermanentError
from waypost.kit.listen import bind_stream, bind_stream_and_datagram, bound, parse_listen
from waypost.kit.serve import TLS, ServeLimits, Serving, serve, server_tls, unbounded
from waypost.testing.context import RotatingCredentials

LOG = logging.LoggerAdapter(logging.getLogger("test"), {})


async def _echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def _slow(_: web.Request) -> web.Response:
    await asyncio.sleep(3600)
    return web.Response()


@unbounded
async def _long(request: web.Request) -> web.StreamResponse:
    return await _slow(request)


async def _broken(_: web.Request) -> web.Response:
    raise RuntimeError("secret detail")


@asynccontextmanager
async def served(**limits: float) -> AsyncIterator[Serving]:
    routes = [
        web.post("/echo", _echo),
        web.get("/slow", _slow),
        web.get("/long", _long),
        web.get("/broken", _broken),
    ]
    made = ServeLimits(**limits)  # type: ignore[arg-type]  # as named
    async with serve(routes, "127.0.0.1:0", log=LOG, limits=made) as serving:
        yield serving


async def say(serving: Serving, octets: bytes) -> tuple[int, bytes]:
    """Send octets on a connection of their own, return status and body of what comes until the end."""
    reader, writer = await asyncio.open_connection(serving.listen.host, serving.listen.port)
    writer.write(octets)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body


def request(method: str, path: str, body: bytes = b"", *extra: str) -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}", *extra, "", ""]
    return "\r\n".join(head).encode() + body


async def test_it_answers_where_it_says_it_is_bound() -> None:
    async with served() as serving:
        assert serving.listen.port
        assert serving.url == f"http://127.0.0.1:{serving.listen.port}"
        assert await say(serving, request("POST", "/echo", b"x" * 1000)) == (200, b"x" * 1000)


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (request("POST", "/echo", b"x" * 2000), 413),
        (request("GET", "/none"), 404),
        (request("DELETE", "/echo"), 405),
        (request("GET", "/broken"), 500),
        (request("GET", "/slow"), 503),
    ],
)
async def test_every_error_is_json_and_shows_nothing_of_the_inside(octets: bytes, status: int) -> None:
    async with served(body_bytes=1000, request_seconds=0.2) as serving:
        got, body = await say(serving, octets)
        assert got == status
        assert json.loads(body).keys() == {"error"}
        assert b"secret" not in body


async def test_a_long_header_line_is_refused() -> None:
    async with served() as serving:
        status, _ = await say(serving, request("GET", "/none", b"", "X: " + "x" * 9000))
        assert status == 400


async def test_a_client_that_never_ends_its_head_is_cut() -> None:
    async with served(idle_seconds=0.3) as serving:
        assert await say(serving, b"GET / HTTP/1.1\r\nHost: ") == (0, b"")


async def test_more_connections_than_allowed_are_told_so() -> None:
    async with served(connections=3) as serving:
        held = [await asyncio.open_connection(serving.listen.host, serving.listen.port) for _ in range(3)]
        for _, writer in held:
            writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        await asyncio.sleep(0.1)
        status, body = await say(serving, request("POST", "/echo", b"x"))
        assert status == 503
        assert json.loads(body)["error"] == "too many open connections"
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(10):
            while (await say(serving, request("POST", "/echo", b"x")))[0] != 200:  # noqa: ASYNC110 - see below
                await asyncio.sleep(0.02)  # nothing here is told when the server has seen the end


async def test_a_handler_marked_as_unbounded_is_not_cut(caplog: pytest.LogCaptureFixture) -> None:
    async with served(request_seconds=0.1, stop_seconds=0.1) as serving:
        saying = asyncio.create_task(say(serving, request("GET", "/long")))
        done, _ = await asyncio.wait([saying], timeout=0.5)
        assert not done
    await saying


async def test_it_stops_within_its_bound_whatever_is_under_way() -> None:
    loop = asyncio.get_running_loop()
    async with served(stop_seconds=0.2) as serving:
        reader, writer = await asyncio.open_connection(serving.listen.host, serving.listen.port)
        writer.write(request("GET", "/long"))
        await asyncio.sleep(0.1)
        began = loop.time()
    assert loop.time() - began < 5
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(serving.listen.host, serving.listen.port)


async def test_a_taken_port_is_told_with_what_to_change() -> None:
    async with served() as serving:
        with pytest.raises(AdapterError, match="stop it or change `listen`") as raised:
            async with serve([], str(serving.listen), log=LOG):
                pass
        assert not isinstance(raised.value, PermanentError)
        assert str(serving.listen) in str(raised.value)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7480", "127.0.0.1", 7480),
        ("[::1]:0", "::1", 0),
        ("localhost:1", "127.0.0.1", 1),
        (":53", "0.0.0.0", 53),
        ("[::]:65535", "::", 65535),
    ],
)
def test_an_address_to_listen_on_is_read(text: str, host: str, port: int) -> None:
    listen = parse_listen(text)
    assert (listen.host, listen.port) == (host, port)
    assert parse_listen(str(listen)) == listen


@pytest.mark.parametrize(
    "text",
    ["", "7480", "a:b", "::1:80", "[::1]", "127.0.0.1:65536", "127.0.0.1:-1", "[127.0.0.1]:1", "h:1", "1:\u0661"],
)
def test_what_is_no_address_to_listen_on_is_told(text: str) -> None:
    with pytest.raises(PermanentError, match="expected ADDRESS:PORT"):
        parse_listen(text)


def test_both_kinds_of_socket_get_one_port() -> None:
    stream, datagram = bind_stream_and_datagram(parse_listen("127.0.0.1:0"))
    with stream, datagram:
        assert bound(stream) == bound(datagram)
        with pytest.raises(AdapterError, match=r"\(UDP\)|\(TCP\)"):
            bind_stream_and_datagram(bound(stream))


def test_an_address_that_the_machine_does_not_have_is_told() -> None:
    with pytest.raises(AdapterError, match="no such address"):
        bind_stream(parse_listen("192.0.2.1:7480"))


def test_tls_without_its_credentials_says_which_is_missing() -> None:
    with pytest.raises(PermanentError, match="`tlsCertificate` is missing"):
        server_tls(RotatingCredentials({"tlsKey": "x"}), TLS())
    with pytest.raises(PermanentError, match="not a PEM certificate") as raised:
        server_tls(RotatingCredentials({"tlsKey": "hush-hush", "tlsCertificate": "y"}), TLS())
    assert "hush" not in str(raised.value)


async def test_tls_serves_with_the_certificate_of_the_credentials() -> None:
    certificate, key = _self_signed()
    tls = server_tls(RotatingCredentials({"tlsCertificate": certificate, "tlsKey": key}), TLS(min_version="1.3"))
    async with serve([web.post("/echo", _echo)], "127.0.0.1:0", log=LOG, tls=tls) as serving:
        trusting = ssl.create_default_context(cadata=certificate)
        reader, writer = await asyncio.open_connection(
            serving.listen.host, serving.listen.port, ssl=trusting, server_hostname="localhost"
        )
        writer.write(request("POST", "/echo", b"over TLS"))
        assert (await reader.read()).endswith(b"over TLS")
        writer.close()


def _self_signed() -> tuple[str, str]:
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(encoding, form, serialization.NoEncryption())
    return certificate.public_bytes(encoding).decode(), private.decode()


def test_nothing_is_left_bound_after_a_refusal() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        listen = bound(taken)
        for _ in range(3):
            with pytest.raises(AdapterError):
                bind_stream(listen)
    bind_stream(listen).close()
