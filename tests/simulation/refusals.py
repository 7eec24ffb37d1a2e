"""What a target refused to write, and so what must stay beside it: as many records as writes were refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tests.simulation.manifests import GONE
from tests.simulation.model import Publication, Shown, publication_of, service_key, shown
from tests.simulation.progress import contended
from tests.simulation.schedule import Registered

if TYPE_CHECKING:
    from tests.simulation.judge import Judge
    from tests.simulation.lives import Life
    from tests.simulation.targets import Sending, SimTarget
    from waypost.adapter import Outcome

__all__ = ["Refusals"]

LISTED_SECONDS = 1.0  # for so long a source has listed what is surely wanted


class Refusals:
    """What the engines were told of their writes: of each record that was refused last, what it was to say."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def answered(self, target: SimTarget, sending: Sending, outcomes: Mapping[str, Outcome]) -> None:
        """Take note of a target's answer."""
        refused = sending.life.refused.setdefault(target.name, {})
        for change in sending.batch:
            refused.pop(change.key, None)
            record = shown(change.record.content) if change.record is not None else None
            if outcomes[change.key].status == "invalid" and record is not None and record.ready:
                refused[change.key] = record

    def deleted(self, target: SimTarget, life: Life, gone: Mapping[str, Shown]) -> None:
        """Judge the deletion of these records, which nobody asked for or approved.

        What a target lost as it was restored, an engine may count among what stays until it has looked at all of it: an
        answer to a write tells of the loss only where a stamp was lost with it, and then a look follows.
        """
        if self._judge.writes.restored_at(target) > life.looked.get(target.name, -1.0):
            return
        for publication in sorted({publication_of(record) for record in gone.values()}):
            refused = self._refused(target, life, publication)
            if not refused:
                continue
            stay = {
                key
                for key, record in self._beside(target, publication)
                if key not in gone and not (self._is_named(record) and self._is_wanted(life, record, 0.02))
            }
            if len(stay) < len(refused):
                going = ", ".join(sorted(key for key, record in gone.items() if publication_of(record) == publication))
                self._judge.broken(
                    7, f"{going} deleted from {target.name} though {', '.join(sorted(refused))} beside it was refused"
                )

    def _refused(self, target: SimTarget, life: Life, publication: Publication) -> set[str]:
        """Return the instances of a publication that have no ready record because it was refused."""
        manifests = self._judge.world.manifests
        forms = {n.partition("/")[2]: f for n, f in manifests.now.items() if n.startswith("registration/")}
        form = forms.get(publication[0].partition("[")[0])
        if not isinstance(form, Registered) or form.checked:
            return set()
        service = service_key(publication[1])
        if contended(forms, form, target, service.name) or not form.wants(service.source, service.name):
            return set()
        ready = {record.instance for _, record in self._there(target, publication) if record.ready}
        return {
            record.instance
            for record in life.refused.get(target.name, {}).values()
            if publication_of(record) == publication
            and record.instance not in ready
            and self._is_wanted(life, record, LISTED_SECONDS)
        }

    def _is_named(self, record: Shown) -> bool:
        """Say whether a record stands under the name that its registration gives its service now, if it asks for it."""
        form = self._judge.world.manifests.now.get(f"registration/{record.registration}", GONE)
        service = service_key(record.service)
        asked = isinstance(form, Registered) and form.wants(service.source, service.name)
        return asked and form.names(service.name) == record.name

    @staticmethod
    def _is_wanted(life: Life, record: Shown, seconds: float) -> bool:
        key = service_key(record.service)
        told = life.told.get(key.source)
        return told is not None and told.is_ready((key, record.instance), seconds)

    def _beside(self, target: SimTarget, publication: Publication) -> Iterable[tuple[str, Shown]]:
        """Yield the records of the same service, and those that its registration has of others under the same name.

        One that another registration left, or keeps for this, counts too. Those of a service that the registration
        asked for under this name before are missed by the same consumers.
        """
        registration = publication[0].partition("[")[0]
        form = self._judge.world.manifests.now.get(f"registration/{registration}", GONE)
        name = form.names(service_key(publication[1]).name) if isinstance(form, Registered) else None
        for key, content in target.records.items():
            record = shown(content)
            if record is None:
                continue
            if record.service == publication[1] or (record.registration == registration and record.name == name):
                yield key, record

    @staticmethod
    def _there(target: SimTarget, publication: Publication) -> Iterable[tuple[str, Shown]]:
        for key, content in target.records.items():
            record = shown(content)
            if record is not None and publication_of(record) == publication:
                yield key, record
