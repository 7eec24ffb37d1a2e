"""What each source has said, and what to think of what it no longer says.

A put replaces; equal objects keep their identity; every difference is marked, and nothing is queued. A removal that a
source states is a fact. What is merely absent from a snapshot is doubted first: one that loses more than the source's
loss limit, or a whole service, is believed only after `emptySeconds` and three agreeing reads. Until then the instances
stay. The catalog never writes and never waits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from itertools import compress
from operator import is_not
from typing import TYPE_CHECKING

from waypost.engine.doubt import Doubt

if TYPE_CHECKING:
    from waypost.engine.doubt import Loss
    from waypost.model import Instance, Service, ServiceKey

__all__ = ["Absence", "Known", "SourceView"]

LARGE = 200  # instances of a service of which it is kept how they were listed
MAX_FACTS = 200_000  # removals remembered as stated; an older one counts as inferred, which is only more careful

_ALL = ""  # no instance has this id

OnMark = Callable[["ServiceKey", "Collection[str] | None"], None]


class Absence(Enum):
    """Why an instance that a record names may not be in the catalog."""

    PRESENT = "present"
    UNKNOWN = "no complete view of the source yet"
    DOUBTED = "absent, but not believed yet"
    FACT = "the source said that it is gone"
    INFERRED = "absent from the source's complete view"


class Known:
    """A service as known: its labels and its instances by id; of a large one, also as it was last listed."""

    __slots__ = ("instances", "labels", "listed")

    def __init__(self, labels: Mapping[str, str], instances: dict[str, Instance]) -> None:
        self.labels = labels
        self.instances = instances
        self.listed: tuple[Instance, ...] = ()

    def differing(self, listed: tuple[Instance, ...]) -> tuple[Sequence[Instance], Sequence[Instance]] | None:
        """Return what stood, and what stands now, in those places of the list where not the same object stands.

        None where that would not tell all. One change of 5,000 instances is found in a tenth of the time of a pass.
        """
        if not self.listed or len(self.instances) != len(self.listed):
            return None
        short = min(len(self.listed), len(listed))
        places = list(compress(range(short), map(is_not, self.listed, listed)))
        old = [self.listed[place] for place in places]
        return [*old, *self.listed[short:]], [*(listed[place] for place in places), *listed[short:]]


class SourceView:
    """All that one source has said. `mark(key, ids)` is called with what changed; ids None: the service as a whole."""

    def __init__(self, name: str, loss: Loss, mark: OnMark, now: Callable[[], float]) -> None:
        """Begin with nothing known; `now` is a monotonic clock."""
        self.name = name
        self.loss = loss
        self.frozen = False
        self.complete = False
        self.reads = 0
        self.last_read: float | None = None
        self.services: dict[ServiceKey, Known] = {}
        self.count = 0
        self.doubt = Doubt()
        self.draining: dict[tuple[ServiceKey, str], float] = {}
        self.unknown_nodes: frozenset[str] = frozenset()
        self._gone: OrderedDict[tuple[ServiceKey, str], None] = OrderedDict()
        self._mark = mark
        self._now = now
        self.on_read: Callable[[], None] = lambda: None  # called at each read
        self.on_doubt: Callable[[], None] = lambda: None  # called when `next_due` may have come nearer

    # --- questions

    def absence(self, key: ServiceKey, instance: str) -> Absence:
        """Say what is known of an instance that a record names."""
        if (known := self.services.get(key)) is not None and instance in known.instances:
            return Absence.PRESENT
        if not self.complete or self.frozen:
            return Absence.UNKNOWN
        if instance in self.doubt.of(key):
            return Absence.DOUBTED
        return Absence.FACT if self._stated(key, instance) else Absence.INFERRED

    def next_due(self) -> float | None:
        """Return when something doubted may be believed at the earliest.

        None where nothing is doubted for time alone.
        """
        if self.frozen:
            return None
        return self.doubt.next_due(self.loss.empty_seconds, self.reads)

    # --- facts

    def put(self, service: Service) -> None:
        """Take a fact: the service is as it says, but for what is doubted or on nodes that are unknown."""
        doubted = self.doubt.of(service.key)

        def keep(instance: Instance) -> bool:
            return instance.id in doubted or self._on_unknown(instance)

        for gone in self._replace(service, keep):
            self._state_gone(service.key, gone)

    def amend(self, part: Service, gone: Collection[str]) -> None:
        """Take a fact of a part: these instances are as it says, those are gone but for what a put would keep."""
        key = part.key
        known, whole = self._relabelled(part)
        changed: set[str] = set()
        for instance in part.instances:
            before = known.instances.get(instance.id)
            if before is not instance and before != instance:
                known.instances[instance.id] = instance
                self.count += before is None
                changed.add(instance.id)
                if self._gone:
                    self._gone.pop((key, instance.id), None)
                self._note_draining(key, before, instance)
        doubted = self.doubt.of(key)
        went = [i for i in gone if i in known.instances and i not in doubted]
        went = [i for i in went if not self._on_unknown(known.instances[i])]
        for i in went:
            del known.instances[i]
            self.draining.pop((key, i), None)
            self._state_gone(key, i)
        self.count -= len(went)
        known.listed = ()
        if doubted:
            self.doubt.settle(key, {instance.id for instance in part.instances})
        if whole or (went and not known.instances):
            self._mark(key, None)
        elif changed or went:
            self._mark(key, changed.union(went))

    def remove(self, key: ServiceKey) -> None:
        """Take a fact: the service is gone, but for what is doubted or on nodes that are unknown."""
        if (known := self.services.get(key)) is None:
            return
        doubted = self.doubt.of(key)
        stay = {i: instance for i, instance in known.instances.items() if i in doubted or self._on_unknown(instance)}
        for gone in known.instances.keys() - stay.keys():
            self._state_gone(key, gone)
        self._state_gone(key, _ALL)
        self._keep_only(key, known, stay)

    def current(self) -> None:
        """Take note that the source is alive and unchanged: an agreeing read."""
        if self.complete:
            self._read()
            self._weigh()

    # --- complete views

    def take(
        self, staged: Mapping[ServiceKey, Service | None], touched: Collection[ServiceKey], unknown: Collection[str]
    ) -> None:
        """Take a complete view.

        None stands for a service equal to what is known. `touched` had facts meanwhile: they win.
        """
        first = not self.complete
        self._read()
        self.unknown_nodes = frozenset(unknown)
        absent: dict[ServiceKey, set[str]] = {}
        new = {key for key in staged if key not in self.services} if first else set()
        for key, service in staged.items():
            if key in touched:  # a fact has replaced what this view shows of it
                continue
            if service is None:
                self._listed(key)
                continue
            if missing := self._take_listed(service):
                absent[key] = missing
        for key in dict.fromkeys((*self.services, *self.doubt)):
            if key in staged or key in touched:
                continue
            if missing := self._missing(key, ()):
                absent[key] = missing
            elif (known := self.services.get(key)) is not None and not known.instances:
                self._keep_only(key, known, {})
        self.complete = True
        if first:  # what records recalled is absent as of now: no time before the first view counts
            self.doubt.begin_anew(self._now(), self.reads)
        self._judge(absent, {key for key in absent if key not in staged})
        if first:
            self._mark_all(new)

    def _mark_all(self, new: Collection[ServiceKey]) -> None:
        """Mark what was known before the first complete view or went by it; what is `new` was marked as it came."""
        for key in dict.fromkeys((*self.services, *(key for key, _ in self._gone))):
            if key not in new or key not in self.services:
                self._mark(key, None)

    def _take_listed(self, service: Service) -> set[str]:
        """Take a service as a view lists it; return the ids that it lacks and that are still to be judged."""
        key = service.key
        missing = self._missing(key, {instance.id for instance in service.instances})
        if not service.instances:  # listed with no instances: a fact
            for gone in missing:
                self._state_gone(key, gone)
            self.doubt.drop(key)
            missing = set()
        self._replace(service, lambda instance: instance.id in missing or self._on_unknown(instance))
        return missing

    def resume(self) -> None:
        """Take the source's word that nothing was missed; means nothing before the first complete view."""
        if self.complete:
            self._read()
            self._weigh()

    def recall(self, records: Iterable[tuple[ServiceKey, str]]) -> None:
        """Learn from records which instances were there before this process began.

        Their absence is judged as any other; what is doubted already stays so, however little this sink has of it, and
        what the source has said to be gone needs no judgement.
        """
        ghosts: dict[ServiceKey, set[str]] = {}
        for key, instance in records:
            known = self.services.get(key)
            if (known is not None and instance in known.instances) or self._stated(key, instance):
                continue
            if not self.complete or instance not in self.doubt.of(key):
                ghosts.setdefault(key, set()).add(instance)
        if self.complete:
            self._judge(ghosts, {key for key in ghosts if key not in self.services}, self.doubt.count())
        else:
            now = self._now()
            for key, ids in ghosts.items():
                self.doubt.note(key, ids, now, self.reads + 1)

    def believe(self) -> None:
        """Drop what has been doubted for long enough, by enough reads."""
        if self.frozen:
            return
        now = self._now()
        for key in list(self.doubt):
            if self.unknown_nodes:  # what only a record names may live there: its doubt begins when all nodes are known
                known = self.services.get(key)
                there = known.instances if known is not None else {}
                self.doubt.begin_anew_but(key, there, now, self.reads)
            if sure := self.doubt.sure(key, self.loss.empty_seconds, now, self.reads):
                self._drop(key, sure)

    # --- inside

    def _read(self) -> None:
        self.reads += 1
        self.last_read = self._now()
        self.on_read()

    def _weigh(self) -> None:
        self.believe()
        if self.doubt:
            self.on_doubt()

    def _listed(self, key: ServiceKey) -> None:
        """What is listed is doubted no more; what is doubted and not described (known from records alone) stays so."""
        if key in self.doubt and (known := self.services.get(key)) is not None:
            self.doubt.settle(key, known.instances)

    def _missing(self, key: ServiceKey, listed: Collection[str]) -> set[str]:
        known = self.services.get(key)
        missing = {i for i in self.doubt.of(key) if i not in listed}
        if known is not None:
            absent = {i: instance for i, instance in known.instances.items() if i not in listed}
            away = {i for i, instance in absent.items() if self._on_unknown(instance)}
            missing = (missing | absent.keys()) - away
            if away:
                self.doubt.settle(key, away)
        return missing

    def _on_unknown(self, instance: Instance) -> bool:
        return bool(instance.node) and instance.node in self.unknown_nodes

    def _judge(
        self, absent: Mapping[ServiceKey, set[str]], whole: Collection[ServiceKey], doubted_before: int = 0
    ) -> None:
        """Drop what is absent where that, with what is doubted beside it, is little; doubt it where it is much.

        Of `whole`, services of which nothing is left, everything is doubted.
        """
        lost = sum(map(len, absent.values())) + doubted_before
        much = lost > max(self.loss.minimum, (self.count + self._ghosts(absent)) * self.loss.max_percent // 100)
        now = self._now()
        for key, ids in absent.items():
            self.doubt.note(key, ids, now, self.reads)
            if not much and key not in whole:
                known = self.services[key].instances if self.unknown_nodes else ids
                self._drop(key, {i for i in ids if i in known})  # who knows where one lived that only a record names
        self._weigh()

    def _ghosts(self, absent: Mapping[ServiceKey, set[str]]) -> int:
        """Count the instances that only records name, those that are absent now among them."""
        found = 0
        for key in absent.keys() | set(self.doubt):
            named = absent.get(key, set()).union(self.doubt.of(key))
            known = self.services.get(key)
            found += len(named if known is None else named - known.instances.keys())
        return found

    def _drop(self, key: ServiceKey, ids: Collection[str]) -> None:
        self.doubt.settle(key, ids)
        if (known := self.services.get(key)) is not None:
            stay = {i: instance for i, instance in known.instances.items() if i not in ids}
            self._keep_only(key, known, stay)
        self._mark(key, frozenset(ids))

    def _keep_only(self, key: ServiceKey, known: Known, stay: dict[str, Instance]) -> None:
        changed = known.instances.keys() - stay.keys()
        self.count -= len(changed)
        for instance in changed:
            self.draining.pop((key, instance), None)
        known.instances = stay
        if not stay and key not in self.doubt:
            del self.services[key]
            self._mark(key, None)
        elif changed:
            self._mark(key, changed)

    def _replace(self, service: Service, keep: Callable[[Instance], bool]) -> list[str]:
        """Put a service in place of what is known, keep equal objects and those that `keep` names.

        Return the ids that went.
        """
        key = service.key
        known, whole = self._relabelled(service)
        old = known.instances
        size = len(old)
        differing = None if self.unknown_nodes or key in self.doubt else known.differing(service.instances)
        left, listed = (old.values(), service.instances) if differing is None else differing
        new: dict[str, Instance] = {} if differing is None else old
        changed: set[str] = set()
        for instance in listed:
            before = old.get(instance.id)
            if before is instance or before == instance:
                new[instance.id] = before
                continue
            new[instance.id] = instance
            changed.add(instance.id)
            if self._gone:
                self._gone.pop((key, instance.id), None)
            self._note_draining(key, before, instance)
        gone: list[str] = []
        if size != len(new) or changed or differing is not None:
            there = new if differing is None else {instance.id for instance in listed}
            for instance in left:
                if (i := instance.id) not in there:
                    if keep(instance):
                        new[i] = instance
                    else:
                        new.pop(i, None)
                        gone.append(i)
                        self.draining.pop((key, i), None)
        self.count += len(new) - size
        known.instances = new
        known.listed = service.instances if len(service.instances) >= LARGE else ()
        if key in self.doubt:
            self.doubt.settle(key, {instance.id for instance in service.instances})
        if whole or (gone and not new):
            self._mark(key, None)
        elif changed or gone:
            changed.update(gone)
            self._mark(key, changed)
        return gone

    def _relabelled(self, service: Service) -> tuple[Known, bool]:
        """Return what is known of a service, under the labels that it has now; and whether it is new or had others."""
        known = self.services.get(service.key)
        if known is None:
            known = self.services[service.key] = Known(service.labels, {})
            self._gone.pop((service.key, _ALL), None)
            return known, True
        if known.labels == service.labels:
            return known, False
        known.labels = service.labels
        return known, True

    def _note_draining(self, key: ServiceKey, before: Instance | None, after: Instance) -> None:
        if after.readiness == "draining":
            if before is None or before.readiness != "draining":
                self.draining[key, after.id] = self._now()
        elif self.draining:
            self.draining.pop((key, after.id), None)

    def _stated(self, key: ServiceKey, instance: str) -> bool:
        """Say whether the source said that it is gone, itself or by listing its service without instances."""
        known = self.services.get(key)
        listed_empty = known is not None and not known.instances and key not in self.doubt
        return listed_empty or (key, instance) in self._gone or (key, _ALL) in self._gone

    def _state_gone(self, key: ServiceKey, instance: str) -> None:
        self._gone[key, instance] = None
        if len(self._gone) > MAX_FACTS:
            self._gone.popitem(last=False)
