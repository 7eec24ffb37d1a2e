"""How one registration stands: what it finds, what each of its sinks keeps, what is wrong. Reads only its own.

The cost is in proportion to the registration's instances and records; nothing else is walked. The answer holds no time
that moves by itself, so that it is equal as long as nothing happened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from waypost.engine import sought
from waypost.engine.names import told
from waypost.model import PublicationKey, ServiceKey
from waypost.settings.status import Condition, EntryStatus, RegistrationStatus, SourceStatus

if TYPE_CHECKING:
    from waypost.engine.engine import Engine
    from waypost.engine.match import Compiled, EntryRule
    from waypost.engine.publish import Showing
    from waypost.engine.target import Target
    from waypost.model import Instance

__all__ = ["MOST_PROBLEMS", "is_stale", "standing"]

MOST_PROBLEMS = 10
MOST_TEXT = 1000
MOST_NAMED = 3  # conflicts in the condition's message

_CONFLICT = "conflict: "  # how the writer begins the reason of a write that met a record of somebody else


def standing(engine: Engine, key: str, now: float) -> RegistrationStatus | None:
    """Return how `namespace/name` stands; None where nothing is known of it. `now` is monotonic."""
    compiled = engine.reconciler.matcher.compiled.get(key)
    faults = engine.faults.get(("ServiceRegistration", key), [])
    if compiled is None:
        if not faults:
            return None
        why = _short(faults[0])
        refused = (Condition("Accepted", "False", "Invalid", why), Condition("Ready", "False", "NotAccepted", why))
        return RegistrationStatus(conditions=refused, problems=tuple(map(_short, faults[:MOST_PROBLEMS])))
    registration = compiled.registration
    lacks = tuple(sought.lacks(engine, compiled))
    sources = _sources(engine, compiled, now)
    tally = _Problems()
    sinks = tuple(_entry(engine, compiled, entry, tally) for entry in compiled.entries)
    contended = sum(_contended(engine, compiled, entry, tally) for entry in compiled.entries)
    ready = sum(each.ready_instances for each in sources)
    lost = list(sought.not_found(engine, compiled, {each.name for each in sources if each.services}))
    idle = "" if ready else lost[0] if lost and not any(s.services for s in sources) else "no instance is ready"
    problems = (*faults, *(text for _, text in lacks), *_panic(engine, key), *tally.texts(), *lost)
    return RegistrationStatus(
        observed_generation=registration.generation or 0,
        conditions=(
            *_conditions(registration.generation or 0, faults, lacks, sinks, idle),
            *_conflicted(registration.generation or 0, sum(each.conflicting for each in sinks), contended, tally),
        ),
        services=sum(each.services for each in sources),
        instances=sum(each.instances for each in sources),
        ready_instances=ready,
        sources=sources,
        sinks=sinks,
        problems=tuple(map(_short, problems[:MOST_PROBLEMS])),
    )


def is_stale(engine: Engine, source: str, now: float) -> bool:
    """Say whether a source was not heard of for longer than its `staleSeconds`; never where nothing is to be heard."""
    view = engine.reconciler.views.get(source)
    declared = engine.settings.sources.get(source) if engine.settings is not None else None
    if view is None or declared is None or view.frozen or engine.is_declared(source):
        return False
    return view.last_read is None or now - view.last_read > declared.spec.safety.stale_seconds


def _panic(engine: Engine, key: str) -> Iterable[str]:
    """Say that so many checks fail that none of them counts."""
    watch = engine.overlay.watches.get(key)
    if watch is not None and watch.ward.panics:
        ward = watch.ward
        yield (
            f"healthCheck: {ward.failing} of {ward.total} fail, more than panicPercent {ward.percent}:"
            " the checks are in doubt, and nothing is withdrawn because of them"
        )


def _conditions(
    generation: int,
    faults: list[str],
    lacks: tuple[tuple[str, str], ...],
    sinks: tuple[EntryStatus, ...],
    idle: str,
) -> Iterable[Condition]:
    def condition(type_: str, no: str, message: str) -> Condition:
        status = "False" if no else "True"
        return Condition(type_, status, no or type_, _short(message), observed_generation=generation)  # type: ignore[arg-type]

    waiting = next((sink for sink in sinks if not sink.programmed), None)
    programmed = f"sinks entry `{waiting.name}`: {waiting.reason}" if waiting else ""
    yield condition(
        "Accepted", "Invalid" if faults else "", f"the former version is in force: {faults[0]}" if faults else ""
    )
    yield condition("ResolvedRefs", *(lacks[0] if lacks else ("", "")))
    yield condition("Programmed", "Pending" if waiting else "", programmed)
    if waiting or lacks or faults:
        no = "NotProgrammed" if waiting else "NotResolved" if lacks else "NotAccepted"
        yield condition("Ready", no, programmed or (lacks[0][1] if lacks else faults[0]))
    else:
        yield condition("Ready", "NoReadyInstances" if idle else "", idle)
    if held := sum(sink.held for sink in sinks):
        yield Condition("Held", "True", "Held", f"{held} changes wait for a person", generation)


def _conflicted(generation: int, conflicting: int, contended: int, tally: _Problems) -> Iterable[Condition]:
    if conflicting or contended:
        held, wanted = _some(tally.held), _some(tally.wanted)
        says = [f"{conflicting} names or records are held by others{held}"] if conflicting else []
        says += [f"{contended} of its names are wanted by others, and not shared{wanted}"] if contended else []
        reason = "Conflicted" if conflicting else "Contended"
        yield Condition("Conflicted", "True", reason, _short("; ".join(says)), generation)


def _some(texts: Iterable[str]) -> str:
    """Return the first of some texts behind a colon."""
    found = sorted(set(texts))
    more = [f"{len(found) - MOST_NAMED} more"] if found[MOST_NAMED:] else []
    return f": {', '.join((*found[:MOST_NAMED], *more))}" if found else ""


# --- what it finds


def _sources(engine: Engine, compiled: Compiled, now: float) -> tuple[SourceStatus, ...]:
    reconciler = engine.reconciler
    shown: dict[str, dict[ServiceKey, tuple[str, Showing] | None]] = {rule.name: {} for rule in compiled.sources}
    for place in reconciler.places(compiled.key):
        showing = reconciler.showings[place]
        if sought.is_granted(showing):
            shown.setdefault(showing.rule.name, {})[place[1].service] = (place[0], showing)
    found = []
    for rule in compiled.sources:
        view = reconciler.views.get(rule.source)
        services = shown[rule.name]
        if view is not None and not services and rule.exact is not None and rule.exact in view.services:
            services.update({rule.exact: None} if sought.may_read(engine, compiled, rule.exact) else {})
        instances = ready = 0
        for key, found_as in services.items():
            known = view.services.get(key) if view is not None else None
            for instance in known.instances.values() if known is not None else ():
                instances += 1
                ready += _is_ready(engine, found_as, instance)
        stale = is_stale(engine, rule.source, now)
        found.append(SourceStatus(rule.name, len(services), instances, ready, stale))
    return tuple(found)


def _is_ready(engine: Engine, found_as: tuple[str, Showing] | None, instance: Instance) -> bool:
    """Say whether it is ready: by its source, and by its check; where that has not decided, as it is published."""
    if instance.readiness != "ready" or found_as is None:
        return instance.readiness == "ready"
    sink, showing = found_as
    verdict = engine.reconciler.verdict(showing, instance)
    if verdict is None:
        return engine.reconciler.targets[sink].ledger.is_ready(showing.publication.key, instance.id)
    return verdict


# --- what its sinks keep


class _Problems:
    """Problems that many instances share are one line. `held`, `wanted`: those that are conflicts, by side."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.wanted: list[str] = []
        self._found: dict[tuple[str, str], list[str]] = {}

    def add(self, entry: str, instance: str, reason: str) -> None:
        self._found.setdefault((entry, reason), []).append(instance)

    def texts(self) -> Iterable[str]:
        for (entry, reason), instances in sorted(self._found.items()):
            named = sorted(filter(None, instances))
            more = f" and {len(named) - 1} more" if len(named) > 1 else ""
            of = f" instance {named[0]}{more}:" if named else ""
            yield f"sinks entry `{entry}`:{of} {reason}"


