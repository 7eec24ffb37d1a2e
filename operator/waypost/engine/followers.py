"""What is checked for whom: publications follow instances, and those of a registration are one ward. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from waypost.health.check import Check, TcpSocket
from waypost.health.subject import Subject
from waypost.health.ward import Ward
from waypost.model import PublicationKey

if TYPE_CHECKING:
    from waypost.engine.publish import Showing
    from waypost.model import Instance
    from waypost.settings import HealthCheck

__all__ = ["Follower", "Place", "Watch", "check_of"]

Place = tuple[str, PublicationKey]  # a sink, and a publication in it


class Follower:
    """One publication in one sink, as far as it is checked.

    `subjects` are by instance id; `unchecked` says of the others why not. `away` are those that are checked but count
    for nothing, because they would not be published anyway: not ready at their source, or of an entry of weight 0.
    """

    __slots__ = (
        "away", "backlog", "check", "instances", "place", "port", "showing", "subjects", "unchecked", "watch",
    )  # fmt: skip

    def __init__(self, place: Place, watch: Watch) -> None:
        self.place = place
        self.watch = watch
        self.showing: Showing | None = None
        self.instances: Mapping[str, Instance] = {}
        self.backlog: list[str] = []  # instances that are to be looked at when there is time
        self.check = Check(TcpSocket())
        self.port: int | str | None = None
        self.subjects: dict[str, Subject] = {}
        self.unchecked: dict[str, str] = {}
        self.away: set[str] = set()


class Watch:
    """One registration, as far as it is checked: its publications, and the ward that their instances are."""

    __slots__ = ("followers", "panicked", "ward")

    def __init__(self, ward: Ward) -> None:
        self.ward = ward
        self.followers: dict[Place, Follower] = {}
        self.panicked = False  # as last told

    def others(self, than: Subject) -> list[Subject]:
        """Return all that count but one."""
        found: dict[Subject, None] = {}
        for follower in self.followers.values():
            found.update((s, None) for name, s in follower.subjects.items() if name not in follower.away)
        found.pop(than, None)
        return list(found)


def check_of(spec: HealthCheck) -> Check | None:
    """Return what a manifest asks for; None for kinds that are not there yet, which settings refuse."""
    if spec.tcp_socket is None:
        return None
    return Check(TcpSocket(), spec.period_seconds, spec.timeout_seconds, spec.success_threshold, spec.failure_threshold)
