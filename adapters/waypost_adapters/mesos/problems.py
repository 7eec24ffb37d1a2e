"""What is wrong with single tasks and events: counted always, told once for each name, bounded."""

from __future__ import annotations

import logging

from waypost.adapter import Metrics

__all__ = ["Problems"]

MOST_TOLD = 1000


class Problems:
    """One bad task fails alone: this is where it says so."""

    def __init__(self, log: logging.LoggerAdapter[logging.Logger], metrics: Metrics) -> None:
        self._log, self._metrics = log, metrics
        self._told: set[tuple[str, str]] = set()

    def tell(self, reason: str, name: str, what: str) -> None:
        """Count a problem of that reason (one of few), and log it at the first time for this name.

        The name is Mesos' own text, so it is quoted and cut.
        """
        self._metrics.count("mesos_problems_total", reason=reason)
        told = (reason, name[:200])
        if told in self._told or len(self._told) > MOST_TOLD:
            return
        self._told.add(told)
        if len(self._told) > MOST_TOLD:
            self._log.warning("reason=TooManyProblems: further ones are counted in mesos_problems_total only")
            return
        self._log.warning("reason=%s name=%.202r: %.500s", reason, told[1], what)
