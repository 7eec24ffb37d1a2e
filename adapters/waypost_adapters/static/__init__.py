"""The source of what no orchestrator runs: services written in registrations."""

from __future__ import annotations

from waypost_adapters.static.source import SOURCE

__all__ = ["SOURCE"]
