"""The sink on real servers, plain and with TLS and users, passes what every sink promises."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from testbed.outages import paused, stopped
from testbed.pytest_plugin import in_a_loop_of_its_own
from testbed.servers import Etcd
from testbed.tls import Authority
from waypost.testing.conformance_sink import SinkConformance

PASSWORD = "7c-correct-horse"
USER = "syncer-7f"
prefixes = itertools.count()


class OnServer(SinkConformance):
    adapter = "waypost_adapters.etcd:SINK"
    stalls = True
    server: Etcd
    bound = 20.0

    def place(self, server: Etcd) -> None:
        self.server = server
        self.prefix = f"/waypost/conformance-{next(prefixes)}"

    def config(self) -> Mapping[str, Any]:
        return {"endpoints": self.server.endpoints, "prefix": self.prefix}

    async def foreign(self, key: str) -> None:
        await self.server.put(key, '{"host":"10.9.9.9"}')

    async def read(self, key: str) -> bytes | None:
        found = (await self.server.read(key)).get(key)
        return None if found is None else found.encode()

    def outage(self) -> AbstractAsyncContextManager[None]:
        return stopped(self.server)

    def stall(self) -> AbstractAsyncContextManager[None]:
        return paused(self.server)

    async def lose_stamp(self) -> None:
        await self.server.delete(f"{self.prefix}/.waypost/")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    server = Etcd(tmp_path_factory.mktemp("plain"), unsafe_no_fsync=True)
    in_a_loop_of_its_own(server.start())
    yield server
    in_a_loop_of_its_own(server.stop())


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    folder = tmp_path_factory.mktemp("secured")
    server = Etcd(folder / "etcd", unsafe_no_fsync=True, tls=Authority(folder / "authority"), auth=True)

    async def start() -> None:
        await server.start()
        await server.add_user(USER, PASSWORD, "/waypost/")

    in_a_loop_of_its_own(start())
    yield server
    in_a_loop_of_its_own(server.stop())


@pytest.mark.server("etcd")
class TestPlain(OnServer):
    @pytest.fixture(autouse=True)
    def _on(self, plain: Etcd) -> None:
        self.place(plain)


@pytest.mark.server("etcd")
class TestForCoreDns(OnServer):
    """The layout `skydns`, in a zone of its own."""

    @pytest.fixture(autouse=True)
    def _on(self, plain: Etcd) -> None:
        self.place(plain)

    def config(self) -> Mapping[str, Any]:
        return {**super().config(), "layout": "skydns", "zone": "prod.example.com"}


@pytest.mark.server("etcd")
class TestTlsAndUsers(OnServer):
    @pytest.fixture(autouse=True)
    def _on(self, secured: Etcd) -> None:
        self.place(secured)
        assert secured.tls is not None
        mine = secured.tls.issue("waypost", common_name="")
        self.credentials = {
            "ca": secured.tls.certificate.read_text().strip(),
            "clientCert": mine.certificate.read_text().strip(),
            "clientKey": mine.key.read_text().strip(),
            "username": USER,
            "password": PASSWORD,
        }
