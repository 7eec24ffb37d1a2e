"""Which agents are not back after a failover: an almost empty view of a new master says of nothing that it ended. Pure.

A master that takes over knows no task until the agents come back to it, and gives them `agent_reregister_timeout` for
that. Until then an agent that was there under the master before, or that stands in the new one's registry, is unknown:
neither there nor gone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["DEFAULT_SECONDS", "Absence", "duration"]

DEFAULT_SECONDS = 600.0  # Mesos' own default of agent_reregister_timeout
MARGIN = 5.0  # seconds: the master's clock began to run a little after ours at the latest, and its removals are paced
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|secs|mins|hrs|days|weeks)")
_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "secs": 1.0,
    "mins": 60.0,
    "hrs": 3600.0,
    "days": 86400.0,
    "weeks": 604800.0,
}


def duration(text: str) -> float | None:
    """Return the seconds of a duration as Mesos' flags write it (`10mins`); None where it is none."""
    match = _DURATION.fullmatch(text)
    return float(match[1]) * _SECONDS[match[2]] if match else None


class Absence:
    """Lives as long as the source, over all its connections.

    Agents by id, each with its node's name; times in seconds on one monotonic clock.
    """

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}
        self.until = 0.0  # when they are no longer waited for
        self._master = ""
        self._expected: dict[str, str] = {}

    @property
    def nodes(self) -> frozenset[str]:
        """The nodes that are unknown."""
        return frozenset(self.missing.values())

    def view(
        self, master: str, present: Mapping[str, str], recovered: Mapping[str, str], now: float, seconds: float
    ) -> None:
        """Take a whole view of the master of that identity, which waits `seconds` for agents to come back."""
        waited_for = dict(recovered)
        if master != self._master:
            if self._master:
                waited_for.update(self._expected)
            waited_for.update(self.missing)
            self.until = now + seconds + MARGIN
        elif now < self.until:
            waited_for.update(self.missing)
        elif waited_for:
            self.until = now + MARGIN  # past the time-out the master itself removes them, a few at a time
        self._master = master
        self._expected = dict(present)
        self.missing = {agent: node for agent, node in waited_for.items() if agent not in present}

    def added(self, agent: str, node: str) -> bool:
        """Take an agent that registered; return whether it was waited for."""
        self._expected[agent] = node
        return self.missing.pop(agent, None) is not None

    def removed(self, agent: str) -> bool:
        """Take an agent that the master says is gone; return whether it was waited for."""
        self._expected.pop(agent, None)
        return self.missing.pop(agent, None) is not None

    def expire(self, now: float) -> bool:
        """Wait no longer once the time is over; return whether any were waited for until now."""
        if not self.missing or now < self.until:
            return False
        self.missing.clear()
        return True
