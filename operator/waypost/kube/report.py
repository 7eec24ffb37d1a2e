"""What the status of a custom resource should say, and whether that is news. Reads the engine, writes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from waypost.engine.engine import Engine
from waypost.engine.standing import standing
from waypost.engine.target import Target
from waypost.kube.objects import Item
from waypost.settings import ServiceMirror, ServiceRegistration, ServiceSink, ServiceSource
from waypost.settings.status import STATUSES, Condition, ObjectStatus, RegistrationStatus

__all__ = ["Status", "dated", "former", "is_passing", "same", "wanted"]

Status = ObjectStatus | RegistrationStatus

MOST_PROBLEMS = 10
MOST_TEXT = 1000


def wanted(engine: Engine, kind: str, item: Item, now: float) -> Status | None:
    """Return the status an object should have; None where the engine does not know it yet, or no more."""
    status = _wanted(engine, kind, item, now)
    return _legible(status) if status is not None else None


def _wanted(engine: Engine, kind: str, item: Item, now: float) -> Status | None:
    if kind == ServiceRegistration.kind:
        return _registration(engine, item, now)
    if kind == ServiceSource.kind:
        return _source(engine, item)
    if kind == ServiceSink.kind:
        return _sink(engine, item)
    if kind == ServiceMirror.kind:
        faults = _faults(engine, kind, item)
        return _object(item, faults, (), ready=("", "")) if faults else None
    return None


def _registration(engine: Engine, item: Item, now: float) -> RegistrationStatus | None:
    key, generation = item.key, item.metadata.generation
    status = standing(engine, key, now)
    if status is None:
        return None
    faults = engine.faults.get((ServiceRegistration.kind, key))
    in_force = engine.settings.registrations.get(key) if engine.settings is not None else None
    if not faults and (in_force is None or in_force.generation != generation):
        return None  # the engine has not been told yet
    conditions = tuple(
        msgspec.structs.replace(each, observed_generation=generation, message=_plain(each.message, item))
        for each in status.conditions
    )
    problems = tuple(_plain(text, item) for text in status.problems)
    return msgspec.structs.replace(status, observed_generation=generation, conditions=conditions, problems=problems)


def _source(engine: Engine, item: Item) -> ObjectStatus | None:
    name, faults = item.key, _faults(engine, ServiceSource.kind, item)
    declared = engine.settings.sources.get(name) if engine.settings is not None else None
    if declared is None:
        return _object(item, faults, (), ready=("NotAccepted", "")) if faults else None
    warnings = engine.contexts.warned("source", name)
    if declared.spec.mode == "Frozen":
        return _object(item, faults, warnings.items(), ready=("", "the manifest froze it: nothing is read"))
    runner = engine.sources.get(name)
    if runner is None:
        return None
    condition = runner.condition
    if not condition.ok and condition.reason == "Starting":
        return None
    return _object(item, faults, warnings.items(), ready=("" if condition.ok else condition.reason, condition.message))


def _sink(engine: Engine, item: Item) -> ObjectStatus | None:
    name, faults = item.key, _faults(engine, ServiceSink.kind, item)
    target = engine.reconciler.targets.get(name)
    if target is None:
        return _object(item, faults, (), ready=("NotAccepted", "")) if faults else None
    condition, warnings = target.condition, engine.contexts.warned("sink", name)
    if condition.reason in {"Starting", "Standby"} or (condition.ok and not target.loaded and target.mode == "Apply"):
        return None
    made = _object(item, faults, warnings.items(), ready=("" if condition.ok else condition.reason, condition.message))
    generation = item.metadata.generation
    idle = condition.reason if not condition.ok else "" if target.mode == "Apply" else target.mode
    extra = [_condition("Programmed", idle, "" if not idle else "nothing is written", generation)]
    if held := len(engine.holds.waiting(name)):
        extra.append(Condition("Held", "True", "Held", f"{held} changes wait for a person", generation))
    return msgspec.structs.replace(made, conditions=(*made.conditions, *extra))


def _object(
    item: Item, faults: list[str], warnings: Iterable[tuple[str, str]], *, ready: tuple[str, str]
) -> ObjectStatus:
    generation, told = item.metadata.generation, dict(warnings)
    missing = told.get("CredentialMissing", "")
    reason, message = ready
    reason = reason or ("NotAccepted" if faults else "NotResolved" if missing else "")
    message = message or (faults[0] if faults else missing)
    conditions = (
        _condition("Accepted", "Invalid" if faults else "", faults[0] if faults else "", generation),
        _condition("ResolvedRefs", "NotFound" if missing else "", missing, generation),
        _condition("Ready", reason, message, generation),
    )
    problems = [*faults, *(f"{name}: {text}" for name, text in sorted(told.items()))]
    return ObjectStatus(generation, conditions, tuple(map(_short, problems[:MOST_PROBLEMS])))


def _faults(engine: Engine, kind: str, item: Item) -> list[str]:
    return [_plain(text, item) for text in engine.faults.get((kind, item.key), ())]


def _plain(text: str, item: Item) -> str:
    """Return a text without the object's own name: who reads it looks at the object."""
    return text.replace(f"{item.document.file}: ", "")


