"""The metrics that adapters and the engine keep, over prometheus-client with a registry of its own.

Nothing is process-global.

Series are bounded: beyond `most` label sets of one metric under one resource, further ones are counted together under
the value `other`, so that a label made of untrusted data costs a blurred figure and no memory. A resource's series go
with it (`forget`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from waypost.adapter import Metrics

__all__ = ["CONTENT_TYPE", "OTHER", "MetricsRegistry"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
OTHER = "other"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LABEL_LIMIT = 128  # characters of a label's value


class MetricsRegistry:
    """Holds every metric of a process (or of a test); `bound` gives what a Context carries. For one thread."""

    def __init__(self, prefix: str = "waypost_", most: int = 100) -> None:
        """`most` label sets a metric and resource."""
        self.collectors = CollectorRegistry(auto_describe=False)
        self._prefix = prefix
        self._most = most
        self._metrics: dict[str, MetricWrapperBase] = {}
        self._bound: dict[tuple[tuple[str, str], ...], _Bound] = {}

    def bound(self, **labels: str) -> Metrics:
        """Return metrics that always carry these labels: `kind` and `name` of a resource; none for the process itself.

        One metric's name is used with one set of label names only; another set raises ValueError (a bug that a test
        should show).
        """
        key = tuple(sorted(labels.items()))
        return self._bound.setdefault(key, _Bound(self, key, self._most))

    def forget(self, **labels: str) -> None:
        """Take away all series of a resource that is gone; the labels are those given to `bound`."""
        if (bound := self._bound.pop(tuple(sorted(labels.items())), None)) is not None:
            bound.clear()

    def render(self) -> bytes:
        """Return all metrics in the text format that CONTENT_TYPE names."""
        shown = cast("CollectorRegistry", _WithoutTimes(self.collectors))  # no more than `collect` is called
        return generate_latest(shown)

    def metric(self, type: type[Any], name: str, labels: tuple[str, ...]) -> MetricWrapperBase:
        """Return the metric of that name, made at first use. Raises ValueError where its type or labels are others."""
        found: MetricWrapperBase | None = self._metrics.get(name)
        if found is None:
            if not _NAME.fullmatch(name):
                raise ValueError(f"metric `{name}`: a name is lower-case letters, digits and underscores")
            more = {"buckets": BUCKETS} if type is Histogram else {}
            made = type(self._prefix + name, name.replace("_", " "), labels, registry=self.collectors, **more)
            self._metrics[name] = found = cast("MetricWrapperBase", made)
        had = found._labelnames  # noqa: SLF001 - prometheus-client shows them nowhere else
        if found.__class__ is not type or had != labels:
            is_ = found.__class__.__name__
            raise ValueError(f"metric `{name}` is a {is_} with the labels {had}, not a {type.__name__} with {labels}")
        return found


class _WithoutTimes:
    """Shows a registry without prometheus-client's `_created` series, which double the page and tell nothing."""

    def __init__(self, shown: CollectorRegistry) -> None:
        self._shown = shown

    def collect(self) -> Iterator[Metric]:
        for family in self._shown.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            if family.samples:
                yield family


class _Bound:
    """Metrics with some labels fixed. A series that was used before costs two dictionary look-ups."""

    def __init__(self, registry: MetricsRegistry, fixed: tuple[tuple[str, str], ...], most: int) -> None:
        self._registry = registry
        self._fixed = dict(fixed)
        self._most = most
        self._series: dict[str, dict[tuple[tuple[str, str], ...], Any]] = {}
        self._made: list[tuple[MetricWrapperBase, tuple[str, ...]]] = []

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        self._child(Counter, name, labels).inc(value)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self._child(Gauge, name, labels).set(value)

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        self._child(Histogram, name, labels).observe(seconds)

    def _child(self, type: type[Any], name: str, labels: Mapping[str, str]) -> Any:
        series = self._series.setdefault(name, {})
        key = tuple(sorted(labels.items()))
        child = series.get(key)
        if child is None:
            if clash := labels.keys() & self._fixed.keys():
                raise ValueError(f"metric `{name}`: the labels {sorted(clash)} are the resource's own")
            if len(series) >= self._most:
                key = tuple((label, OTHER) for label, _ in key)
                child = series.get(key)
            if child is None:
                child = series[key] = self._make(type, name, {**dict(key), **self._fixed})
        if not isinstance(child, type):
            raise TypeError(f"metric `{name}` is a {child.__class__.__name__}, not a {type.__name__}")
        return child

    def _make(self, type: type[Any], name: str, labels: Mapping[str, str]) -> Any:
        names = tuple(sorted(labels))
        metric = self._registry.metric(type, name, names)
        if not names:
            return metric
        values = tuple(labels[label][:_LABEL_LIMIT] for label in names)
        self._made.append((metric, values))
        return metric.labels(*values)

    def clear(self) -> None:
        for metric, values in self._made:
            if metric._labelnames:  # noqa: SLF001 - as above
                metric.remove(*values)
        self._made.clear()
        self._series.clear()
