"""Says step by step why something is, or is not, in a sink: each step a line, whether it is well, and what to do.

Reads only, but for one question to the sinks: what others keep under the names concerned.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from waypost.adapter import AdapterError
from waypost.engine.standing import is_stale
from waypost.engine.trace import Line, Trace, source_lines, target_line, trace
from waypost.model import PublicationKey

if TYPE_CHECKING:
    from waypost.engine.engine import Engine
    from waypost.engine.match import Compiled, SourceRule
    from waypost.engine.target import Target

__all__ = ["Explanation", "Question", "explain"]

MOST_TRACES = 20
MOST_LOOKED_AT = 500
MOST_REGISTRATIONS = 5
MOST_NAMES = 20
INSPECT_SECONDS = 5.0
SLICE_SECONDS = 0.002

Text = Annotated[str, Meta(max_length=1024)]


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked: a registration (`namespace/name`), a service, an instance's id, a published name; and where.

    All that is given narrows the answer; at least one but `sink` must be.
    """

    registration: Text = ""
    service: Text = ""
    instance: Text = ""
    name: Text = ""
    sink: Text = ""


class Explanation(msgspec.Struct, frozen=True, rename="camel"):
    """The answer. `omitted` tells how many instances were not told of: what is not well comes first."""

    ok: bool
    traces: list[Trace]
    omitted: int = 0


async def explain(engine: Engine, question: Question, now: float) -> Explanation:
    """Answer a question. `now` is monotonic. Bounded in instances, names and seconds."""
    registrations = await _registrations(engine, question)
    traces = [_registration(engine, key, question, now) for key in registrations]
    if not registrations:
        traces = [_unknown(engine, question)]
    found: list[Trace] = []
    looked_at = omitted = 0
    async for target, key, instance in _instances(engine, registrations, question):
        looked_at += 1
        if looked_at > MOST_LOOKED_AT:
            omitted += 1
        else:
            found.append(trace(engine, target, key, instance))
    found.sort(key=lambda each: each.ok)
    traces += found[:MOST_TRACES]
    if registrations and not found and question.instance:
        traces.append(_unknown(engine, question))
    traces += await _foreign(engine, registrations, question)
    return Explanation(all(each.ok for each in traces), traces, omitted + max(0, len(found) - MOST_TRACES))


# --- what is meant


async def _registrations(engine: Engine, question: Question) -> list[str]:
    compiled = engine.reconciler.matcher.compiled
    if question.registration:
        named = question.registration
        return (
            [named]
            if "/" in named
            else sorted(key for key in compiled if key.endswith(f"/{named}")) or [f"default/{named}"]
        )
    found: set[str] = set()
    async for target, key in _publications(engine):
        if question.sink and target.name != question.sink:
            continue
        if _fits(engine, target, key, question):
            found.add(key.registration)
    return sorted(found)[:MOST_REGISTRATIONS]


async def _publications(engine: Engine) -> AsyncIterator[tuple[Target, PublicationKey]]:
    """Yield all publications and leftovers, letting others run."""
    began = time.perf_counter()
    targets = dict(engine.reconciler.targets)
    showings = list(engine.reconciler.showings)
    shelves = [(name, key) for name, target in targets.items() for key in target.ledger.shelves]
    for name, key in (*showings, *shelves):
        if name in targets:
            yield targets[name], key
        if time.perf_counter() - began > SLICE_SECONDS:
            await asyncio.sleep(0)
            began = time.perf_counter()


def _fits(engine: Engine, target: Target, key: PublicationKey, question: Question) -> bool:
    if not (question.service or question.name or question.instance):
        return False
    if question.service and question.service not in {key.service.name, str(key.service)}:
        return False
    if question.name:
        showing, canonical = engine.reconciler.showing(target.name, key), target.names.canonical
        names = {canonical(name.name) for name in showing.publication.names} if showing is not None else set()
        if canonical(question.name) not in names.union(target.names.left.get(key, ())):
            return False
    return not question.instance or _has(engine, target, key, question.instance)


def _has(engine: Engine, target: Target, key: PublicationKey, instance: str) -> bool:
    return engine.reconciler.instance(key, instance) is not None or bool(target.ledger.kept(key, instance))


async def _instances(
    engine: Engine, registrations: list[str], question: Question
) -> AsyncIterator[tuple[Target, PublicationKey, str]]:
    narrowed = msgspec.structs.replace(question, registration="")
    for registration in registrations:
        for target in [t for name, t in sorted(engine.reconciler.targets.items()) if question.sink in {"", name}]:
            keys = {key for name, key in engine.reconciler.places(registration) if name == target.name}
            keys.update(target.ledger.by_registration.get(registration, ()))
            for key in sorted(keys):
                if (narrowed.service or narrowed.name) and not _fits(
                    engine, target, key, msgspec.structs.replace(narrowed, instance="")
                ):
                    continue
                mine = engine.reconciler.all_instances(key) | set(target.ledger.instances(key))
                for instance in sorted(mine):
                    if question.instance in {"", instance}:
                        yield target, key, instance
                await asyncio.sleep(0)


# --- what comes before an instance


