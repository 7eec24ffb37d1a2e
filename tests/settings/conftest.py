from __future__ import annotations

from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from testbed.servers import Kubernetes
from tests.settings.custom import Judge, define, judge
from waypost.adapter import AdapterType
from waypost.settings import TypesOf


class StaticConfig(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    pass


class MesosConfig(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    masters: Annotated[tuple[str, ...], Meta(min_length=1, max_length=7)]
    poll_seconds: Annotated[int, Meta(ge=1, le=3600)] = 30


class ConsulConfig(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    address: str = "http://127.0.0.1:8500"
    nodes: Annotated[int, Meta(ge=1, le=1024)] = 64


class ConsulOptions(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    tags: Annotated[tuple[str, ...], Meta(max_length=8)] = ()


class EtcdConfig(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    endpoints: tuple[str, ...]
    layout: Literal["json", "skydns"] = "json"

    def __post_init__(self) -> None:
        if any("@" in endpoint for endpoint in self.endpoints):
            raise ValueError("a URL must not hold a password; name it under credentials")


@asynccontextmanager
async def _open(config: Any, context: Any) -> Any:
    yield None


@pytest.fixture
def types() -> TypesOf:
    return TypesOf(
        sources={
            "static": AdapterType("static", StaticConfig, _open, declares=True),
            "mesos": AdapterType("mesos", MesosConfig, _open, credentials=("password",)),
        },
        sinks={
            "consul": AdapterType("consul", ConsulConfig, _open, options=ConsulOptions, credentials=("token",)),
            "etcd": AdapterType("etcd", EtcdConfig, _open, credentials=("password",)),
        },
    )


@pytest.fixture(scope="session")
def api(kubernetes: Kubernetes) -> Iterator[Judge]:
    """An API server that has crds/ as they are committed."""
    define(kubernetes)
    with judge(kubernetes) as asked:
        yield asked
