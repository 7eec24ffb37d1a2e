"""How one gets in: kubeconfigs, plugins, service accounts, and when each is read again."""

from __future__ import annotations

import base64
import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from testbed.tls import Authority
from waypost.adapter import AdapterError, PermanentError
from waypost.kit.clock import LoopClock
from waypost.kit.kubernetes.access import Access, Pass, from_files, from_text, in_cluster, of_process

SERVER = "https://api.example:6443"


def kubeconfig(user: dict[str, Any], cluster: dict[str, Any] | None = None) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "a",
            "contexts": [
                {"name": "a", "context": {"cluster": "a", "user": "a"}},
                {"name": "b", "context": {"cluster": "b", "user": "a"}},
            ],
            "clusters": [
                {"name": "a", "cluster": {"server": SERVER, **(cluster or {})}},
                {"name": "b", "cluster": {"server": "https://other.example"}},
            ],
            "users": [{"name": "a", "user": user}],
        }
    )


def data(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_text_with_certificates_and_a_token() -> None:
    text = kubeconfig(
        {"client-certificate-data": data("CERT"), "client-key-data": data("KEY"), "token": "t"},
        {"certificate-authority-data": data("CA"), "tls-server-name": "kubernetes"},
    )
    assert from_text(text) == Access(SERVER, "kubernetes", "CA", "CERT", "KEY", "Bearer t")
    assert from_text(text, "b").server == "https://other.example"


def test_a_text_leaves_no_key_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    user = {"client-certificate-data": data("CERT"), "client-key-data": data("KEY")}
    for _ in range(2):
        assert from_text(kubeconfig(user)).client_key == "KEY"
        assert not list(tmp_path.iterdir())


def test_what_is_shown_of_it_holds_no_secret() -> None:
    assert repr(from_text(kubeconfig({"token": "hush"}))) == f"Access({SERVER})"


@pytest.mark.parametrize(
    ("user", "cluster", "said"),
    [
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch"}}, {}, "exec runs a command"),
        ({"auth-provider": {"name": "gcp"}}, {}, "auth-provider may run a command"),
        ({"tokenFile": "/etc/passwd"}, {}, "tokenFile names a file"),
        ({"client-certificate": "/c", "client-key": "/k"}, {}, "names a file"),
        ({"token": "t"}, {"certificate-authority": "/etc/passwd"}, "certificate-authority names a file"),
        ({"token": "t"}, {"insecure-skip-tls-verify": True}, "insecure-skip-tls-verify"),
        ({"token": "t"}, {"proxy-url": "http://proxy"}, "proxy-url"),
    ],
)
def test_a_text_that_would_do_more_than_let_one_in_is_refused(
    user: dict[str, Any], cluster: dict[str, Any], said: str
) -> None:
    with pytest.raises(PermanentError, match=said):
        from_text(kubeconfig(user, cluster))


@pytest.mark.parametrize(
    "text",
    [
        *["", "a: [", "[]", "{}", "x", '{"users": 1}', '{"users": [1], "clusters": {"a": 1}}', "x" * 2_000_000],
        *[kubeconfig({"client-certificate-data": "%%%"}), kubeconfig({"token": "t"}).replace('"a"', '"c"', 1)],
    ],
)
def test_a_text_that_is_none_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(PermanentError, match="kubeconfig") as raised:
        from_text(text)
    assert "%%%" not in str(raised.value)


def test_files_by_path_are_read_anew(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    mine = authority.issue("me", common_name="me")
    path = tmp_path / "config"
    user = {"client-certificate": str(mine.certificate), "client-key": str(mine.key)}
    path.write_text(kubeconfig(user, {"certificate-authority": str(authority.certificate)}))
    access = from_files(str(path))
    assert access.client_key == Path(mine.key).read_text()
    assert access.ca == Path(authority.certificate).read_text()
    assert access.renew_seconds == 60


def test_a_file_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="nowhere: is not there or empty; give one, or run in a pod"):
        from_files(str(tmp_path / "nowhere"))


def plugin(folder: Path, body: str) -> str:
    path = folder / "plugin"
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


COUNTING = """
import datetime, json, pathlib
count = pathlib.Path(__file__).with_name("count")
n = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(n))
until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds={seconds})
status = {{"token": f"token-{{n}}", "expirationTimestamp": until.strftime("%Y-%m-%dT%H:%M:%SZ")}}
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}))
"""


def with_plugin(folder: Path, body: str) -> str:
    path = folder / "config"
    given = {"apiVersion": "client.authentication.k8s.io/v1", "command": plugin(folder, body)}
    path.write_text(kubeconfig({"exec": {**given, "interactiveMode": "Never"}}))
    return str(path)


def test_a_plugin_says_how_long_its_token_lives(tmp_path: Path) -> None:
    path = with_plugin(tmp_path, COUNTING.format(seconds=600))
    first, second = from_files(path), from_files(path)
    assert (first.authorization, second.authorization) == ("Bearer token-1", "Bearer token-2")
    assert first.renew_seconds == pytest.approx(540, abs=60), "replaced a minute before its end"
    assert from_files(with_plugin(tmp_path, COUNTING.format(seconds=40))).renew_seconds == pytest.approx(20, abs=15)


def test_a_plugin_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="its plugin gave no credentials"):
        from_files(with_plugin(tmp_path, "raise SystemExit('no network')"))