def _registration(engine: Engine, key: str, question: Question, now: float) -> Trace:
    """Tell of a registration: accepted, its sources, what it matches, its sinks."""
    lines = list(_registration_lines(engine, key, question, now))
    wrong = next((line for line in lines if line.ok is False), None)
    return Trace(
        f"registration {key}", wrong is None, wrong.text if wrong is not None else "all that it names is there", lines
    )


def _registration_lines(engine: Engine, key: str, question: Question, now: float) -> Iterator[Line]:
    settings = engine.settings
    compiled = engine.reconciler.matcher.compiled.get(key)
    faults = [p for p in settings.problems if p.name == key] if settings is not None else []
    for fault in faults[:10]:
        yield Line("manifest", False, str(fault), "correct it; `waypost validate -f PATH` tells the same")
    if compiled is None:
        if not faults:
            near = [known for known in engine.reconciler.matcher.compiled if known.endswith(key.rpartition("/")[2])][:5]
            meant = f"; there are {', '.join(near)}" if near else ""
            yield Line("registration", False, f"there is no registration {key}{meant}", "see `waypost status`")
        return
    yield Line("registration", True, f"{key} is accepted{', in its former version' if faults else ''}")
    for rule in compiled.sources:
        yield from source_lines(engine, rule.source, stale=is_stale(engine, rule.source, now))
        yield from _matched(engine, compiled, rule)
    for entry in compiled.entries:
        if question.sink not in {"", entry.sink}:
            continue
        target = engine.reconciler.targets.get(entry.sink)
        if target is None:
            yield Line("sink", False, f"there is no ServiceSink `{entry.sink}`", "declare it, or correct `sinkRef`")
        else:
            yield target_line(target)


def _matched(engine: Engine, compiled: Compiled, rule: SourceRule) -> Iterator[Line]:
    view = engine.reconciler.views.get(rule.source)
    if view is None:
        return
    if rule.exact is not None:
        known = view.services.get(rule.exact)
        if known is None:
            do = f"`waypost discover --source {rule.source}` lists what there is; compare namespace and name"
            near = [str(k) for k in view.services if k.name == rule.exact.name][:3]
            meant = f"; there is {', '.join(near)}" if near else ""
            yield Line("service", False, f"sources entry `{rule.name}`: no service {rule.exact}{meant}", do)
        else:
            yield Line("service", True, f"service {rule.exact} has {len(known.instances)} instances")
        return
    services = {
        place[1].service
        for place in engine.reconciler.places(compiled.key)
        if engine.reconciler.showings[place].rule.name == rule.name
    }
    do = "" if services else f"`waypost discover --source {rule.source}` lists services and their labels"
    yield Line("service", bool(services), f"sources entry `{rule.name}` selects {len(services)} services", do)


def _unknown(engine: Engine, question: Question) -> Trace:
    """Tell of something that no registration publishes."""
    lines = []
    for name, view in sorted(engine.reconciler.views.items()):
        for key, known in view.services.items():
            if question.service in {key.name, str(key)} or (question.instance and question.instance in known.instances):
                what = f"instance {question.instance} of {key}" if question.instance else f"service {key}"
                text = f"source {name} has {what}, and no registration that was asked about publishes it"
                lines.append(Line("service", False, text, "write a registration whose `sources` names the service"))
            if len(lines) == MOST_REGISTRATIONS:
                break
    for target in engine.reconciler.targets.values() if question.name else ():
        if question.sink in {"", target.name}:
            text = f"nothing of ours has the name {question.name} in sink {target.name}"
            lines += [Line("name", None, text)]
    if not lines:
        lines.append(
            Line("found", False, "nothing of that name is known", "`waypost discover` lists what sources have")
        )
    asked = {k: v for k, v in msgspec.structs.asdict(question).items() if v}
    return Trace(", ".join(f"{k} {v}" for k, v in asked.items()), ok=False, answer=lines[0].text, lines=lines)


# --- what others keep


async def _foreign(engine: Engine, registrations: list[str], question: Question) -> list[Trace]:
    """Ask the sinks what others keep under the names concerned; a sink that does not answer in time is said."""
    found = []
    for target in list(engine.reconciler.targets.values()):
        if question.sink not in {"", target.name} or target.sink is None or not target.loaded:
            continue
        names = {question.name} if question.name else set()
        for name, key in [p for r in registrations for p in engine.reconciler.places(r)] if not names else ():
            if name == target.name and question.service in {"", key.service.name, str(key.service)}:
                names.update(n.name for n in engine.reconciler.showings[name, key].publication.names)
        if not names:
            continue
        lines = await _inspected(target, sorted(names)[:MOST_NAMES])
        if lines:
            found.append(Trace(f"what others keep in sink {target.name}", ok=True, answer=lines[0].text, lines=lines))
    return found


async def _inspected(target: Target, names: list[str]) -> list[Line]:
    assert target.sink is not None
    try:
        async with asyncio.timeout(INSPECT_SECONDS):
            foreign = await target.sink.inspect(names)
    except (AdapterError, TimeoutError) as error:
        why = str(error) or "no answer in time"
        return [Line("others", None, f"the sink did not say what others keep: {why}")]
    return [
        Line(
            "others",
            None,
            f"{each.name}: {each.key} is {f'of owner {each.owner}' if each.owner else 'not ours'}: {each.summary}",
        )
        for each in foreign[:20]
    ]
