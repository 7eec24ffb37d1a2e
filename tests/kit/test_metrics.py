"""Metrics: bounded, bound to a resource, gone with it."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from waypost.kit.metrics import MetricsRegistry


def shown(registry: MetricsRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(registry.render().decode())
        for sample in family.samples
    }


WEB = (("kind", "ServiceSink"), ("name", "web"))


def test_a_resource_s_metrics_carry_its_labels() -> None:
    registry = MetricsRegistry()
    metrics = registry.bound(kind="ServiceSink", name="web")
    metrics.count("requests", status="ok")
    metrics.count("requests", 2, status="ok")
    metrics.gauge("pending", 7)
    metrics.gauge("pending", 3)
    metrics.observe("write_seconds", 0.02)
    values = shown(registry)
    assert values["waypost_requests_total", (*WEB, ("status", "ok"))] == 3
    assert values["waypost_pending", WEB] == 3
    assert values["waypost_write_seconds_count", WEB] == 1
    assert values["waypost_write_seconds_sum", WEB] == 0.02
    assert values["waypost_write_seconds_bucket", (*WEB[:1], ("le", "0.025"), *WEB[1:])] == 1
    assert not any(name.endswith("_created") for name, _ in values)


def test_beyond_the_bound_label_sets_are_counted_together() -> None:
    registry = MetricsRegistry(most=3)
    metrics = registry.bound(kind="ServiceSink", name="web")
    for number in range(1000):
        metrics.count("requests", path=f"/{number}")
    counts = {labels: value for (name, labels), value in shown(registry).items() if name == "waypost_requests_total"}
    assert len(counts) == 4
    assert counts[(*WEB, ("path", "other"))] == 997
    other = registry.bound(kind="ServiceSink", name="api")
    other.count("requests", path="/0")
    assert ("waypost_requests_total", (("kind", "ServiceSink"), ("name", "api"), ("path", "/0"))) in shown(registry)


def test_a_label_s_value_is_cut() -> None:
    registry = MetricsRegistry()
    registry.bound().count("requests", path="x" * 10_000)
    assert max(len(labels[0][1]) for _, labels in shown(registry)) == 128


def test_a_resource_that_is_gone_takes_its_series_along() -> None:
    registry = MetricsRegistry()
    gone, kept = registry.bound(kind="ServiceSink", name="web"), registry.bound(kind="ServiceSink", name="api")
    for metrics in (gone, kept):
        metrics.count("requests", status="ok")
        metrics.gauge("pending", 1)
    registry.forget(kind="ServiceSink", name="web")
    assert {dict(labels)["name"] for _, labels in shown(registry)} == {"api"}
    registry.bound(kind="ServiceSink", name="web").count("requests", status="ok")
    assert shown(registry)["waypost_requests_total", (*WEB, ("status", "ok"))] == 1


def test_the_same_resource_has_the_same_metrics() -> None:
    registry = MetricsRegistry()
    assert registry.bound(kind="a", name="b") is registry.bound(name="b", kind="a")


def test_two_registries_share_nothing() -> None:
    one, other = MetricsRegistry(), MetricsRegistry()
    one.bound().count("starts")
    other.bound().count("starts")
    assert shown(one) == shown(other) == {("waypost_starts_total", ()): 1}


def test_a_metric_used_in_two_ways_is_refused() -> None:
    registry = MetricsRegistry()
    metrics = registry.bound(kind="ServiceSink", name="web")
    metrics.count("requests", status="ok")
    with pytest.raises(ValueError, match="with the labels"):
        metrics.count("requests", code="ok")
    with pytest.raises(TypeError, match="not a Gauge"):
        metrics.gauge("requests", 1, status="ok")
    with pytest.raises(ValueError, match="the resource's own"):
        metrics.count("other", kind="x")
    with pytest.raises(ValueError, match="lower-case"):
        metrics.count("No-Name")
