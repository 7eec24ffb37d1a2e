"""kit.http against real servers on loopback: good ones, slow ones, and ones that lie."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from testbed.ports import free_port
from testbed.tls import Authority
from waypost.adapter import AdapterError, PermanentError
from waypost.kit.http import Http, Tls, Unanswered, base_url
from waypost.testing.context import RotatingCredentials

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[None]]
NONE = RotatingCredentials()
SECRET = "s3cret-token"


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    lines = {"Content-Length": str(len(body)), **{key.replace("_", "-"): value for key, value in headers.items()}}
    head = "".join(f"{key}: {value}\r\n" for key, value in lines.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body


class Server:
    """An HTTP server made of one function; `requests` are the heads that came."""

    def __init__(self, serve: Serve | bytes) -> None:
        self.requests: list[str] = []
        self.connections = 0
        self.port = 0
        self._serve = serve
        self._writers: list[asyncio.StreamWriter] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.requests.append(head)
                if isinstance(self._serve, bytes):
                    writer.write(self._serve)
                    await writer.drain()
                else:
                    await self._serve(reader, writer, head)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def run(self, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
        server = await asyncio.start_server(self.accept, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.sleep(0)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def client(serve: Serve | bytes, **arguments: object) -> AsyncIterator[tuple[Http, Server]]:
    options: dict[str, object] = {"credentials": NONE, "total_seconds": 0.5, "headers": lambda: {"X-Token": SECRET}}
    async with Server(serve).run() as server, Http([server.address], **{**options, **arguments}) as http:  # type: ignore[arg-type]
        yield http, server


async def test_an_answer_is_given_whole_whatever_its_status() -> None:
    async with client(answer(409, b'{"a": 1}', X_Index="7")) as (http, server):
        response = await http.request("PUT", "/v1/a%2Fb", params={"x": "y z"}, body=b"hello")
        assert (response.status, response.body, response.headers["x-index"]) == (409, b'{"a": 1}', "7")
        assert response.url == f"http://{server.address}/v1/a%2Fb"
        assert response.decode(msgspec.json.Decoder(dict[str, int])) == {"a": 1}
        assert server.requests[0].startswith("PUT /v1/a%2Fb?x=y+z HTTP/1.1\r\n")
        assert f"X-Token: {SECRET}\r\n" in server.requests[0]


async def test_one_connection_serves_many_requests() -> None:
    async with client(answer()) as (http, server):
        for _ in range(5):
            await http.request("GET", "/")
        assert server.connections == 1


async def test_what_does_not_decode_is_told_without_being_quoted() -> None:
    async with client(answer(200, b'{"a": "hunter2"}')) as (http, server):
        response = await http.request("GET", "/")
        with pytest.raises(AdapterError, match=server.address) as raised:
            response.decode(msgspec.json.Decoder(dict[str, int]))
        assert "hunter2" not in str(raised.value)


async def hang(_: asyncio.StreamReader, __: asyncio.StreamWriter, ___: str) -> None:
    await asyncio.sleep(60)


async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: str) -> None:
    writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("serve", [hang, drip], ids=["nothing", "a byte now and then"])
async def test_a_server_that_does_not_finish_is_given_up_in_time(serve: Serve) -> None:
    async with client(serve) as (http, server), asyncio.timeout(5):
        with pytest.raises(Unanswered, match=rf"{server.address}: no whole answer within 0\.2 s"):
            await http.request("GET", "/", seconds=0.2)


CUT = answer(200, b"x" * 1000)[:500]
CHUNKED = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


def closing(content: bytes) -> Serve:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: str) -> None:
        writer.write(content)
        await writer.drain()
        raise EOFError

    return serve


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (CUT, "cut: the body ended too early"),
        (CHUNKED, "cut: the body ended too early"),
        (CHUNKED + b"zz\r\n", "body|HTTP"),
        (b"", "closed before an answer came"),
        (b"\x00\xff nothing that is HTTP\r\n\r\n", "not HTTP|closed"),
        (answer(200, b"x" * 2000), "larger than 1000 bytes"),
        (CHUNKED + b"7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n", "larger than 1000 bytes"),
        (b"HTTP/1.1 200 X\r\n\r\n" + b"x" * 2000, "larger than 1000 bytes"),
        (answer(200, b"x", Content_Encoding="gzip"), "compressed"),
    ],
)
async def test_a_bad_answer_is_unanswered_and_says_why(content: bytes, told: str) -> None:
    async with client(closing(content), max_body_bytes=1000) as (http, server):
        with pytest.raises(Unanswered, match=told) as raised:
            await http.request("PUT", "/secret-path?token=abc")
        assert server.address in str(raised.value)
        assert "abc" not in str(raised.value)
        assert len(server.requests) == 1


async def test_only_a_read_is_sent_again_when_a_kept_connection_was_closed() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        if len(server.requests) == 2:
            raise EOFError
        writer.write(answer())

    for method, sent in (("GET", 3), ("PUT", 2), ("DELETE", 2)):
        async with client(serve) as (http, server):
            await http.request(method, "/")
            if method == "GET":
                await http.request(method, "/")
            else:
                with pytest.raises(Unanswered, match="closed before an answer came"):
                    await http.request(method, "/")
            assert len(server.requests) == sent


async def test_an_address_that_cannot_be_reached_is_passed_over_and_the_next_is_kept() -> None:
    async with Server(answer()).run() as first, Server(answer()).run() as second:
        dead = f"127.0.0.1:{free_port()}"
        async with Http([dead, first.address, second.address], credentials=NONE) as http:
            await http.request("PUT", "/")
            await http.request("PUT", "/")
            assert (len(first.requests), len(second.requests)) == (2, 0)


async def test_when_none_can_be_reached_nothing_was_done_and_each_is_named() -> None:
    dead = [f"127.0.0.1:{free_port()}", f"127.0.0.2:{free_port()}"]
    async with Http(dead, credentials=NONE) as http:
        with pytest.raises(AdapterError) as raised:
            await http.request("PUT", "/")
        assert not isinstance(raised.value, Unanswered)
        assert str(raised.value) == f"{dead[0]}: connection refused; {dead[1]}: connection refused"


async def test_an_unknown_host_is_told_as_such() -> None:
    async with Http(["nowhere.invalid:80"], credentials=NONE) as http:
        with pytest.raises(AdapterError, match=r"^nowhere\.invalid:80: the host name is not known$"):
            await http.request("GET", "/")


async def test_a_redirect_is_not_followed_unless_asked() -> None:
    async with client(answer(307, Location="http://127.0.0.1:1/")) as (http, _):
        response = await http.request("GET", "/")
        assert (response.status, response.headers["Location"]) == (307, "http://127.0.0.1:1/")


@pytest.mark.parametrize(
    ("listed", "trusted", "sent"), [(False, False, False), (True, False, True), (False, True, True)]
)
async def test_credentials_follow_a_redirect_to_listed_and_trusted_hosts_only(
    listed: bool, trusted: bool, sent: bool
) -> None:
    async with Server(answer(200, b"led")).run() as leader:
        location = f"//user:password@{leader.address}/there"
        async with Server(answer(307, Location=location)).run() as follower:
            urls = [follower.address, *([leader.address] if listed else [])]
            async with Http(
                urls,
                credentials=NONE,
                headers=lambda: {"X-Token": SECRET},
                trusted=lambda host, port: trusted and (host, port) == ("127.0.0.1", leader.port),
            ) as http:
                response = await http.request("POST", "/here", body=b"body", follow=1)
        assert (response.body, response.url) == (b"led", f"http://{leader.address}/there")
        assert "Content-Length: 4" in leader.requests[0]
        assert "password" not in leader.requests[0]
        assert "Authorization" not in leader.requests[0]
        assert (SECRET in leader.requests[0]) == sent


@pytest.mark.parametrize("url", ["https://a.test:443", "https://a.test", "http://a.test:80", "http://A.test:080/x"])
async def test_credentials_are_sent_to_an_address_that_names_its_schemes_own_port(url: str) -> None:
    sent: dict[str, str] = {}

    class Session:
        async def request(self, _method: str, _url: object, *, headers: dict[str, str], **_: object) -> None:
            sent.update(headers)
            raise ConnectionRefusedError

    http = Http([url], credentials=NONE, headers=lambda: {"X-Token": SECRET})
    http._session = Session()  # type: ignore[assignment]
    with pytest.raises(AdapterError):
        await http.request("GET", "/")
    assert sent == {"X-Token": SECRET}


async def test_redirects_in_a_circle_end() -> None:
    async with client(answer(307, Location="/again")) as (http, server):
        assert (await http.request("GET", "/", follow=3)).status == 307
        assert len(server.requests) == 4


@pytest.mark.parametrize("location", ["ftp://x/", "http://[::1", "http://x:99999/", "javascript:1"])
async def test_a_redirect_to_nonsense_is_an_error(location: str) -> None:
    async with client(answer(307, Location=location)) as (http, _):
        with pytest.raises(AdapterError, match="redirects to what is no"):
            await http.request("GET", "/", follow=1)


async def test_proxies_of_the_environment_and_cookies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with client(answer(200, b"", Set_Cookie="a=b")) as (http, server):
        for _ in range(2):
            await http.request("GET", "/")
        assert all("Cookie" not in head for head in server.requests)


# --- streams


async def test_a_stream_gives_pieces_as_they_come() -> None:
    go = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: str) -> None:
        writer.write(CHUNKED)
        await go.wait()
        writer.write(b"5\r\nworld\r\n0\r\n\r\n")

    async with client(serve) as (http, _), http.stream("POST", "/", body=b"{}") as stream:
        assert stream.status == 200
        chunks = stream.chunks()
        assert await anext(chunks) == b"hello"
        go.set()
        assert [chunk async for chunk in chunks] == [b"world"]


async def test_a_stream_that_falls_silent_is_an_error() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: str) -> None:
        writer.write(CHUNKED)
        await asyncio.sleep(60)

    async with client(serve) as (http, server), http.stream("GET", "/", idle_seconds=0.2) as stream:
        chunks = stream.chunks()
        assert await anext(chunks) == b"hello"
        with pytest.raises(Unanswered, match=rf"{server.address}: .*nothing came for 0\.2 s"):
            await anext(chunks)


async def test_a_stream_that_is_cut_is_an_error_and_not_an_end() -> None:
    async with client(closing(CHUNKED)) as (http, _), http.stream("GET", "/") as stream:
        with pytest.raises(Unanswered, match="cut"):
            _ = [chunk async for chunk in stream.chunks()]


async def test_a_stream_whose_head_does_not_come_is_given_up() -> None:
    async with client(hang) as (http, _):
        with pytest.raises(Unanswered, match=r"no answer began within 0\.2 s"):
            async with http.stream("GET", "/", seconds=0.2):
                pass


async def test_a_stream_that_is_left_takes_its_connection_along() -> None:
    async with client(drip) as (http, server):
        for _ in range(3):
            async with http.stream("GET", "/") as stream:
                assert await anext(stream.chunks())
        assert server.connections == 3


# --- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def pem(authority: Authority, name: str = "") -> Mapping[str, str]:
    made = {"ca": authority.certificate.read_text()}
    if name:
        certificate = authority.issue(name)
        made |= {"clientCert": certificate.certificate.read_text(), "clientKey": certificate.key.read_text()}
    return made


async def test_a_server_of_the_given_authority_is_trusted_and_no_other(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    async with Server(answer()).run(authority.server_context(authority.issue("good"))) as server:
        url = f"https://{server.address}"
        async with Http([url], credentials=RotatingCredentials(pem(authority))) as http:
            assert (await http.request("GET", "/")).status == 200
        for credentials in (pem(other), {}):
            async with Http([url], credentials=RotatingCredentials(credentials)) as http:
                with pytest.raises(AdapterError, match=f"{server.address}: the server's certificate was refused: "):
                    await http.request("GET", "/")
    assert len(server.requests) == 1


async def test_the_certificates_name_must_be_the_hosts_or_the_given_one(authority: Authority) -> None:
    certificate = authority.issue("named", hosts=["server.dc1.consul"])
    async with Server(answer()).run(authority.server_context(certificate)) as server:
        url, credentials = f"https://{server.address}", RotatingCredentials(pem(authority))
        async with Http([url], credentials=credentials) as http:
            with pytest.raises(AdapterError, match="certificate was refused"):
                await http.request("GET", "/")
        async with Http([url], credentials=credentials, tls=Tls(server_name="server.dc1.consul")) as http:
            assert (await http.request("GET", "/")).status == 200


async def test_rotated_certificates_are_used_by_the_next_connection(authority: Authority, tmp_path: Path) -> None:
    shown: list[object] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: str) -> None:
        shown.append(dict(x[0] for x in writer.get_extra_info("peercert")["subject"])["commonName"])
        writer.write(answer())

    context = authority.server_context(authority.issue("server"), client_certificates=True)
    credentials = RotatingCredentials(pem(Authority(tmp_path / "old")))
    async with (
        Server(serve).run(context) as server,
        Http([f"https://{server.address}"], credentials=credentials) as http,
    ):
        with pytest.raises(AdapterError, match="certificate was refused"):
            await http.request("GET", "/")
        for name in ("first", "second"):
            for key, text in pem(authority, name).items():
                credentials.set(key, text)
            await http.request("GET", "/")
            await http.request("GET", "/")
    assert shown == ["first", "first", "second", "second"]
    assert server.connections == 2  # the one that was refused got no further than its handshake


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"ca": "nonsense"}, "`ca` is not a PEM certificate"),
        ({"clientKey": None}, "`clientCert` and `clientKey` belong together"),
        ({"clientKey": "nonsense"}, "not a PEM certificate and its unencrypted key"),
    ],
)
async def test_credentials_that_cannot_be_used_are_told_and_never_shown(
    authority: Authority, change: Mapping[str, str | None], told: str
) -> None:
    credentials = RotatingCredentials(pem(authority, "client"))
    for name, text in change.items():
        credentials.set(name, text)
    async with Http(["https://127.0.0.1:1"], credentials=credentials) as http:
        with pytest.raises(PermanentError, match=told) as raised:
            await http.request("GET", "/")
    assert "nonsense" not in str(raised.value)
    assert "BEGIN" not in str(raised.value)


async def test_tls_to_a_server_without_it_is_told(authority: Authority) -> None:
    async with Server(answer()).run() as server:
        url, credentials = f"https://{server.address}", RotatingCredentials(pem(authority))
        async with Http([url], credentials=credentials, connect_seconds=1) as http:
            with pytest.raises(AdapterError, match=f"^{server.address}: ") as raised:
                await http.request("GET", "/")
            assert not isinstance(raised.value, Unanswered)


async def test_a_handshake_that_hangs_is_no_connection() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Http([f"https://127.0.0.1:{port}"], credentials=NONE, connect_seconds=0.2) as http:
        with pytest.raises(AdapterError, match=f"127.0.0.1:{port}: no connection within the time allowed") as raised:
            await http.request("GET", "/")
        assert not isinstance(raised.value, Unanswered)


async def test_a_redirect_from_https_to_http_is_refused(authority: Authority) -> None:
    context = authority.server_context(authority.issue("redirecting"))
    credentials = RotatingCredentials(pem(authority))
    async with (
        Server(answer(307, Location="http://127.0.0.1:1/")).run(context) as server,
        Http([f"https://{server.address}"], credentials=credentials) as http,
    ):
        with pytest.raises(AdapterError, match="from https to plain http"):
            await http.request("GET", "/", follow=1)


# --- addresses


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("consul:8500", "http://consul:8500"),
        ("consul", "http://consul:8500"),
        ("https://consul", "https://consul:8500"),
        ("https://consul:443/base", "https://consul/base"),
        ("http://[::1]:80", "http://[::1]"),
        ("[::1]:81", "http://[::1]:81"),
    ],
)
def test_an_address_is_a_url_or_host_and_port(address: str, url: str) -> None:
    assert str(base_url(address, port=8500)) == url


@pytest.mark.parametrize(
    "address",
    ["ftp://x", "http://", "http://u:hunter2@x", "x:99999", "x:port", "http://x/?a=hunter2", "", "http://x#f"],
)
def test_what_is_no_address_is_refused_without_showing_secrets(address: str) -> None:
    with pytest.raises(PermanentError) as raised:
        base_url(address)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("urls", "plain"),
    [
        (["http://127.0.0.1:1", "http://localhost", "http://[::1]:1"], False),
        (["https://consul:8501"], False),
        (["https://consul:8501", "http://consul:8500"], True),
        (["http://10.0.0.1"], True),
        (["http://127.0.0.1.example.com"], True),
    ],
)
def test_plain_text_beyond_this_machine_is_noticed(urls: list[str], plain: bool) -> None:
    assert Http(urls, credentials=NONE).is_plaintext_remote() == plain
