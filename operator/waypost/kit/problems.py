"""What is wrong with single parts of what a source reads: counted always, told once for each name, bounded.

One bad task or event fails alone: this is where it says so.
"""

from __future__ import annotations

import logging

from waypost.adapter import Metrics

__all__ = ["Problems"]

MOST_TOLD = 1000


class Problems:
    """Tells problems of one adapter; `metric` is the counter, with the label `reason`."""

    def __init__(self, log: logging.LoggerAdapter[logging.Logger], metrics: Metrics, metric: str) -> None:
        self._log, self._metrics, self._metric = log, metrics, metric
        self._told: set[tuple[str, str]] = set()

    def tell(self, reason: str, name: str, what: str) -> None:
        """Count a problem of that reason (one of few), and log it at the first time for this name.

        The name is the other system's own text, so it is quoted and cut.
        """
        self._metrics.count(self._metric, reason=reason)
        told = (reason, name[:200])
        if told in self._told or len(self._told) > MOST_TOLD:
            return
        self._told.add(told)
        if len(self._told) > MOST_TOLD:
            self._log.warning("reason=TooManyProblems: further ones are counted in %s only", self._metric)
            return
        self._log.warning("reason=%s name=%.202r: %.500s", reason, told[1], what)
