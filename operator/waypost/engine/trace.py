"""The steps from one instance to its record in one sink, as far as each got. Pure, as `Sink.render` is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from waypost.adapter import InvalidRecord, Record, fingerprint
from waypost.engine.catalog import Absence
from waypost.engine.publish import Withheld
from waypost.model import Instance, PublicationKey, PublishedInstance

if TYPE_CHECKING:
    from waypost.engine.engine import Engine
    from waypost.engine.publish import Showing
    from waypost.engine.target import Target

__all__ = ["Line", "Trace", "source_lines", "target_line", "trace"]

_DO = {
    "present": "nothing, if that is meant; else see the source's README",
    "not-ready": "find out why its source says so; `notReady: Publish` in the entry would publish it as not ready",
    "addresses": "correct `addresses` of the sources entry, or name the network in the source's `allowedCIDRs`",
    "waits": "look at it with `waypost holds`; let it pass with `waypost approve NAME`, or bring the cause to an end",
}


class Line(msgspec.Struct, frozen=True, rename="camel"):
    """One step. `ok` None: it says neither well nor ill. `do`: what to do about it."""

    step: str
    ok: bool | None
    text: str
    do: str = ""


class Trace(msgspec.Struct, frozen=True, rename="camel"):
    """The steps of one instance in one sink, or of what comes before there is one. `answer` is the last word."""

    subject: str
    ok: bool
    answer: str
    lines: list[Line]


def trace(engine: Engine, target: Target, key: PublicationKey, instance: str) -> Trace:
    """Return the steps of one instance of a publication."""
    lines = list(_steps(engine, target, key, instance))
    last = lines[-1]
    wrong = next((line for line in lines if line.ok is False), None)
    answer = wrong.text if wrong is not None else last.text
    subject = f"instance {instance} of {key.service}, by {key.registration} entry {key.entry}, in sink {target.name}"
    return Trace(subject, wrong is None, answer, lines)


def source_lines(engine: Engine, name: str, *, stale: bool) -> Iterator[Line]:
    """Tell of a source: declared, reached, read whole."""
    settings = engine.settings
    if settings is None or name not in settings.sources:
        yield Line("source", False, f"there is no ServiceSource `{name}`", "declare it, or correct `sourceRef`")
        return
    view, runner = engine.reconciler.views.get(name), engine.sources.get(name)
    if view is not None and view.frozen:
        yield Line("source", None, f"source {name} is frozen: what was known is kept, nothing is read")
        return
    condition = runner.condition if runner is not None else None
    if condition is None or not condition.ok:
        why = f"{condition.reason} {condition.message}".rstrip() if condition is not None else "Starting"
        do = "make it reachable or correct its manifest; until then what is registered stays as it is"
        yield Line("source", False, f"source {name} is not read: {why}", do)
    else:
        yield Line(
            "source", None if stale else True, f"source {name} is read{', but not heard of lately' if stale else ''}"
        )
    if view is None or not view.complete:
        do = "wait for the first whole reading; nothing is removed before"
        yield Line("view", False, f"source {name} has not been read whole", do)
    else:
        yield Line(
            "view", True, f"the view of {name} is complete: {len(view.services)} services, {view.count} instances"
        )


def target_line(target: Target) -> Line:
    """Tell of a sink: reached, written to."""
    condition = target.condition
    if target.mode == "Paused":
        return Line("sink", False, f"sink {target.name} is paused", f"waypost resume {target.name}, or `mode: Apply`")
    if not condition.ok:
        text = f"sink {target.name} is not written to: {condition.reason} {condition.message}".rstrip()
        return Line("sink", False, text, "make it reachable or correct its manifest; what it holds stays as it is")
    if condition.reason == "Standby":
        return Line("sink", None, f"sink {target.name}: another process leads and writes")
    if target.mode == "DryRun":
        return Line("sink", False, f"sink {target.name} is in mode DryRun: nothing is written", "set `mode: Apply`")
    if not target.loaded:
        return Line("sink", False, f"what sink {target.name} holds is being read", "wait")
    return Line("sink", True, f"sink {target.name} is written to; it holds {target.ledger.records} records of ours")


def _steps(engine: Engine, target: Target, key: PublicationKey, name: str) -> Iterator[Line]:
    reconciler = engine.reconciler
    showing, instance = reconciler.showing(target.name, key), reconciler.instance(key, name)
    if showing is None or instance is None:
        yield from _absent(engine, target, key, name, showing)
        return
    rule = showing.rule.name
    yield Line("service", True, f"service {key.service} is known, and matched by sources entry `{rule}`")
    doubted = name in reconciler.views[key.service.source].doubt.of(key.service)
    text = f"instance {name} is known; its source says that it is {instance.readiness}"
    yield Line("instance", True, text + (", but it was absent from the last view and is doubted" if doubted else ""))
    if showing.refused:
        yield Line("publication", False, showing.refused, "change the registration, or ask who owns the source or sink")
        return
    verdict = reconciler.verdict(showing, instance)
    if showing.compiled.registration.spec.health_check is not None:
        yield _health(engine, target, key, name, verdict)
    shown = reconciler.shown((target.name, key), instance)
    if not isinstance(shown, PublishedInstance):
        assert isinstance(shown, Withheld)
        yield Line("published", False, f"it is not published: {shown.reason}", _advice(shown, instance))
        yield from _ledger(engine, target, key, name, None)
        return
    addresses = ", ".join(address.value for address in shown.addresses[:4])
    ports = ", ".join(f"{port.name or '-'}:{port.number}" for port in shown.ports[:8]) or "none"
    state = "ready" if shown.ready else "not ready"
    yield Line("published", True, f"it is published as {state}, weight {shown.weight}: {addresses}; ports {ports}")
    yield from _named(target, key, showing)
    records, invalid = _rendered(target, showing, shown)
    for reason in invalid:
        yield Line(
            "record", False, f"the sink cannot hold it: {reason}", "change `names`, or the labels they are made of"
        )
    if not invalid:
        keys = ", ".join(record.key for record in records[:4]) or "none: the sink holds no record for such an instance"
        yield Line("record", True, f"its records would be: {keys}")
    yield from _ledger(engine, target, key, name, records)


def _health(engine: Engine, target: Target, key: PublicationKey, name: str, verdict: bool | None) -> Line:  # noqa: FBT001 - a finding
    told = {True: "passes", False: "fails", None: "has not decided yet"}[verdict]
    watch = engine.overlay.watches.get(key.registration)
    follower = watch.followers.get((target.name, key)) if watch is not None else None
    if watch is None or follower is None:
        return Line("health", verdict, f"its health check {told}")
    if (why := follower.unchecked.get(name)) is not None:
        return Line(
            "health", None, f"it cannot be checked: {why}", "correct `healthCheck`, or the source's `allowedCIDRs`"
        )
    subject = follower.subjects.get(name)
    reason = f": {subject.reason}" if subject is not None and subject.reason else ""
    if watch.ward.panics:
        text = (
            f"{watch.ward.failing} of {watch.ward.total} checks fail: panic, none is withdrawn because of them{reason}"
        )
        return Line("health", None, text, "look at the checks and at the way to the instances")
    return Line("health", verdict, f"its health check {told}{reason}")


def _absent(engine: Engine, target: Target, key: PublicationKey, name: str, showing: Showing | None) -> Iterator[Line]:
    """Tell why there is no such instance, and what becomes of its record."""
    view = engine.reconciler.views.get(key.service.source)
    if showing is None:
        do = "compare `sources` and `sinks` of the registration with what the source has (`waypost discover`)"
        yield Line(
            "service", False, f"{key.registration} does not publish {key.service} by entry `{key.entry}` now", do
        )
    elif view is not None:
        absence = view.absence(key.service, name)
        text = absence.value if absence is not Absence.PRESENT else "present"
        yield Line(
            "instance", False, f"the source has no instance {name}: {text}", "look whether it runs, and under which id"
        )
    kept = target.ledger.kept(key, name)
    if not kept:
        yield Line("ledger", None, "the sink has no record of it")
        return
    keys = ", ".join(k.key for k in kept[:4])
    cause, hold, reason = engine.reconciler.fate(target.name, key, name)
    waits = engine.holds.waits(target.name, (key, name)) or hold
    if waits is not None:
        yield Line("ledger", False, f"its record {keys} stays, waiting for a person ({waits}): {reason}", _DO["waits"])
    elif cause is None:
        yield Line("ledger", None, f"its record {keys} stays: {reason}")
    else:
        yield Line("ledger", None, f"its record {keys} is on its way out: {reason}")


def _advice(shown: Withheld, instance: Instance) -> str:
    if instance.readiness == "not-ready" or shown.cause == "health":
        return _DO["not-ready"]
    return _DO["addresses"] if "address" in shown.reason or "allowedCIDRs" in shown.reason else _DO["present"]


def _named(target: Target, key: PublicationKey, showing: Showing) -> Iterator[Line]:
    for name in showing.publication.names:
        text = f"name {name.name}{f' for port {name.port}' if name.port else ''}"
        if (reason := target.names.conflict(key, name.name, whole=True)) is not None:
            do = "change `names` in one of the two registrations, or delete the other"
            yield Line("name", False, f"{text}: {reason}", do)
        else:
            yield Line("name", True, f"{text} is free, or ours")


def _rendered(target: Target, showing: Showing, shown: PublishedInstance) -> tuple[list[Record], list[str]]:
    if target.sink is None:
        return [], []
    try:
        rendered = list(target.sink.render(showing.publication, [shown]))
    except Exception as error:  # noqa: BLE001 - an adapter's bug is an answer too
        return [], [str(error) if isinstance(error, InvalidRecord) else f"the adapter failed: {error!r}"]
    invalid = [str(item) for item in rendered if isinstance(item, InvalidRecord)]
    return [item for item in rendered if isinstance(item, Record)], invalid


def _ledger(
    engine: Engine, target: Target, key: PublicationKey, name: str, records: list[Record] | None
) -> Iterator[Line]:
    """Compare what should be there with what is; None: nothing should be."""
    kept = {k.key: k for k in target.ledger.kept(key, name)}
    yield target_line(target)
    if not target.loaded:
        return
    wanted = {record.key: record for record in records or ()}
    missing = [k for k in wanted if k not in kept]
    differs = [k for k, r in wanted.items() if k in kept and kept[k].fingerprint != fingerprint(r.content)]
    surplus = [k for k in kept if k not in wanted]
    if not missing and not differs and not surplus:
        yield Line(
            "ledger", True, f"it is in the sink, as it should be: {', '.join(kept)}" if kept else "no record is there"
        )
        return
    told = [("missing", missing), ("different", differs), ("there and should not be", surplus)]
    yield Line("ledger", False, "; ".join(f"{what}: {', '.join(keys[:4])}" for what, keys in told if keys))
    yield _why_not_yet(engine, target, key, name)


def _why_not_yet(engine: Engine, target: Target, key: PublicationKey, name: str) -> Line:
    if (cause := engine.holds.waits(target.name, (key, name))) is not None:
        return Line("write", False, f"it waits for a person: {cause}", _DO["waits"])
    if (reason := target.failed.get(key, {}).get(name)) is not None:
        do = "correct what the target names; it is tried again with each full reading and each change"
        if reason.startswith("conflict"):
            do = "a record that is not ours has this key: remove it, or publish under another name"
        return Line("write", False, f"the target refused it: {reason}", do)
    if (reason := target.problems.get(key, {}).get(name) or target.problems.get(key, {}).get("")) is not None:
        return Line("write", False, reason)
    if target.mode != "Apply":
        planned = target.planned.get((key, name))
        held = f"; it would wait for a person: {planned.hold}" if planned is not None and planned.hold else ""
        return Line("write", False, f"it would be written, but the sink's mode is {target.mode}{held}")
    return Line("write", None, "the write is on its way, or waits for others beside it", "ask again in a moment")
