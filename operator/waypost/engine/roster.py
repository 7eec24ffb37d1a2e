"""Which sources and sinks the reconciler knows, as their specs are now; what was learnt of them outlives an edit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from waypost.engine import bounds
from waypost.engine.catalog import SourceView
from waypost.engine.policy import Policy
from waypost.engine.target import Mode, Target

if TYPE_CHECKING:
    from waypost.engine.reconcile import Reconciler
    from waypost.settings import ServiceSink, ServiceSource

__all__ = ["Roster"]


class Roster:
    """Keeps the reconciler's views and targets. What follows of it is marked by who calls."""

    def __init__(
        self,
        reconciler: Reconciler,
        now: Callable[[], float],
        *,
        on_doubt: Callable[[], None],
        source: Callable[[str], ServiceSource | None],
        touched: set[str],
    ) -> None:
        """`source` finds a declared source; `touched` takes the registrations of which something is done in a sink."""
        self._reconciler = reconciler
        self._now = now
        self._on_doubt = on_doubt
        self._source = source
        self._touched = touched

    def know_source(self, source: ServiceSource) -> None:
        """Have a source known as it is declared now; a new one learns from the sinks what was there before."""
        name, reconciler = source.name, self._reconciler
        loss = bounds.loss(source)
        view = reconciler.views.get(name)
        if view is None:
            view = reconciler.views[name] = SourceView(name, loss, reconciler.changed, self._now)
            view.on_doubt = self._on_doubt
            for target in reconciler.targets.values():
                view.recall(
                    (key.service, i)
                    for key in target.ledger.shelves
                    if key.service.source == name
                    for i in target.ledger.instances(key)
                )
        view.loss = loss
        view.frozen = source.spec.mode == "Frozen"
        reconciler.near[name] = bounds.near(source)

    def know_sink(self, sink: ServiceSink, mode: Mode) -> None:
        """Have a sink known as it is declared now; one that writes to the same place goes on counting its budgets."""
        name, spec, targets = sink.name, sink.spec, self._reconciler.targets
        policy = Policy(bounds.sink_safety(sink), lambda source: bounds.source_safety(self._source(source)))
        target = Target(name, bounds.far(sink), mode, policy, self._touched)
        target.place = (spec.type, spec.owner_id, sink.decoded_config)
        former = targets.get(name)
        if former is not None and former.place == target.place:
            target.fence = former.fence
            if "DryRun" not in {former.mode, target.mode}:
                target.succeed(former)
        targets[name] = target

    def forget_source(self, name: str) -> None:
        """Stop knowing a source. No record goes because of it (promise 12)."""
        self._reconciler.near.pop(name, None)
        self._reconciler.views.pop(name, None)
        self._reconciler.reconsider_source(name)

    def forget_sink(self, name: str) -> None:
        """Stop knowing a sink. No record goes because of it (promise 12)."""
        self._reconciler.forget_target(name)