def _entry(engine: Engine, compiled: Compiled, entry: EntryRule, tally: _Problems) -> EntryStatus:
    target = engine.reconciler.targets.get(entry.sink)
    if target is None:
        return EntryStatus(entry.name, reason=f"there is no ServiceSink `{entry.sink}`")
    keys = {key for key, _ in _shown(engine, compiled, entry)}
    keys.update(key for key in target.ledger.by_registration.get(compiled.key, ()) if key.entry == entry.name)
    records = pending = failed = held = conflicting = 0
    why = ""
    for key in sorted(keys):
        shelf = target.ledger.shelves.get(key)
        mine = shelf.instances() if shelf is not None else ()
        records += shelf.records() if shelf is not None else 0
        pending += _pending(engine, target, key, mine)
        taken_over = {instance for instance, _ in target.twins.get(key, {}).values()}
        held += sum(_is_held(engine, target, key, instance) for instance in taken_over.union(mine))
        names, refused = _conflicts(engine, target, key)
        conflicting += names
        tally.held += refused
        wrong = {**target.problems.get(key, {}), **target.failed.get(key, {})}
        for instance, reason in wrong.items():
            tally.add(entry.name, instance, reason)
            if reason.startswith(_CONFLICT):
                conflicting += 1
                tally.held.append(reason.removeprefix(_CONFLICT))
            elif reason not in refused:
                failed += 1
                why = min(why or reason, reason)
    reason = _reason(target, conflicting, failed, held, pending, why)
    return EntryStatus(entry.name, records, pending, failed, held, conflicting, not reason, _short(reason))


