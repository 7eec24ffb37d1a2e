"""Samples that every sink renders in the conformance tests, and a program that renders them in a process of its own.

`python -m waypost.testing.rendering` prints them (it reads what to open from its standard input), so that a test can
compare processes: a render that depends on the order of a set, or on anything of its process, shows.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from waypost.adapter import AdapterType, InvalidRecord, Record, Sink
from waypost.model import (
    Address,
    Hop,
    Port,
    Publication,
    PublicationKey,
    PublishedInstance,
    PublishedName,
    ServiceKey,
)
from waypost.testing.context import TestContext

__all__ = ["ATTACKS", "find", "flat", "instance", "publication", "records", "render_elsewhere", "samples"]

ATTACKS = (
    "../../etc/passwd",
    "..",
    "/",
    "nul\0inside",
    "two\nlines",
    "tab\there",
    "x" * 10_000,
    "größe-мир-🚀",
    "\"quoted\" 'and' `so`",
    "{label:x}",
    "%2e%2e%2f",
    " spaces ",
    "a,b=c;d|e#f?g&h",
    "\ud800",
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj",
)


def instance(id: str, number: int = 1, **fields: Any) -> PublishedInstance:
    """Return an instance with an address and ports that follow from `number`; `fields` are set as given."""
    shown: dict[str, Any] = {
        "addresses": (Address(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"),),
        "ports": (Port(8000 + number % 1000, "http"), Port(9000 + number % 1000, "admin")),
        "weight": 1 + number % 7,
        "node": f"node-{number % 5}",
        "zone": f"z{number % 3}",
        "metadata": {"version": str(number % 4), "team": "shop"},
        "labels": {"app": "web", "version": str(number % 4)},
    }
    return PublishedInstance(id, **(shown | fields))


def publication(
    names: Iterable[str | PublishedName],
    *,
    owner: str = "owner-a",
    environment: str = "test",
    entry: str = "main",
    service: str = "web",
    options: object = None,
) -> Publication:
    """Return a publication of `source/shop/<service>` by the registration shop/<service>."""
    key = PublicationKey(f"shop/{service}", entry, ServiceKey("source", "shop", service))
    shown = tuple(PublishedName(name) if isinstance(name, str) else name for name in names)
    return Publication(key, shown, environment, owner, {"app": service}, ttl_seconds=30, options=options)


def samples(name: str, options: object = None) -> list[tuple[Publication, list[PublishedInstance]]]:
    """Return publications of all shapes, under names that begin with `name`."""
    alike = ["a", "a/b", "a:b", "a%2Fb", "a b", "a.b", "a-b", "a_b", "A", "aa", "b"]
    several = (PublishedName(f"{name}-http", "http"), PublishedName(f"{name}-admin", "admin"))
    hops = (Hop("prod", "prod-eu"), Hop("edge", "edge-1"))
    families = (
        Address("2001:db8::7"),
        Address("10.0.0.7", "Container", "net"),
        Address("web-7.example.com", "Hostname"),
    )
    return [
        (publication([name], options=options), [instance(each, number) for number, each in enumerate(alike)]),
        (
            publication(several, options=options, service="several"),
            [instance(f"s-{number}", number) for number in range(5)],
        ),
        (publication([f"{name}-down"], options=options, service="down"), [instance("down", ready=False, weight=0)]),
        (
            publication([f"{name}-far"], options=options, service="far"),
            [instance("far", addresses=families, path=hops)],
        ),
    ]


def records(sink: Sink, of: Publication, instances: Iterable[PublishedInstance]) -> list[Record]:
    """Return what the sink renders. Raises AssertionError where it calls any of them invalid."""
    rendered = list(sink.render(of, list(instances)))
    invalid = [item for item in rendered if isinstance(item, InvalidRecord)]
    assert not invalid, f"cannot be rendered: {[(item.instance, item.name, str(item)) for item in invalid]}"
    return [item for item in rendered if isinstance(item, Record)]


def flat(sink: Sink, name: str, options: object = None) -> list[tuple[str, str, str, str, bool]]:
    """Return everything that the sink renders of the samples, in comparable form."""
    shown = []
    for published, instances in samples(name, options):
        for item in sink.render(published, instances):
            if isinstance(item, InvalidRecord):
                shown.append(("", item.instance, str(item), item.name, False))
            else:
                shown.append((item.key, item.instance, item.content.hex(), item.name, item.ready))
    return shown


def find(path: str) -> AdapterType[Any]:
    """Import `package.module:NAME`."""
    module, _, name = path.partition(":")
    found: AdapterType[Any] = getattr(importlib.import_module(module), name)
    return found


async def render_elsewhere(
    path: str, config: object, name: str, options: object, seed: str
) -> list[tuple[str, str, str, str, bool]]:
    """Return `flat` as a process of its own gives it, whose hashes are salted by `seed`."""
    given = msgspec.json.encode({"path": path, "config": config, "name": name, "options": options})
    run = functools.partial(
        subprocess.run,
        [sys.executable, "-m", "waypost.testing.rendering"],
        input=given,
        capture_output=True,
        check=False,
        timeout=60,
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    done: subprocess.CompletedProcess[Any] = await asyncio.to_thread(run)
    assert done.returncode == 0, f"rendering in another process failed: {done.stderr.decode()[-2000:]}"
    return msgspec.json.decode(done.stdout, type=list[tuple[str, str, str, str, bool]])


class _Given(msgspec.Struct):
    path: str
    name: str
    config: Any = None
    options: Any = None


async def _print(given: _Given) -> None:
    found = find(given.path)
    options = None if given.options is None else msgspec.convert(given.options, found.options)
    with tempfile.TemporaryDirectory() as state:
        context = TestContext(Path(state), name="conformance", owner="owner-a")
        async with found.open(msgspec.convert(given.config, found.config), context) as sink:
            sys.stdout.buffer.write(msgspec.json.encode(flat(sink, given.name, options)))


if __name__ == "__main__":
    asyncio.run(_print(msgspec.json.decode(sys.stdin.buffer.read(), type=_Given)))