def test_a_service_account(tmp_path: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    (tmp_path / "ca.crt").write_text("CA")
    with pytest.raises(AdapterError, match="no service account is mounted"):
        in_cluster(tmp_path, environ)
    (tmp_path / "token").write_text("one\n")
    assert in_cluster(tmp_path, environ) == Access("https://10.96.0.1:443", ca="CA", authorization="Bearer one")
    assert in_cluster(tmp_path, {**environ, "KUBERNETES_SERVICE_HOST": "fd00::1"}).server == "https://[fd00::1]:443"
    with pytest.raises(AdapterError, match="empty"):
        in_cluster(tmp_path, {})


def test_the_process_goes_by_its_variable_where_it_is_in_no_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine"
    path.write_text(kubeconfig({"token": "t"}))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert of_process().server == SERVER
    assert of_process(context="b").server == "https://other.example"


class Told:
    """What a Pass reads: what it is told, or an error."""

    def __init__(self) -> None:
        self.reads = 0
        self.answer: Callable[[], Access] = lambda: Access(SERVER, authorization=f"Bearer {self.reads}")

    def __call__(self) -> Access:
        self.reads += 1
        return self.answer()


class Clock(LoopClock):
    now = 0.0

    def monotonic(self) -> float:
        return self.now


async def test_it_is_read_again_when_due_and_when_refused_only() -> None:
    read, clock = Told(), Clock()
    entry = Pass(read, clock)
    first = await entry.current()
    assert await entry.current() is first
    clock.now = 59
    assert await entry.current() is first
    clock.now = 61
    second = await entry.current()
    assert second.authorization == "Bearer 2"
    assert await entry.current(refused=first) is second, "another one was refused"
    assert (await entry.current(refused=second)).authorization == "Bearer 3"
    assert entry.headers() == {"Authorization": "Bearer 3"}
    assert read.reads == 3


async def test_what_cannot_be_read_again_leaves_what_was_read() -> None:
    read, clock = Told(), Clock()
    entry = Pass(read, clock)
    first = await entry.current()

    def broken() -> Access:
        raise AdapterError("half-written")

    whole, read.answer = read.answer, broken
    clock.now = 61
    assert await entry.current() is first
    assert await entry.current() is first
    assert read.reads == 2, "it is not read at each request"
    read.answer = whole
    clock.now = 72
    assert (await entry.current()).authorization == "Bearer 3"


async def test_what_was_never_read_is_an_error() -> None:
    read = Told()

    def nothing() -> Access:
        raise PermanentError("no kubeconfig")

    read.answer = nothing
    with pytest.raises(PermanentError, match="no kubeconfig"):
        await Pass(read, Clock()).current()


async def test_the_same_again_is_no_news() -> None:
    read, clock = Told(), Clock()
    read.answer = lambda: msgspec.structs.replace(Access(SERVER), authorization="Bearer x")
    entry = Pass(read, clock)
    first = await entry.current()
    assert await entry.current(refused=first) is first
