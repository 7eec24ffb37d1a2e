"""The engine's state as metrics, set when they are asked for: nothing is counted twice, and idle costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import GCCollector, ProcessCollector

from waypost.engine import status

if TYPE_CHECKING:
    from waypost.engine.engine import Engine

__all__ = ["Gauges"]


class Gauges:
    """Keeps one engine's gauges. Series of a resource that is gone are taken away."""

    def __init__(self, engine: Engine) -> None:
        """Register what the process itself tells (memory, CPU, open files, garbage collections)."""
        self._engine = engine
        self._known: set[tuple[str, str]] = set()
        collectors = engine.metrics.collectors
        ProcessCollector(registry=collectors)
        GCCollector(registry=collectors)

    def render(self, now: float) -> bytes:
        """Return all metrics as text. `now` is monotonic."""
        self._set(now)
        return self._engine.metrics.render()

    def _set(self, now: float) -> None:
        engine = self._engine
        settings = engine.settings
        mine = engine.metrics.bound()
        told = status.manifests(engine)
        mine.gauge("manifests_complete", told.complete)
        mine.gauge("manifests_problems", told.problem_count)
        mine.gauge("registrations", len(settings.registrations) if settings is not None else 0)
        mine.gauge("holds", sum(not hold.decision for hold in engine.holds.holds.values()))
        mine.gauge("leads", engine.leadership.leads())
        if engine.leadership.elector is not None:
            term = engine.leadership.term
            mine.gauge("term", term.number if term is not None else 0)
            mine.gauge("elector_up", not engine.leadership.problem)
        names = {("source", name) for name in settings.sources} if settings is not None else set()
        names |= {("sink", name) for name in engine.reconciler.targets}
        for kind, name in self._known - names:
            engine.metrics.forget(kind=kind, name=name)
        self._known = names
        for kind, name in names:
            (self._source if kind == "source" else self._sink)(name, now)

    def _source(self, name: str, now: float) -> None:
        report = status.source(self._engine, name, now)
        if report is None:
            return
        bound = self._engine.metrics.bound(kind="source", name=name)
        bound.gauge("source_up", report.condition.ok)
        bound.gauge("source_complete", report.complete)
        bound.gauge("source_stale", report.stale)
        bound.gauge("source_services", report.services)
        bound.gauge("source_instances", report.instances)
        bound.gauge("source_ready_instances", report.ready_instances)
        bound.gauge("source_doubted_instances", report.doubted)
        bound.gauge("source_warnings", len(report.warnings))
        if report.last_read_seconds is not None:
            bound.gauge("source_last_read_seconds", report.last_read_seconds)

    def _sink(self, name: str, _now: float) -> None:
        report = status.sink(self._engine, name)
        if report is None:
            return
        bound = self._engine.metrics.bound(kind="sink", name=name)
        bound.gauge("sink_up", report.condition.ok)
        bound.gauge("sink_writes", report.mode == "Apply")
        bound.gauge("sink_records", report.records)
        bound.gauge("sink_ready_instances", report.ready)
        bound.gauge("sink_pending", report.pending)
        bound.gauge("sink_held", report.held)
        bound.gauge("sink_failed", report.failed)
        bound.gauge("sink_conflicting", report.conflicting)
        bound.gauge("sink_written", report.written)
        bound.gauge("sink_warnings", len(report.warnings))
        if report.epoch is not None:
            bound.gauge("sink_epoch", report.epoch)
