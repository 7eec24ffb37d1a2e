"""A client of a server, with credentials that a test rotates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from testbed.tls import Authority
from waypost.kit.etcd.client import Client
from waypost.kit.etcd.endpoint import endpoints
from waypost.testing.context import RotatingCredentials

Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def connect() -> Connect:
    @asynccontextmanager
    async def opened(
        urls: Sequence[str], credentials: Mapping[str, str] | RotatingCredentials | None = None, **options: object
    ) -> AsyncIterator[Client]:
        kept = credentials if isinstance(credentials, RotatingCredentials) else RotatingCredentials(credentials)
        times = {"connect_seconds": 1.0, "call_seconds": 3.0, **options}
        async with Client(endpoints(urls), kept, **times) as client:  # type: ignore[arg-type]
            yield client

    return opened


def pem(authority: Authority, name: str) -> dict[str, str]:
    mine = authority.issue(name, common_name="")
    return {
        "ca": Path(authority.certificate).read_text(),
        "clientCert": Path(mine.certificate).read_text(),
        "clientKey": Path(mine.key).read_text(),
    }


@pytest.fixture
def certificates() -> Callable[[Authority, str], dict[str, str]]:
    return pem
