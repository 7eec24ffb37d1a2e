"""What ZooKeeper says of the masters: the address of the ensemble, and who leads by the nodes that masters keep. Pure.

Each master that contends keeps an ephemeral, sequential node `json.info_NNNNNNNNNN` below the ensemble's path, with its
MasterInfo as JSON; the lowest number leads (Mesos 0.24 and later, `src/master/contender` and `src/master/detector`).
Older masters keep `info_NNNNNNNNNN`, with the same in protobuf.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import msgspec
from yarl import URL

from waypost.adapter import AdapterError, PermanentError
from waypost.kit.addresses import base_url

__all__ = ["MOST_MASTERS", "Candidate", "Ensemble", "candidate", "ensemble", "ranked"]

MOST_MASTERS = 32
PORT = 2181
NODE = re.compile(r"(json\.)?info_(-?\d{1,12})", re.ASCII)


class Ensemble(msgspec.Struct, frozen=True):
    """Where the ZooKeeper servers are, the path of the masters' nodes, and user and password where they stand there."""

    hosts: tuple[str, ...]
    path: str
    username: str | None = None
    password: str | None = None

    @property
    def told(self) -> str:
        """How messages name it: without a password."""
        return f"zk://{','.join(self.hosts)}{self.path}"


class _Address(msgspec.Struct, frozen=True):
    hostname: str = ""
    ip: str = ""
    port: int = 0


class _MasterInfo(msgspec.Struct):
    id: str
    hostname: str = ""
    port: int = 5050
    address: _Address = _Address()


class Candidate(msgspec.Struct, frozen=True):
    """A master that contends: its id, which is another one after each start, and where it may be reached."""

    id: str
    urls: tuple[URL, ...]


_INFO = msgspec.json.Decoder(_MasterInfo)


def ensemble(text: str) -> Ensemble:
    """Return what `zk://[user:password@]host:port,host:port/path` means. Raises PermanentError, without a password."""
    scheme, _, rest = text.partition("://")
    where, slash, path = rest.partition("/")
    who, at, hosts = where.rpartition("@")
    username, colon, password = who.partition(":")
    if scheme != "zk" or not slash or not path.strip("/") or (at and not (username and colon)):
        raise PermanentError(
            "masters: expected zk://host:2181,host2:2181/path with the path of the masters' own `--zk`, as in "
            "zk://zk1:2181,zk2:2181/mesos"
        )
    places = tuple(_server(host) for host in hosts.split(","))
    clean = "/" + "/".join(part for part in path.split("/") if part)
    return Ensemble(places, clean, username or None, password if at else None)


def _server(text: str) -> str:
    try:
        url = URL(f"zk://{text}")
        name, port = url.host, url.explicit_port or PORT
    except ValueError:
        name, port = None, 0
    if not name:
        raise PermanentError("masters: a server in zk://… is not host:port")
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def ranked(nodes: Iterable[str]) -> list[str]:
    """Return the masters' nodes, the leader's first. Raises PermanentError where the leader's cannot be read."""
    found = sorted((int(match[2]), match[1] is None, name) for name in nodes if (match := NODE.fullmatch(name)))
    if found and found[0][1]:
        raise PermanentError(
            f"the leading master's node {found[0][2]} holds protobuf, as Mesos before 0.24 writes it: update Mesos, or "
            "list the masters' URLs as `masters`"
        )
    return [name for _, old, name in found if not old][:MOST_MASTERS]


def candidate(node: str, content: bytes, scheme: Literal["http", "https"]) -> Candidate:
    """Return the master that a node tells of. Raises AdapterError where it makes no sense."""
    try:
        info = _INFO.decode(content)
        port = info.address.port or info.port
        hosts = dict.fromkeys((info.address.hostname or info.hostname, info.address.ip))
        urls = tuple(base_url(f"{scheme}://{_bracketed(host)}:{port}") for host in hosts if host)
    except (msgspec.DecodeError, UnicodeDecodeError, PermanentError) as error:
        raise AdapterError(f"the node {node} is no MasterInfo in JSON: {str(error)[:200]}") from None
    if not urls:
        raise AdapterError(f"the node {node} has no address of its master")
    return Candidate(info.id, urls)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
