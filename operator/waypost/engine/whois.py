"""Who wrote what stands under a name: we, another installation, or somebody by hand. Reads only.

One question a sink: what others keep under the name. Bounded in records and seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

from waypost.adapter import AdapterError, Record
from waypost.engine.publish import Withheld
from waypost.model import Hop, PublicationKey, PublishedInstance

if TYPE_CHECKING:
    from waypost.engine.engine import Engine
    from waypost.engine.target import Target

__all__ = ["MOST", "Whois", "Whose", "whois"]

Kind = Literal["ours", "another installation's", "by hand"]

MOST = 200  # records told of, in each sink
INSPECT_SECONDS = 5.0


class Whose(msgspec.Struct, frozen=True, rename="camel"):
    """One record, and whose it is. `path` is known of ours that are published now: environment/owner, hop by hop."""

    sink: str
    name: str
    key: str
    whose: Kind
    owner: str = ""
    registration: str = ""
    entry: str = ""
    service: str = ""
    instance: str = ""
    path: str = ""
    summary: str = ""


class Whois(msgspec.Struct, frozen=True, rename="camel"):
    """The answer. `unread` tells which sinks could not say what others keep; `omitted` counts ours left out."""

    records: list[Whose]
    unread: dict[str, str]
    omitted: int = 0


async def whois(engine: Engine, name: str, sink: str = "") -> Whois:
    """Return whose the records under a name are."""
    records: list[Whose] = []
    unread: dict[str, str] = {}
    omitted = 0
    for target in [t for each, t in sorted(engine.reconciler.targets.items()) if sink in {"", each}]:
        if target.sink is None or not target.loaded:
            unread[target.name] = f"{target.condition.reason}: {target.condition.message or 'not read yet'}"
            continue
        mine = list(_ours(engine, target, name))
        records += mine[:MOST]
        omitted += len(mine) - len(mine[:MOST])
        try:
            async with asyncio.timeout(INSPECT_SECONDS):
                foreign = await target.sink.inspect([name])
        except (AdapterError, TimeoutError) as error:
            unread[target.name] = str(error) or "no answer in time"
            continue
        for each in foreign[:MOST]:
            whose: Kind = "another installation's" if each.owner else "by hand"
            records.append(Whose(target.name, each.name, each.key, whose, each.owner, summary=each.summary))
    return Whois(records, unread, omitted)


def _ours(engine: Engine, target: Target, name: str) -> Iterator[Whose]:
    owner, canonical = target.far.owner, target.names.canonical
    form = canonical(name)
    for key in sorted(key for key, names in target.names.left.items() if form in names):
        for instance in sorted(target.ledger.instances(key)):
            under, path = _published(engine, target, key, instance)
            for kept in target.ledger.kept(key, instance):
                stands = under.get(kept.key, name)
                if canonical(stands) != form:
                    continue
                yield Whose(
                    target.name,
                    stands,
                    kept.key,
                    "ours",
                    owner,
                    key.registration,
                    key.entry,
                    str(key.service),
                    instance,
                    path,
                    "ready" if kept.ready else "not ready",
                )


def _published(engine: Engine, target: Target, key: PublicationKey, name: str) -> tuple[dict[str, str], str]:
    """Return under which name each record of an instance stands, and its path, as far as it is published now."""
    showing, instance = engine.reconciler.showing(target.name, key), engine.reconciler.instance(key, name)
    if showing is None or instance is None or target.sink is None:
        return {}, ""
    hops = (*instance.path, Hop(showing.near.environment, showing.far.owner))
    path = " → ".join(f"{hop.environment}/{hop.owner}" for hop in hops)
    shown = engine.reconciler.shown((target.name, key), instance)
    if isinstance(shown, Withheld) or not isinstance(shown, PublishedInstance):
        return {}, path
    try:
        rendered = list(target.sink.render(showing.publication, [shown]))
    except Exception:  # noqa: BLE001 - an adapter's bug hides names only
        return {}, path
    return {each.key: each.name for each in rendered if isinstance(each, Record)}, path
