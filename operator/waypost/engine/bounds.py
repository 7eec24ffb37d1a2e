"""What the specs of sources and sinks bound, in the engine's own words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waypost.engine.doubt import Loss
from waypost.engine.policy import SinkSafety, SourceSafety
from waypost.engine.publish import Far, Near
from waypost.kit.cidrs import Allowed

if TYPE_CHECKING:
    from waypost.settings import ServiceSink, ServiceSource

__all__ = ["far", "loss", "near", "sink_safety", "source_safety"]


def loss(source: ServiceSource) -> Loss:
    """Return how much of a source may be absent before that is doubted."""
    safety = source.spec.safety
    return Loss(safety.empty_seconds, safety.max_loss_percent, safety.min_loss)


def near(source: ServiceSource) -> Near:
    """Return what is published of a source at all."""
    spec = source.spec
    return Near(spec.environment, Allowed(spec.allowed_cidrs), spec.grants)


def far(sink: ServiceSink) -> Far:
    """Return what a sink takes."""
    spec = sink.spec
    return Far(
        environment=spec.environment,
        owner=spec.owner_id,
        accepts=sink.accepted,
        allowed=Allowed(spec.allowed_cidrs),
        restricted=bool(spec.allowed_cidrs),
        grants=spec.grants,
        reserved=spec.reserved_names,
        adopts=spec.adoption == "Identical",
    )


def sink_safety(sink: ServiceSink) -> SinkSafety:
    """Return how much may be withdrawn or rewritten in a sink."""
    safety = sink.spec.safety
    return SinkSafety(safety.max_removal_percent, safety.min_removals, safety.max_change_percent, safety.window_seconds)


def source_safety(source: ServiceSource | None) -> SourceSafety:
    """Return how much may be withdrawn on a source's account; of one that is not declared, what is so by default."""
    if source is None:
        return SourceSafety()
    safety = source.spec.safety
    return SourceSafety(safety.max_loss_percent, safety.min_loss, safety.window_seconds)
