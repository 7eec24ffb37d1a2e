"""What the sources entries of a registration look for: what they may not read, and what is not there. Reads only.

Who writes a registration may not know what is in namespaces that no grant lets them read. So it is told from the
manifests alone that something is not granted, never from what is there, and what is not granted is counted nowhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from waypost.engine import grants
from waypost.settings import not_adopted, unresolved

if TYPE_CHECKING:
    from waypost.engine.engine import Engine
    from waypost.engine.match import Compiled, SourceRule
    from waypost.engine.publish import Showing
    from waypost.model import ServiceKey

__all__ = ["is_granted", "lacks", "may_read", "not_found"]


def is_granted(showing: Showing) -> bool:
    """Say whether a grant of the source lets the registration read the service that is shown."""
    if not showing.refused:
        return True
    namespace = showing.compiled.registration.metadata.namespace
    return grants.may_read(showing.near.grants, namespace, showing.publication.key.service.namespace)


def may_read(engine: Engine, compiled: Compiled, key: ServiceKey) -> bool:
    """Say whether a grant lets a registration read a service."""
    near = engine.reconciler.near.get(key.source)
    return near is None or grants.may_read(near.grants, compiled.registration.metadata.namespace, key.namespace)


def lacks(engine: Engine, compiled: Compiled) -> Iterator[tuple[str, str]]:
    """Yield what a registration names and cannot have, each with the reason of a condition."""
    if engine.settings is not None:
        yield from (("NotFound", text) for text in unresolved(engine.settings, compiled.registration))
    yield from (("RefNotPermitted", text) for text in _not_granted(engine, compiled))
    if engine.settings is not None:
        yield from (("AdoptionNotPermitted", text) for text in not_adopted(engine.settings, compiled.registration))


def _not_granted(engine: Engine, compiled: Compiled) -> Iterator[str]:
    """Tell of the namespaces that the entries name and may not read."""
    mine = compiled.registration.metadata.namespace
    for rule in compiled.sources:
        near = engine.reconciler.near.get(rule.source)
        for namespace in _named(compiled, rule) if near is not None else ():
            if near is not None and not grants.may_read(near.grants, mine, namespace):
                meant = _meant(engine, compiled, rule)
                yield f"sources entry `{rule.name}`: {grants.not_readable(mine, namespace)}{meant}"


def not_found(engine: Engine, compiled: Compiled, found: Collection[str]) -> Iterator[str]:
    """Tell of the entries that find no service in a source that was read whole. `found`: the entries that do."""
    for rule in compiled.sources:
        view = engine.reconciler.views.get(rule.source)
        if rule.name in found or view is None or not view.complete:
            continue
        if rule.exact is None and not found:
            yield f"sources entry `{rule.name}`: nothing that it may read in source `{rule.source}` is selected"
        elif rule.exact is not None and may_read(engine, compiled, rule.exact):
            what = "/".join(filter(None, (rule.exact.namespace, rule.exact.name)))
            meant = _meant(engine, compiled, rule)
            yield f"sources entry `{rule.name}`: source `{rule.source}` has no service `{what}`{meant}"


def _named(compiled: Compiled, rule: SourceRule) -> Iterable[str]:
    """Return the namespaces that an entry names in full."""
    if rule.exact is not None:
        return (rule.exact.namespace,)
    spec: Any = next(each for each in compiled.registration.spec.sources if each.name == rule.name)
    listed = spec.selector.namespaces if spec.selector is not None else None
    return [each for each in listed or () if not set("*?[").intersection(each)]


def _meant(engine: Engine, compiled: Compiled, rule: SourceRule) -> str:
    """Say that a namespace was forgotten, where the registration's own one has the service."""
    view = engine.reconciler.views.get(rule.source)
    if rule.exact is None or rule.exact.namespace or view is None:
        return ""
    own = msgspec.structs.replace(rule.exact, namespace=compiled.registration.metadata.namespace)
    there = own in view.services and may_read(engine, compiled, own)
    return f"; there is `{own.namespace}/{own.name}`: give `service.namespace`" if there else ""
