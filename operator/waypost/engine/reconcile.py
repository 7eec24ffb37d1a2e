"""Where marks come from.

Settings, catalogs and verdicts together say which publications there are and which instances are dirty.

It keeps the catalogs, the matcher and the showings in step, and answers what a plan asks (`plan.World`). It never
writes.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from waypost.engine.catalog import Absence, SourceView
from waypost.engine.match import Compiled, Matcher, SourceRule
from waypost.engine.plan import World
from waypost.engine.publish import Near, Showing, Withheld, may_name, present, show
from waypost.engine.verdicts import NO_OVERLAY, Overlay
from waypost.model import PublicationKey, ServiceKey

if TYPE_CHECKING:
    from waypost.engine.policy import Cause, HoldCause
    from waypost.engine.releases import Releases
    from waypost.engine.target import Target
    from waypost.model import Instance
    from waypost.settings import ServiceRegistration

__all__ = ["Reconciler"]

Count = dict[ServiceKey, int]
Place = tuple[str, PublicationKey]  # a sink, and a publication in it


_OF_ABSENCE: dict[Absence, tuple[Cause | None, HoldCause | None]] = {
    Absence.UNKNOWN: (None, None),
    Absence.DOUBTED: (None, "SourceEmpty"),
    Absence.FACT: ("source", None),
    Absence.INFERRED: ("inferred", None),
}


class Reconciler(World):
    """The engine's knowledge. `now` is a monotonic clock."""

    def __init__(
        self,
        now: Callable[[], float],
        overlay: Overlay = NO_OVERLAY,
        on_timer: Callable[[], None] = lambda: None,
        releases: Releases | None = None,
    ) -> None:
        """Begin with nothing; `on_timer` is called when the next time that something is due has come nearer."""
        self._now = now
        self.overlay = overlay
        self._on_timer = on_timer
        self.matcher = Matcher()
        self.views: dict[str, SourceView] = {}
        self.near: dict[str, Near] = {}
        self.targets: dict[str, Target] = {}
        self.deleted: set[str] = set()
        self.orphaned: set[str] = set()  # of those, the ones whose records stay
        self.releases = releases
        self.complete = False  # the manifests were read whole
        self.showings: dict[Place, Showing] = {}
        self._by_service: dict[ServiceKey, list[Place]] = {}
        self._by_registration: dict[str, dict[Place, None]] = {}  # in the order they came
        self._counts: dict[tuple[str, str], Count] = {}
        self._timers: list[tuple[float, ServiceKey, str]] = []

    # --- what plan asks (see plan.World)

    def showing(self, target: str, key: PublicationKey) -> Showing | None:
        """See plan.World."""
        return self.showings.get((target, key))

    def instance(self, key: PublicationKey, instance: str) -> Instance | None:
        """See plan.World."""
        view = self.views.get(key.service.source)
        known = view.services.get(key.service) if view is not None else None
        return known.instances.get(instance) if known is not None else None

    def all_instances(self, key: PublicationKey) -> set[str]:
        """See plan.World."""
        view = self.views.get(key.service.source)
        known = view.services.get(key.service) if view is not None else None
        return set(known.instances) if known is not None else set()

    def verdict(self, showing: Showing, instance: Instance) -> bool | None:
        """See plan.World."""
        return self.overlay.verdict(showing, instance)

    def draining_seconds(self, key: PublicationKey, instance: str) -> float | None:
        """See plan.World."""
        view = self.views.get(key.service.source)
        since = view.draining.get((key.service, instance)) if view is not None else None
        if view is None or since is None:
            return None
        return 0.0 if view.frozen else self._now() - since

    def ready_count(self, showing: Showing) -> int:
        """See plan.World."""
        return sum(self._counts.get((showing.compiled.key, showing.rule.name), {}).values())

    def released(self, target: str, key: PublicationKey) -> str:
        """See plan.World."""
        if self.releases is not None and self.releases.given:
            if (release := self.releases.covers(target, key.registration)) is not None:
                return f"a person released it: `waypost release --undo {release}` asks for it again"
            left = self.targets[target].names.left.get(key, ())
            if left and (target, key) not in self.showings and set(left) <= self.released_names(target, key):
                return "a person released the name"
        if self.complete and key.registration in self.orphaned:
            return "its registration was deleted, with deletionPolicy Orphan"
        return ""

    def released_names(self, target: str, key: PublicationKey) -> frozenset[str]:
        """See plan.World."""
        if self.releases is None or not (given := self.releases.names(target, key.registration)):
            return frozenset()
        return frozenset(map(self.targets[target].names.canonical, given))

    def fate(self, target: str, key: PublicationKey, instance: str) -> tuple[Cause | None, HoldCause | None, str]:
        """See plan.World."""
        compiled = self.matcher.compiled.get(key.registration)
        if compiled is None:
            if not self.complete:  # also where it was deleted before: what cannot be read may be its manifest again
                return None, "FeedUnreadable", "its registration is not known, and not all manifests could be read"
            if key.registration in self.deleted:
                return "edit", None, "its registration was deleted"
            return None, "UnknownRegistration", "its registration is not known: it went while Waypost was not running"
        if not compiled.deletes:
            return None, None, f"syncPolicy {compiled.registration.spec.sync_policy} never deletes"
        rules = [rule for rule in compiled.sources if rule.source == key.service.source]
        if not rules:
            return "edit", None, "its registration no longer names the source"
        if reason := self._entry_moved(target, compiled, key.entry):
            return None, None, reason
        if not any(entry.name == key.entry and entry.sink == target for entry in compiled.entries):
            return "edit", None, "its registration no longer has the entry"
        view = self.views.get(key.service.source)
        if view is None:
            return None, None, f"source {key.service.source} is not declared"
        absence = view.absence(key.service, instance)
        if absence in _OF_ABSENCE:
            return *_OF_ABSENCE[absence], absence.value
        return "edit", None, "its registration no longer selects the service"

    def _entry_moved(self, target: str, compiled: Compiled, name: str) -> str:
        """Say why a record in this sink, of an entry for another one, is not known to be left over; "" where it is.

        A sink that was renamed before the registrations were, or declared twice, finds the records of the other.
        """
        sink = next((entry.sink for entry in compiled.entries if entry.name == name), target)
        if sink == target:
            return ""
        other = self.targets.get(sink)
        if other is None:
            return f"its entry names sink {sink}, which is not declared"
        if other.place is not None and other.place == self.targets[target].place:
            return f"its entry names sink {sink}, which writes to the same place under the same ownerID"
        return ""

    def shares(self, registration: str) -> bool | None:
        """Say whether a registration shares its names; None where it is not known."""
        compiled = self.matcher.compiled.get(registration)
        return compiled.shares if compiled is not None else None

    def keeps(self, target: str, key: PublicationKey, name: str) -> bool:
        """Say whether records under a name stay though nothing asks for them now, because it may be wanted again.

        So it is where a publication is refused, and where its source cannot say or is doubted. A registration that went
        while Waypost was not running holds no name back from who took its place.
        """
        if (showing := self.showings.get((target, key))) is not None:
            return bool(showing.refused)
        compiled = self.matcher.compiled.get(key.registration)
        if compiled is None:
            return not self.complete and key.registration not in self.deleted
        entry = next((entry for entry in compiled.entries if entry.name == key.entry), None)
        near, canonical = self.near.get(key.service.source), self.targets[target].names.canonical
        if entry is None or not may_name(entry, compiled, key.service, near, name, canonical):
            return False
        view = self.views.get(key.service.source)
        known = view.services.get(key.service) if view is not None else None
        if known is not None and any(rule.wants(key.service, known.labels) for rule in compiled.sources):
            return True  # it wants it: the service is known, and its showing is being made
        fates = (self.fate(target, key, instance) for instance in self.targets[target].ledger.instances(key))
        return any(cause is None for cause, _, _ in fates)

    # --- marks

    def changed(self, key: ServiceKey, instances: Collection[str] | None) -> None:
        """Take a catalog's mark: these instances of a service, or the service as a whole (None)."""
        if instances is None:
            self._rematch(key)
            for target, publication in self._by_service.get(key, ()):
                self.targets[target].mark(publication, None)
            return
        pairs = self._by_service.get(key, ())
        view = self.views[key.source]
        known = view.services.get(key)
        for target, publication in pairs:
            showing = self.showings[target, publication]
            if known is not None and self._new_port_names(showing, known.instances, instances):
                self._rematch(key)
                return
        self._mark_leftovers(key, instances)
        for target, publication in pairs:
            showing = self.showings[target, publication]
            if known is not None:
                self.overlay.follow(target, showing, known.instances, instances)
                self._note_draining(showing, view, key, instances)
            if showing.weighted and self._recount(showing, key):
                self._mark_entry(showing)
            self.targets[target].mark(publication, instances)
        for target, publication in pairs:  # these change of themselves, whatever else changes their weight
            account = self.targets[target].account
            for instance in instances:
                if account.get((publication, instance)) == "share":
                    del account[publication, instance]

    def verdict_changed(self, target: str, key: PublicationKey, instances: Collection[str]) -> None:
        """Take a mark of the health overlay."""
        showing = self.showings.get((target, key))
        if showing is None:
            return
        if showing.weighted and self._recount(showing, key.service):
            self._mark_entry(showing)
        self.targets[target].mark(key, instances)

    def _mark_leftovers(self, key: ServiceKey, instances: Collection[str] | None) -> None:
        """Mark records of the service whose publication no longer is."""
        for target in self.targets.values():
            for publication in target.ledger.by_service.get(key, ()):
                if (target.name, publication) not in self.showings:
                    target.mark(publication, instances)
                    for other in target.names.sharing(publication):  # what it held back may go on
                        target.mark(other, None)

    def _mark_entry(self, showing: Showing) -> None:
        """Mark all that a source entry shows: each weight follows the count of ready instances."""
        for name, key in self._by_registration[showing.compiled.key]:
            if self.showings[name, key].rule.name == showing.rule.name:
                target = self.targets[name]
                target.mark(key, None)
                for instance in target.ledger.instances(key):
                    target.account.setdefault((key, instance), "share")

    @staticmethod
    def _new_port_names(showing: Showing, instances: Mapping[str, Instance], changed: Iterable[str]) -> bool:
        names = showing.port_names
        if names is None or showing.compiled.registration.spec.ports:
            return False
        wanted = showing.entry.ports
        return any(
            port.name and port.name not in names and (wanted is None or port.name in wanted)
            for i in changed
            if (instance := instances.get(i)) is not None
            for port in instance.ports
        )

    # --- settings

    def put_registration(self, registration: ServiceRegistration) -> None:
        """Put a registration in force."""
        key = f"{registration.metadata.namespace}/{registration.metadata.name}"
        former = self.matcher.compiled.get(key)
        compiled = self.matcher.put(registration)
        self.deleted.discard(key)
        self.orphaned.discard(key)
        if former is None or former.shares != compiled.shares:  # of one that was not known, others could not know it
            self._reshare(key)
        self._reconsider(key, compiled)

    def _reshare(self, registration: str) -> None:
        """Let who holds which name follow a registration's `sharing`."""
        for target in self.targets.values():
            keys = [key for name, key in self._by_registration.get(registration, ()) if name == target.name]
            for other in target.names.reshared((*keys, *target.ledger.by_registration.get(registration, ()))):
                target.mark(other, None)

    def delete_registration(self, key: str, *, vanished: bool = False, orphan: bool = False) -> None:
        """Take a registration out: a person deleted it, or it `vanished`, which is no order to delete.

        `orphan`: its `deletionPolicy` was Orphan, where it was never in force here.
        """
        former = self.matcher.compiled.get(key)
        self.matcher.remove(key)
        if not vanished:
            self.deleted.add(key)
            if orphan or (former is not None and former.registration.spec.deletion_policy == "Orphan"):
                self.orphaned.add(key)
        self._reconsider(key, None)

    def reconsider_source(self, name: str) -> None:
        """Match and plan all services of a source again: it is new, gone or frozen, or its rules have changed."""
        for key in sorted(self._services_of(name)):
            self.changed(key, None)

    def reconsider_all(self) -> None:
        """Match everything again: a sink is new, gone, or its rules have changed."""
        for name in sorted(set(self.views) | {key.source for key in self._by_service}):
            for key in sorted(self._services_of(name)):
                self._rematch(key)

    def forget_target(self, name: str) -> None:
        """Stop knowing a sink."""
        for place in [place for place in self.showings if place[0] == name]:
            self._withdraw_showing(place)
        for service, places in list(self._by_service.items()):
            self._by_service[service] = [place for place in places if place[0] != name]
        self.targets.pop(name, None)

    def _services_of(self, name: str) -> set[ServiceKey]:
        view = self.views.get(name)
        found = {key for key in self._by_service if key.source == name}
        for target in self.targets.values():
            found.update(key for key in target.ledger.by_service if key.source == name)
        return found | set(view.services) if view is not None else found

    def _reconsider(self, registration: str, compiled: Compiled | None) -> None:
        affected = {key.service for _, key in self._by_registration.get(registration, ())}
        for target in self.targets.values():
            affected.update(key.service for key in target.ledger.by_registration.get(registration, ()))
        for rule in compiled.sources if compiled is not None else ():
            affected.update(self._selected(rule))
        for key in sorted(affected):
            self._rematch(key)

    def _selected(self, rule: SourceRule) -> Iterable[ServiceKey]:
        view = self.views.get(rule.source)
        if view is None:
            return ()
        if rule.exact is not None:
            return (rule.exact,) if rule.exact in view.services else ()
        return [key for key, known in view.services.items() if rule.wants(key, known.labels)]

    def _rematch(self, key: ServiceKey) -> None:
        """Find anew which publications a service has, and mark those that changed as a whole."""
        wanted = dict(self._wanted(key))
        former = self._by_service.get(key, [])
        for place in former:
            if place not in wanted:
                self._withdraw_showing(place)
        for place, showing in wanted.items():
            self._put_showing(place, showing)
        if wanted:
            self._by_service[key] = list(wanted)
        else:
            self._by_service.pop(key, None)
        self._mark_leftovers(key, None)

    def _wanted(self, key: ServiceKey) -> Iterable[tuple[Place, Showing]]:
        view = self.views.get(key.source)
        known = view.services.get(key) if view is not None else None
        near = self.near.get(key.source)
        if known is None or near is None:
            return
        for compiled, rule in self.matcher.matches(key, known.labels):
            for entry in compiled.entries:
                if (target := self.targets.get(entry.sink)) is not None:
                    showing = show(compiled, rule, entry, key, known.labels, known.instances, near, target.far)
                    yield (target.name, showing.publication.key), showing

    def _put_showing(self, place: Place, showing: Showing) -> None:
        target, key = self.targets[place[0]], place[1]
        former = self.showings.get(place)
        self.showings[place] = showing
        self._by_registration.setdefault(key.registration, {})[place] = None
        view = self.views[key.service.source]
        instances = view.services[key.service].instances
        if showing.weighted and self._recount(showing, key.service):
            self._mark_entry(showing)
        self.overlay.follow(place[0], showing, instances, None)
        self._note_draining(showing, view, key.service, None)
        for other in target.names.want(key, showing.wants):
            target.mark(other, None)
        if former is not None and former.compiled.registration.spec is not showing.compiled.registration.spec:
            target.account.update(((key, instance), "edit") for instance in target.ledger.instances(key))
        if former is None or not former.same(showing):
            target.mark(key, None)

    def _withdraw_showing(self, place: Place) -> None:
        target, key = self.targets.get(place[0]), place[1]
        showing = self.showings.pop(place)
        places = self._by_registration[key.registration]
        places.pop(place, None)
        if not places:
            del self._by_registration[key.registration]
        self.overlay.forget(place[0], key)
        if showing.weighted:
            counts = self._counts.get((showing.compiled.key, showing.rule.name), {})
            if counts.pop(key.service, None) is not None and key.registration in self._by_registration:
                self._mark_entry(showing)
        if target is not None:
            target.problems.pop(key, None)
            target.failed.pop(key, None)
            for record in list(target.twins.get(key, ())):
                target.clear_twin(key, record)
            for other in target.names.want(key, ()):
                target.mark(other, None)
            target.mark(key, None)

    # --- weights and draining

    def _recount(self, showing: Showing, key: ServiceKey) -> bool:
        """Count the ready instances of a source entry's service again; say whether the count changed."""
        counts = self._counts.setdefault((showing.compiled.key, showing.rule.name), {})
        known = self.views[key.source].services.get(key)
        ready = 0
        for instance in known.instances.values() if known is not None else ():
            ready += instance.readiness == "ready" and self.overlay.verdict(showing, instance) is not False
        before = counts.get(key, 0)
        if ready:
            counts[key] = ready
        else:
            counts.pop(key, None)
        return ready != before

    def _note_draining(
        self, showing: Showing, view: SourceView, key: ServiceKey, changed: Collection[str] | None
    ) -> None:
        if not view.draining:
            return
        known = view.services.get(key)
        seconds = showing.compiled.registration.spec.drain_seconds
        for instance in changed if changed is not None else known.instances if known is not None else ():
            if (since := view.draining.get((key, instance))) is not None:
                heapq.heappush(self._timers, (since + seconds, key, instance))
                self._on_timer()

    # --- time

    def next_due(self) -> float | None:
        """Return when something is due because of time alone, None where nothing is."""
        due = [view.next_due() for view in self.views.values() if view.doubt]
        due.append(self._timers[0][0] if self._timers else None)
        return min((d for d in due if d is not None), default=None)

    def tick(self) -> None:
        """Do what is due by now."""
        now = self._now()
        for view in self.views.values():
            if view.doubt:
                view.believe()
        while self._timers and self._timers[0][0] <= now:
            _, key, instance = heapq.heappop(self._timers)
            for target, publication in self._by_service.get(key, ()):
                self.targets[target].mark(publication, (instance,))

    # --- for people

    def places(self, registration: str) -> Collection[Place]:
        """Return where a registration shows: its publications, each in its sink."""
        return self._by_registration.get(registration, ())

    def shown(self, place: Place, instance: Instance) -> object:
        """Return what is published of an instance in a sink, or why nothing is (see publish.present)."""
        showing = self.showings[place]
        if showing.refused:
            return Withheld("edit", showing.refused, problem=True)
        target, key = self.targets[place[0]], place[1]
        return present(
            showing,
            instance,
            verdict=self.verdict(showing, instance),
            was_there=bool(target.ledger.kept(key, instance.id)),
            was_ready=target.ledger.is_ready(key, instance.id),
            draining_seconds=self.draining_seconds(key, instance.id),
            ready_count=self.ready_count(showing),
        )