def _shown(engine: Engine, compiled: Compiled, entry: EntryRule) -> Iterable[tuple[PublicationKey, Showing]]:
    """Yield what an entry publishes, without what its registration may not read."""
    for place in engine.reconciler.places(compiled.key):
        showing = engine.reconciler.showings[place]
        if place[0] == entry.sink and place[1].entry == entry.name and sought.is_granted(showing):
            yield place[1], showing


def _contended(engine: Engine, compiled: Compiled, entry: EntryRule, tally: _Problems) -> int:
    """Return how many of an entry's names other registrations want and do not get, and tell of each."""
    target = engine.reconciler.targets.get(entry.sink)
    if target is None:
        return 0
    names = {name.name for _, showing in _shown(engine, compiled, entry) for name in showing.publication.names}
    count = 0
    for name in sorted(names):
        if others := target.names.contenders(compiled.key, name):
            count += 1
            wants = f"want{'' if others[1:] else 's'} it"
            text = f"the name `{name}` stays with it, though {told(others, compiled.key)} {wants}"
            tally.add(entry.name, "", text)
            tally.wanted.append(text)
    return count


def _pending(engine: Engine, target: Target, key: PublicationKey, kept: Collection[str]) -> int:
    """Return how many instances are to be looked at or written."""
    instances = engine.reconciler.all_instances(key).union(kept)
    if target.mode != "Apply":
        return sum((key, instance) in target.planned for instance in instances)
    waiting = set(target.waiting.get(key, ()))
    if key in target.dirty:
        marked = target.dirty[key]
        waiting.update(instances if marked is None else marked)
    return len(waiting) or int(key in target.busy)


def _is_held(engine: Engine, target: Target, key: PublicationKey, instance: str) -> bool:
    if target.mode != "Apply":
        planned = target.planned.get((key, instance))
        return planned is not None and planned.hold is not None
    return engine.holds.waits(target.name, (key, instance)) is not None


def _conflicts(engine: Engine, target: Target, key: PublicationKey) -> tuple[int, set[str]]:
    """Return how many of a publication's names others hold, and the reasons as the plan words them."""
    showing = engine.reconciler.showing(target.name, key)
    if showing is None or showing.refused:
        return 0, set()
    reasons = [target.names.conflict(key, name.name) for name in showing.publication.names]
    found = {reason for reason in reasons if reason is not None}
    return len(found), found


def _reason(target: Target, conflicting: int, failed: int, held: int, pending: int, why: str) -> str:
    """Say why the sink has not all that it should have; "" where it has. `why`: of one that cannot be written."""
    condition = target.condition
    if not condition.ok:
        return f"the sink is not written to: {condition.reason}{f': {condition.message}' if condition.message else ''}"
    if condition.reason == "Standby":
        return "another process leads and writes"
    if target.mode != "Apply":
        return f"the sink's mode is {target.mode}: nothing is written"
    if not target.loaded:
        return "what the sink holds is being read"
    counts = {
        "names or records held by others": conflicting,
        f"cannot be written ({why})" if why else "cannot be written": failed,
        "wait for a person": held,
        "to be written": pending,
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _short(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"
