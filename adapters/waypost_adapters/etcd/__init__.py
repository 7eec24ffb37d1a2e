"""The sink `etcd`: records under one prefix, each write fenced and owned in its transaction. The elector `etcd`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

import msgspec

from waypost.adapter import AdapterType, Context, Elector, PermanentError, Sink
from waypost.kit import dnsnames
from waypost.kit.etcd.endpoint import Endpoint, endpoints

__all__ = ["ELECTOR", "SINK", "ElectorConfig", "EtcdConfig", "Tls", "members_of"]

CREDENTIALS = ("username", "password", "ca", "clientCert", "clientKey")

Prefix = Annotated[str, msgspec.Meta(pattern=r"^(/[A-Za-z0-9._~-]+)+$", max_length=200)]


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`serverName`: the name the members' certificates are for, where it is not the endpoints' host."""

    server_name: Annotated[str, msgspec.Meta(min_length=1, max_length=253)] | None = None


class EtcdConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The `config` of a sink of type etcd; `zone` and `ttl_seconds` are for layout `skydns`."""

    endpoints: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=32)]
    layout: Literal["json", "skydns"] = "json"
    prefix: Prefix | None = None
    zone: Annotated[str, msgspec.Meta(max_length=151)] = ""
    ttl_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 30
    tls: Tls = Tls()

    def __post_init__(self) -> None:
        """Refuse what the types cannot: the URLs' form, and a zone that is none."""
        if self.layout == "skydns":
            try:
                msgspec.structs.force_setattr(self, "zone", dnsnames.name(self.zone))
            except dnsnames.BadName as error:
                raise ValueError(f"zone: {error}; layout `skydns` needs CoreDNS' zone, as prod.example.com") from None
        elif self.zone:
            raise ValueError("zone: is for layout `skydns` only")
        _usable(self.place, self.endpoints)

    @property
    def place(self) -> str:
        """The prefix, given or by default."""
        if self.prefix is not None:
            return self.prefix
        return "/skydns" if self.layout == "skydns" else "/waypost"


class ElectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The `config` of an elector of type etcd."""

    endpoints: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=32)]
    election: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\Z", max_length=64)]
    prefix: Prefix = "/waypost-election"
    ttl_seconds: Annotated[int, msgspec.Meta(ge=2, le=300)] = 15
    tls: Tls = Tls()

    def __post_init__(self) -> None:
        """Refuse what the types cannot: the URLs' form."""
        _usable(self.prefix, self.endpoints)


def _usable(prefix: str, urls: tuple[str, ...]) -> None:
    if prefix.endswith("\n") or {".", ".."}.intersection(prefix.split("/")):
        raise ValueError("`prefix` has a part `.` or `..`, or ends with a line break; expected such as /waypost")
    try:
        endpoints(urls)
    except PermanentError as error:
        raise ValueError(str(error)) from None


def members_of(config: EtcdConfig | ElectorConfig, context: Context) -> tuple[Endpoint, ...]:
    """Return the cluster's members; warns on the resource where a password would go to one of them as it is."""
    members = endpoints(config.endpoints)
    if any(member.is_plaintext_remote for member in members) and context.credentials.get("password") is not None:
        context.warn(
            "PlainTextPassword",
            "the password travels unencrypted to another machine; use https://, or endpoints on loopback",
        )
    return members


@asynccontextmanager
async def open_sink(config: EtcdConfig, context: Context) -> AsyncIterator[Sink]:
    """Open the sink; connects when it is first used. Raises PermanentError where the extra is not installed."""
    try:
        from waypost_adapters.etcd.sink import EtcdSink  # noqa: PLC0415 - gRPC is loaded by those who use etcd only
    except ModuleNotFoundError as error:
        raise _missing(error, "sink") from None
    async with EtcdSink.opened(config, context) as sink:
        yield sink


@asynccontextmanager
async def open_elector(config: ElectorConfig, context: Context) -> AsyncIterator[Elector]:
    """Open the elector; connects when it is first used. Raises PermanentError where the extra is not installed."""
    try:
        from waypost_adapters.etcd.elector import EtcdElector  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise _missing(error, "elector") from None
    async with EtcdElector.opened(config, context) as elector:
        yield elector


def _missing(error: ModuleNotFoundError, what: str) -> Exception:
    """Say which extra is missing; what is missing for another reason is a bug, and stays as it is."""
    if (error.name or "").split(".")[0] not in {"grpc", "google"}:
        return error
    return PermanentError(
        f"the {what} type `etcd` needs grpcio and protobuf; `{error.name}` is missing: pip install 'waypost[etcd]'"
    )


SINK: AdapterType[Sink] = AdapterType(
    "etcd", EtcdConfig, open_sink, credentials=CREDENTIALS, releases=True, adopts=True
)
ELECTOR: AdapterType[Elector] = AdapterType("etcd", ElectorConfig, open_elector, credentials=CREDENTIALS)
