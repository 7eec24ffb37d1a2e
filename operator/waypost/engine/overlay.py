"""Health verdicts over what sources say: which instances are checked where, and what their verdicts mean for whom.

It stands between the reconciler, which says what each publication shows, and the checker, which checks places and knows
no registrations. All publications of a registration are one ward: when too many of them fail, none is withdrawn (see
health.ward). It costs in proportion to what changes; nothing here is written, and nothing is kept across restarts: a
verdict is unknown until the first checks decide, and what is published stays meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from random import Random
from typing import TYPE_CHECKING

from waypost.engine.followers import Follower, Place, Watch, check_of
from waypost.engine.publish import contact
from waypost.health.check import Target
from waypost.health.checker import Checker, Probe
from waypost.health.probes import Probes, most_at_once
from waypost.health.subject import Subject
from waypost.health.ward import Ward
from waypost.model import PublicationKey, ServiceKey

if TYPE_CHECKING:
    from waypost.adapter import Clock, Metrics
    from waypost.engine.publish import Showing
    from waypost.engine.reconcile import Reconciler
    from waypost.model import Instance

__all__ = ["HealthOverlay"]

AT_ONCE = 64  # instances that are looked at before others may run: a millisecond or two
WINDOW_SECONDS = 0.005  # how long verdicts gather before the reconciler is told; fixed, never begun again

log = logging.getLogger(__name__)


class HealthOverlay:
    """Implements `verdicts.Overlay`. To be attached to a reconciler, and run, by whoever puts the engine together."""

    def __init__(
        self, clock: Clock, random: Random, metrics: Metrics, *, probe: Probe | None = None, most: int | None = None
    ) -> None:
        """`probe` stands in for the real checks; `most` of them run at once."""
        self._clock = clock
        self._random = random
        self._metrics = metrics
        self._reconciler: Reconciler | None = None
        self._followers: dict[Place, Follower] = {}
        self._by_service: dict[ServiceKey, dict[Place, Follower]] = {}
        self._changed: dict[Place, set[str]] = {}
        self._news = asyncio.Event()
        self._behind: dict[Place, Follower] = {}  # those that have a backlog
        self._more = asyncio.Event()
        self.watches: dict[str, Watch] = {}  # by registration
        self.checker = Checker(
            clock, random, probe or Probes(self._refusal), self._heard, metrics, most=most or most_at_once()
        )

    def attach(self, reconciler: Reconciler) -> None:
        """Name the reconciler that is told of verdicts, and whose sources' rules say what may be contacted."""
        self._reconciler = reconciler

    async def run(self) -> None:
        """Check, and tell what was found, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.checker.run(), name="checks")
            group.create_task(self._tell(), name="verdicts")
            group.create_task(self._catch_up(), name="followers")

    # --- what the engine asks and tells (see verdicts.Overlay)

    def verdict(self, showing: Showing, instance: Instance) -> bool | None:
        """Return True for ready, False for not, None where nothing is known yet."""
        if showing.compiled.registration.spec.health_check is None:
            return True
        follower = self._followers.get((showing.entry.sink, showing.publication.key))
        subject = follower.subjects.get(instance.id) if follower is not None else None
        return follower.watch.ward.verdict(subject) if follower is not None and subject is not None else None

    def follow(
        self, target: str, showing: Showing, instances: Mapping[str, Instance], changed: Collection[str] | None
    ) -> None:
        """Take note that a publication shows these instances, of which those `changed` may be new or gone.

        None: any. What is refused is not checked either: who may not read a service may not have it contacted.
        """
        place = target, showing.publication.key
        spec = showing.compiled.registration.spec.health_check
        check = check_of(spec) if spec is not None and not showing.refused else None
        if spec is None or check is None:
            self.forget(*place)
            return
        follower = self._followers.get(place)
        if follower is None:
            follower, changed = self._begin(place, spec.panic_percent), None
        port = spec.tcp_socket.port if spec.tcp_socket is not None else None
        if changed is None or follower.check != check or follower.port != port:
            follower.check, follower.port, changed = check, port, None
            follower.watch.ward.percent = spec.panic_percent
        follower.showing, follower.instances = showing, instances
        if changed is None:
            changed = {**instances, **follower.subjects, **follower.unchecked}.keys()
            if len(changed) > AT_ONCE:
                follower.backlog = list(changed)
                self._behind[place] = follower
                self._more.set()
                return
        for name in sorted(changed):  # in one order in every process: each takes from the same randomness
            self._follow(follower, showing, name, instances.get(name))

    def forget(self, target: str, key: PublicationKey) -> None:
        """Take note that a publication is gone from a sink."""
        place = target, key
        if (follower := self._followers.pop(place, None)) is None:
            return
        self._behind.pop(place, None)
        for name in list(follower.subjects):
            self._leave(follower, name)
        del self._by_service[key.service][place]
        if not self._by_service[key.service]:
            del self._by_service[key.service]
        del follower.watch.followers[place]
        if not follower.watch.followers:
            del self.watches[key.registration]

    def suspect(self, key: ServiceKey, instance: str, _reason: str) -> None:
        """Check an instance of a service now, as its source asks, whoever has it checked."""
        for follower in self._by_service.get(key, {}).values():
            if (subject := follower.subjects.get(instance)) is not None:
                self._metrics.count("health_suspicions")
                self.checker.soon(subject)

    # --- who follows what

    def _begin(self, place: Place, percent: int) -> Follower:
        registration = place[1].registration
        watch = self.watches.get(registration)
        if watch is None:

            def moved(subjects: Collection[Subject] | None) -> None:
                self._moved(registration, subjects)

            watch = self.watches[registration] = Watch(Ward(percent, self._random, moved))
        follower = self._followers[place] = watch.followers[place] = Follower(place, watch)
        self._by_service.setdefault(place[1].service, {})[place] = follower
        return follower

    async def _catch_up(self) -> None:
        """Work off what was too much to be looked at in one go; each instance is seen as it is by then."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._behind:
                place, follower = next(iter(self._behind.items()))
                names = follower.backlog[-AT_ONCE:]
                del follower.backlog[-AT_ONCE:]
                if not follower.backlog:
                    del self._behind[place]
                assert follower.showing is not None
                for name in names:
                    self._follow(follower, follower.showing, name, follower.instances.get(name))
                await asyncio.sleep(0)

    def _follow(self, follower: Follower, showing: Showing, name: str, instance: Instance | None) -> None:
        if instance is None:
            self._leave(follower, name)
            return
        where = contact(showing, instance, follower.port)
        if isinstance(where, str):
            self._leave(follower, name)
            follower.unchecked[name] = where
            return
        subject = follower.subjects.get(name)
        target = Target(follower.check, showing.publication.key.service.source, name, *where)
        counts = instance.readiness in {"ready", "unknown"} and showing.rule.share != 0
        if subject is not None and subject.target == target:
            if counts == (name in follower.away):
                self._count(follower, subject, -1)
                follower.away ^= {name}
                self._count(follower, subject, 1)
            return
        self._leave(follower, name)
        subject = follower.subjects[name] = self.checker.subscribe(target, follower)
        if not counts:
            follower.away.add(name)
        self._count(follower, subject, 1)
        if subject.verdict is False:  # others have it checked already
            self._mark(follower, name)

    def _leave(self, follower: Follower, name: str) -> None:
        follower.unchecked.pop(name, None)
        if (subject := follower.subjects.get(name)) is not None:
            self._count(follower, subject, -1)
            del follower.subjects[name]
            follower.away.discard(name)
            self.checker.unsubscribe(subject, follower)

    @staticmethod
    def _count(follower: Follower, subject: Subject, by: int) -> None:
        if subject.target.instance in follower.away:
            return
        ward = follower.watch.ward
        ward.total += by
        ward.failing += by * subject.failing
        if by < 0:
            ward.left(subject)

    # --- what checks find

    def _heard(self, subject: Subject, was_failing: bool, was_verdict: bool | None) -> None:  # noqa: FBT001 - a finding
        """Take a finding. All is counted before anything is judged."""
        failing, verdict, name = subject.failing, subject.verdict, subject.target.instance
        wards: dict[Ward, Watch] = {}
        for follower in subject.subscribers:
            assert isinstance(follower, Follower)
            if verdict is not was_verdict:
                self._mark(follower, name)
            if name in follower.away:
                continue
            ward = follower.watch.ward
            ward.failing += failing - was_failing
            if verdict is not was_verdict or ward.listens:
                wards[ward] = follower.watch
        now = self._clock.monotonic()
        for ward, watch in wards.items():
            if verdict is was_verdict:
                pass
            elif verdict is False:
                lag = self.checker.lag + subject.target.check.timeout
                for other in ward.fell(now, subject, lag, lambda watch=watch: watch.others(subject)):  # type: ignore[misc]
                    self.checker.soon(other)
            else:
                ward.rose(subject)
            ward.heard(now, subject)

    def _moved(self, registration: str, subjects: Collection[Subject] | None) -> None:
        """Take note that masks came or went: for these subjects, or (None) for all of a registration."""
        watch = self.watches[registration]
        if watch.ward.panics != watch.panicked:
            watch.panicked = watch.ward.panics
            self._metrics.count("health_panics", begun="yes" if watch.panicked else "no")
            log.warning(
                "registration=%s panic=%s failing=%d of=%d panic_percent=%d%s",
                registration,
                "begun" if watch.panicked else "ended",
                watch.ward.failing,
                watch.ward.total,
                watch.ward.percent,
                " withdrawn=0 cause='so many fail that the checks are in doubt'" if watch.panicked else "",
            )
        for follower in watch.followers.values():
            if subjects is None:
                for name, subject in follower.subjects.items():
                    if subject.verdict is False:
                        self._mark(follower, name)
            else:
                for subject in subjects:
                    if follower.subjects.get(subject.target.instance) is subject:
                        self._mark(follower, subject.target.instance)

    def _mark(self, follower: Follower, name: str) -> None:
        self._changed.setdefault(follower.place, set()).add(name)
        self._news.set()

    async def _tell(self) -> None:
        """Tell the reconciler which instances to look at again, a few milliseconds' worth at a time."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._clock.sleep(WINDOW_SECONDS)
            changed, self._changed = self._changed, {}
            for (target, key), names in changed.items():
                if self._reconciler is not None:
                    self._reconciler.verdict_changed(target, key, names)

    def _refusal(self, source: str, address: str) -> str | None:
        near = self._reconciler.near.get(source) if self._reconciler is not None else None
        if near is None:
            return f"source {source} is not declared"
        reason: str | None = near.allowed.refusal(address)
        return reason