def _legible(status: Status) -> Status:
    r"""Return it without characters that break lines, drive a terminal or hide something: others wrote the names in it.

    Clients print a status as it is. What is written in place of one is what the command line shows: `\u{1b}`.
    """
    conditions = tuple(msgspec.structs.replace(each, message=_visible(each.message)) for each in status.conditions)
    status = msgspec.structs.replace(status, conditions=conditions, problems=tuple(map(_visible, status.problems)))
    if isinstance(status, RegistrationStatus):
        sinks = tuple(msgspec.structs.replace(each, reason=_visible(each.reason)) for each in status.sinks)
        return msgspec.structs.replace(status, sinks=sinks)
    return status


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\u{{{ord(char):x}}}" for char in text)


def _condition(type_: str, no: str, message: str, generation: int) -> Condition:
    return Condition(type_, "False" if no else "True", no or type_, _short(message), generation)


def _short(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"


def is_passing(engine: Engine, kind: str, item: Item, status: Status) -> str:
    """Say whether what a status says is likely to pass within moments: `starting`, `pending`, or "" where it is not."""
    if kind != ServiceRegistration.kind or not isinstance(status, RegistrationStatus):
        return ""
    made = item.document.decoded.object
    entries = made.spec.sinks if isinstance(made, ServiceRegistration) else ()
    targets = [t for entry in entries if (t := engine.reconciler.targets.get(entry.sink_ref.name)) is not None]
    if any(_starts(target) for target in targets):
        return "starting"
    sources = [view for each in status.sources if (view := engine.reconciler.views.get(_source_of(made, each.name)))]
    if any(not view.complete and not view.frozen for view in sources):
        return "starting"
    return "pending" if any(each.pending for each in status.sinks) else ""


def _source_of(made: Any, entry: str) -> str:
    return next((each.source_ref.name for each in made.spec.sources if each.name == entry), "") if made else ""


def _starts(target: Target) -> bool:
    condition = target.condition
    return condition.reason in {"Starting", "Standby"} or (condition.ok and not target.loaded)


# --- beside what the object has


def former(kind: str, item: Item) -> Status | None:
    """Return the status that an object has; None where it has none that we could have written."""
    if not item.status:
        return None
    try:
        found: Any = msgspec.json.decode(item.status, type=STATUSES[kind])
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, ObjectStatus | RegistrationStatus) and found.conditions else None


def same(one: Status, other: Status | None) -> bool:
    """Say whether two statuses say the same, whenever that began."""
    return other is not None and _timeless(one) == _timeless(other)


def _timeless(status: Status) -> Status:
    conditions = sorted(status.conditions, key=lambda each: each.type)
    timeless = tuple(msgspec.structs.replace(each, last_transition_time="") for each in conditions)
    return msgspec.structs.replace(status, conditions=timeless)


def dated(status: Status, before: Status | None, now: str) -> Status:
    """Return a status whose conditions say since when they are as they are; `now` in RFC 3339."""
    since = {each.type: each for each in (before.conditions if before is not None else ())}

    def date(condition: Condition) -> Condition:
        known = since.get(condition.type)
        kept = known is not None and known.status == condition.status and known.last_transition_time
        time = known.last_transition_time if known is not None and kept else now
        return msgspec.structs.replace(condition, last_transition_time=time)

    return msgspec.structs.replace(status, conditions=tuple(map(date, status.conditions)))
