"""A real etcd, one member or several, on loopback."""

import asyncio
import base64
import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from testbed.cache import program
from testbed.ports import free_port
from testbed.process import Server
from testbed.tls import Authority
from testbed.web import Answer, request

ROOT_PASSWORD = "testbed-root"


class Etcd(Server):
    """One etcd member.

    `endpoint` is its URL, `endpoints` a list of it. `tls`: it speaks TLS with a certificate of that authority and
    demands one of clients. `auth`: authentication is on, `root` has the password ROOT_PASSWORD, and `add_user` makes
    others. `unsafe_no_fsync` is faster and loses the last writes in a kill -9. `flags` go to etcd as they are.
    """

    name: ClassVar[str] = "etcd"

    def __init__(
        self,
        directory: Path,
        *,
        unsafe_no_fsync: bool = False,
        tls: Authority | None = None,
        auth: bool = False,
        flags: Sequence[str] = (),
        member: str = "m0",
    ) -> None:
        """Choose ports; nothing is started yet."""
        super().__init__(directory)
        self.port, self.peer_port = free_port(), free_port()
        self.member = member
        self.peers: dict[str, str] = {member: self.peer_url}
        self.tls = tls
        self._certificate = tls.issue(f"etcd-{self.port}") if tls else None
        # No common name: the JSON gateway refuses a client certificate that has one once authentication is on.
        client = tls.issue(f"etcd-{self.port}-client", common_name="") if tls else None
        self.context: ssl.SSLContext | None = tls.client_context(client) if tls else None
        self._auth = auth
        self._no_fsync = unsafe_no_fsync
        self._flags = tuple(flags)

    @property
    def peer_url(self) -> str:
        """Where the other members find it."""
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def endpoint(self) -> str:
        """Where clients find it."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def endpoints(self) -> list[str]:
        """Where clients find it, as a list."""
        return [self.endpoint]

    def command(self) -> Sequence[str]:
        """etcd's own flags."""
        cluster = ",".join(f"{name}={url}" for name, url in self.peers.items())
        flags = {
            "name": self.member,
            "data-dir": str(self.data),
            "listen-client-urls": self.endpoint,
            "advertise-client-urls": self.endpoint,
            "listen-peer-urls": self.peer_url,
            "initial-advertise-peer-urls": self.peer_url,
            "initial-cluster": cluster,
            "initial-cluster-token": "testbed",
            "logger": "zap",
            "log-level": "warn",
        }
        if self.tls and self._certificate:
            flags |= {
                "cert-file": str(self._certificate.certificate),
                "key-file": str(self._certificate.key),
                "trusted-ca-file": str(self.tls.certificate),
                "client-cert-auth": "true",
            }
        if self._no_fsync:
            flags["unsafe-no-fsync"] = "true"
        return [program("etcd", "etcd"), *(f"--{key}={value}" for key, value in flags.items()), *self._flags]

    async def probe(self) -> None:
        """Its health endpoint says that there is a leader and a write would pass."""
        answer = await request("GET", f"{self.endpoint}/health", tls=self.context, timeout=2)
        if answer.expect().json()["health"] != "true":
            raise ConnectionError(answer.body.decode())

    async def provision(self) -> None:
        """Turn authentication on, if asked to."""
        if self._auth:
            for path, body in (
                ("auth/user/add", {"name": "root", "password": ROOT_PASSWORD}),
                ("auth/role/add", {"name": "root"}),
                ("auth/user/grant", {"user": "root", "role": "root"}),
                ("auth/enable", {}),
            ):
                await self._call(path, body)

    async def add_user(self, name: str, password: str, *prefixes: str) -> None:
        """Make a user who may read and write the keys with these prefixes, and no others (needs `auth`)."""
        await self.call("auth/user/add", {"name": name, "password": password})
        await self.call("auth/role/add", {"name": name})
        await self.call("auth/user/grant", {"user": name, "role": name})
        for prefix in prefixes:
            span = {"key": _b64(prefix.encode()), "range_end": _b64(_after(prefix.encode()))}
            await self.call("auth/role/grant", {"name": name, "perm": {"permType": "READWRITE", **span}})

    async def call(self, path: str, body: Mapping[str, object]) -> Any:
        """A call of etcd's JSON gateway, as root: `await etcd.call("kv/range", {"key": …})`, keys in base64."""
        return (await self._call(path, body, await self.headers())).json()

    async def headers(self) -> dict[str, str]:
        """What a request of root's to the JSON gateway needs: empty without `auth`."""
        if not self._auth:
            return {}
        answer = await self._call("auth/authenticate", {"name": "root", "password": ROOT_PASSWORD})
        return {"Authorization": answer.json()["token"]}

    async def put(self, key: str, value: str) -> None:
        """Write one key."""
        await self.call("kv/put", {"key": _b64(key.encode()), "value": _b64(value.encode())})

    async def read(self, prefix: str = "") -> dict[str, str]:
        """All keys with this prefix, and their values."""
        start = prefix.encode() or b"\0"
        end = _after(prefix.encode()) if prefix else b"\0"
        answer = await self.call("kv/range", {"key": _b64(start), "range_end": _b64(end)})
        return {_text(kv["key"]): _text(kv.get("value", "")) for kv in answer.get("kvs", [])}

    async def created(self, prefix: str) -> dict[str, int]:
        """The revision at which each key was made: one that was deleted and written again has another than before."""
        return await self._revisions(prefix, "create_revision")

    async def modified(self, prefix: str) -> dict[str, int]:
        """The revision at which each key was written last."""
        return await self._revisions(prefix, "mod_revision")

    async def _revisions(self, prefix: str, which: str) -> dict[str, int]:
        start, end = prefix.encode(), _after(prefix.encode())
        answer = await self.call("kv/range", {"key": _b64(start), "range_end": _b64(end), "keys_only": True})
        return {_text(kv["key"]): int(kv[which]) for kv in answer.get("kvs", [])}

    async def delete(self, prefix: str = "") -> None:
        """Delete all keys with this prefix (without one: all)."""
        start = prefix.encode() or b"\0"
        end = _after(prefix.encode()) if prefix else b"\0"
        await self.call("kv/deleterange", {"key": _b64(start), "range_end": _b64(end)})

    async def _call(self, path: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Answer:
        answer = await request("POST", f"{self.endpoint}/v3/{path}", body, headers=headers, tls=self.context)
        return answer.expect()


class EtcdCluster:
    """Several members that form one cluster, each a server of its own in `members`."""

    def __init__(
        self, directory: Path, size: int = 3, *, unsafe_no_fsync: bool = False, tls: Authority | None = None
    ) -> None:
        """Choose the ports of all."""
        self.members = [
            Etcd(directory / f"m{n}", member=f"m{n}", unsafe_no_fsync=unsafe_no_fsync, tls=tls) for n in range(size)
        ]
        peers = {member.member: member.peer_url for member in self.members}
        for member in self.members:
            member.peers = peers

    def __iter__(self) -> Iterator[Etcd]:
        """Its members."""
        return iter(self.members)

    @property
    def endpoints(self) -> list[str]:
        """Where clients find it."""
        return [member.endpoint for member in self.members]

    async def start(self) -> Self:
        """Start all members and wait until they have a leader."""
        for member in self.members:
            member.launch()
        try:
            await asyncio.gather(*(member.ready() for member in self.members))
        except BaseException:
            await asyncio.gather(*(member.kill9() for member in self.members))
            raise
        return self

    async def stop(self) -> None:
        """Stop all members; one that finds nobody to hand its leadership to would take 7 s, and is ended by force."""
        await asyncio.gather(*(member.stop(grace=2) for member in self.members))

    async def __aenter__(self) -> Self:
        """Start it."""
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""
        await self.stop()


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace")


def _after(prefix: bytes) -> bytes:
    """The first key after all with this prefix; after 0xff alone there is none, which etcd writes as a zero byte."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"
