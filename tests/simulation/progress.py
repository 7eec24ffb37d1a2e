"""What is judged while faults go on elsewhere: a sink that has been well for long holds what was asked for long ago."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.simulation.manifests import BROKEN, GONE
from tests.simulation.model import shown
from tests.simulation.schedule import Registered

if TYPE_CHECKING:
    from tests.simulation.judge import Judge
    from tests.simulation.lives import Life
    from tests.simulation.targets import SimTarget
    from tests.simulation.told import Told

__all__ = ["WELL_SECONDS", "check_progress", "contended"]

WELL_SECONDS = 200.0  # of back-off, time-outs and looks, the longest way back to work
TOLD_SECONDS = 30.0


def check_progress(judge: Judge) -> None:
    """Check each sink that has been well for long, whatever the others do."""
    world = judge.world
    life = world.leader()
    if life is None or world.now() - world.steady < WELL_SECONDS or world.now() - life.began < WELL_SECONDS:
        return
    for target in world.targets.values():
        if world.is_well(target, life) and world.now() - target.disturbed > WELL_SECONDS:
            _check(judge, target, life)


def _check(judge: Judge, target: SimTarget, life: Life) -> None:
    manifests = judge.world.manifests
    forms = {name.partition("/")[2]: form for name, form in manifests.now.items() if name.startswith("registration/")}
    steady = {name for name in forms if len(manifests.forms(f"registration/{name}", TOLD_SECONDS)) == 1}
    if BROKEN in forms.values():
        return
    for source, told in life.told.items():
        if not _speaks(judge, source, told):
            continue
        for who in told.known:
            if not told.is_ready(who, TOLD_SECONDS):
                continue
            for name, registered in forms.items():
                if not registered.wants(source, who[0].name) or target.name not in registered.sinks:
                    continue
                if name not in steady or registered.checked or contended(forms, registered, target, who[0].name):
                    continue
                key = f"{registered.names(who[0].name)}/{who[1]}"
                if key in target.foreign or who[1] in target.unrenderable:
                    continue
                content = target.records.get(key)
                record = None if content is None else shown(content)
                if record is None or not record.ready:
                    judge.broken(8, f"{key} has been asked for in {target.name} for long, and is not there")


def _speaks(judge: Judge, source: str, told: Told) -> bool:
    """Say whether a source has been declared, read and heard for long."""
    form = judge.world.manifests.now.get(f"source/{source}", GONE)
    if form in (GONE, BROKEN) or judge.world.manifests.forms(f"source/{source}", TOLD_SECONDS) != [form]:
        return False
    return told.frozen is None and told.complete is not None and judge.world.now() - told.complete >= WELL_SECONDS


def contended(forms: Mapping[str, Any], registered: Registered, target: SimTarget, service: str) -> bool:
    """Say whether anybody else wants, or still has, the name under which it publishes a service."""
    name = registered.names(service)
    others = [
        other
        for other in forms.values()
        if isinstance(other, Registered) and other is not registered and (other.name == name or "{" in other.name)
    ]
    if others:
        return True
    return any(
        key.startswith(f"{name}/")
        and (record := shown(content)) is not None
        and forms.get(record.registration) is not registered
        for key, content in target.records.items()
    )
