"""Steps at manifests: added, edited, renamed, deleted, broken; sources and sinks too."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.simulation.acts import act, some_registration, some_sink, some_source
from tests.simulation.manifests import BROKEN, GONE
from tests.simulation.schedule import Registered, Schedule
from tests.simulation.world import World


def drawn_registration(random: Random, schedule: Schedule) -> Registered:
    """Draw what a registration may say."""
    source, service, _ = random.choice(schedule.services)
    sinks = tuple(outlet.name for outlet in schedule.outlets if random.random() < 0.7)
    name = service
    if random.random() < 0.25:
        name = random.choice([f"{service}-b", f"{service}-c", "{service}-all", schedule.services[0][1]])
    return Registered(
        source=source,
        service="*" if "{" in name else service,
        name=name,
        sinks=sinks or (schedule.outlets[0].name,),
        drain_seconds=random.choice([0, 20, 20, 60]),
        not_ready=random.choice(["Withhold", "Withhold", "Publish"]),
        mark=random.choice(["", "", "1", "2"]),
        checked=any(form.checked for _, form in schedule.registrations) and random.random() < 0.4,
    )


def _edit(random: Random, schedule: Schedule) -> tuple[Any, ...]:
    return some_registration(random, schedule), drawn_registration(random, schedule)


@act(8, _edit)
def edit(world: World, name: str, form: Registered) -> None:
    """A registration is written anew."""
    world.manifest(f"registration/{name}", form)


@act(4, lambda random, schedule: (some_registration(random, schedule), random.choice("123")))
def edit_mark(world: World, name: str, mark: str) -> None:
    """A registration's metadata changes, and no more."""
    form = world.manifests.now.get(f"registration/{name}")
    if isinstance(form, Registered):
        world.manifest(f"registration/{name}", Registered(**{**_fields(form), "mark": mark}))


def _fields(form: Registered) -> dict[str, Any]:
    return {field: getattr(form, field) for field in form.__struct_fields__}


@act(5, lambda random, schedule: (some_registration(random, schedule), random.choice("xyz"), random.random() < 0.5))
def rename(world: World, name: str, to: str, first: bool) -> None:
    """A registration is called otherwise: the new one is there first, or the old one is gone first."""
    form = world.manifests.now.get(f"registration/{name}")
    if not isinstance(form, Registered):
        return
    if first:
        world.manifest(f"registration/{to}", form)
    world.manifest(f"registration/{name}", GONE)
    if not first:
        world.manifest(f"registration/{to}", form)


@act(4, lambda random, schedule: (random.choice([some_registration(random, schedule), *"xyz"]),))
def delete(world: World, name: str) -> None:
    """A registration is deleted."""
    world.manifest(f"registration/{name}", GONE)


@act(3, lambda random, schedule: (some_registration(random, schedule),))
def break_manifest(world: World, name: str) -> None:
    """A registration's document cannot be read."""
    world.manifest(f"registration/{name}", BROKEN)


@act(5, lambda random, schedule: (some_registration(random, schedule), drawn_registration(random, schedule)))
def mend(world: World, name: str, form: Registered) -> None:
    """Broken documents are mended, with what they said before or something new."""
    for broken in [key for key, state in world.manifests.now.items() if state == BROKEN]:
        kind, _, named = broken.partition("/")
        former = [f for _, f in world.manifests.history[broken] if f not in (BROKEN, GONE)]
        world.manifest(broken, form if kind == "registration" and named == name else former[-1] if former else GONE)


@act(
    3, lambda random, schedule: (some_source(random, schedule), random.choice(["Frozen", "gone", "broken", "lenient"]))
)
def source_manifest(world: World, source: str, what: str) -> None:
    """A source's manifest is edited, deleted or broken."""
    forms: dict[str, Any] = {"Frozen": {"mode": "Frozen"}, "gone": GONE, "broken": BROKEN}
    world.manifest(f"source/{source}", forms.get(what, {"safety": {"staleSeconds": 60}}))


@act(5, lambda random, schedule: (some_source(random, schedule),))
def source_manifest_back(world: World, source: str) -> None:
    """A source's manifest is as it was."""
    world.manifest(f"source/{source}", world.sources[source].origin)


@act(3, lambda random, schedule: (some_sink(random, schedule), random.choice(["DryRun", "Paused", "gone", "broken"])))
def sink_manifest(world: World, sink: str, what: str) -> None:
    """A sink's manifest is edited, deleted or broken."""
    forms: dict[str, Any] = {"gone": GONE, "broken": BROKEN}
    world.manifest(f"sink/{sink}", forms.get(what, {"mode": what}))


@act(5, lambda random, schedule: (some_sink(random, schedule), random.choice([60, 60, 1, 90])))
def sink_manifest_back(world: World, sink: str, percent: int) -> None:
    """A sink's manifest is as it was, or with another budget for rewriting."""
    form: Any = world.outlets[sink] if percent == 60 else {"safety": {"maxChangePercent": percent}}
    world.manifest(f"sink/{sink}", form)
