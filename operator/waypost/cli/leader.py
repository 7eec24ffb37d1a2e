"""Asks the leader on Kubernetes, by the API server alone and with the rights of whoever asks.

What is read goes by the proxy of the leader's pod; a hold is decided in its ServiceHold. What needs the admin token is
told by `WithinPod`: the token never leaves the pod.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from waypost.adapter import AdapterError
from waypost.cli.asking import SECONDS, Server, told
from waypost.cli.exits import CommandError
from waypost.engine.status import HoldReport
from waypost.kit.kubernetes.access import Access, of_process
from waypost.kit.kubernetes.api import Api, connect
from waypost.kit.kubernetes.errors import ApiError
from waypost.kube.crds import resource_of
from waypost.kube.leader import LeaderPod, leader_pod
from waypost.kube.shell import home_namespace
from waypost.settings import ServiceHold
from waypost.settings.kinds import HoldSpec, HoldStatus

__all__ = ["Leader", "WithinPod"]

T = TypeVar("T")

MERGE = "application/merge-patch+json"
TOKEN_NEEDED = (401, 421)  # reads need the token there, or the API server goes by a name that Waypost does not know


class WithinPod(CommandError):
    """What was asked can be had within the leader's pod only."""

    def __init__(self, pod: LeaderPod) -> None:
        super().__init__(f"this is to be asked within the pod {pod.name}")
        self.pod = pod


class _Meta(msgspec.Struct, rename="camel"):
    name: str
    creation_timestamp: str = ""


class _Hold(msgspec.Struct):
    metadata: _Meta
    spec: HoldSpec
    status: HoldStatus | None = None


class Leader(Server):
    """The leader, found once."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Find it. Raises CommandError."""
        self._access: Callable[[], Access] = functools.cache(
            functools.partial(of_process, options.kubeconfig, options.context)
        )  # read once: a plugin of the kubeconfig may ask a person
        self._namespace = home_namespace(options.home)
        self._lease: str = options.lease
        self._pod: LeaderPod | None = None

    @property
    def pod(self) -> LeaderPod:
        """Where the leader is. Raises CommandError."""
        if self._pod is None:
            self._pod = self._done(lambda api: leader_pod(api, self._namespace, self._lease))
            self.url = f"the leader {self._pod.name}"
        return self._pod

    def act(self, path: str, name: str, body: Any, type: type[T]) -> T:
        """Decide on a hold; all else is done within the pod."""
        if path != "/v1/holds":
            raise WithinPod(self.pod)
        return msgspec.convert(msgspec.to_builtins(self._decide(name, body)), type)

    def _decide(self, name: str, decision: dict[str, Any]) -> HoldReport:
        path = resource_of(ServiceHold.kind).path(name)
        body = msgspec.json.encode({"spec": decision})
        params = {"fieldManager": "kubectl-waypost"}
        try:
            raw = self._done(
                lambda api: api.request("PATCH", path, params=params, body=body, content_type=MERGE, seconds=SECONDS)
            )
        except _Refused as refused:
            if refused.error.status == 404:
                text = f"there is no hold `{name}`: see `kubectl waypost holds`; one whose set has grown has a new name"
                raise CommandError(text) from None
            raise
        return _report(self._decoded(raw, _Hold))

    def _ask(self, method: str, path: str, body: bytes | None, wait: float) -> bytes:
        pod = self.pod
        path, _, query = path.partition("?")
        try:
            return self._done(
                lambda api: api.request(
                    method, pod.proxy + path, params=dict(parse_qsl(query)), body=body, seconds=SECONDS + wait
                )
            )
        except _Refused as refused:
            said = told(refused.error.message.encode())
            if said and refused.error.status in TOKEN_NEEDED:
                raise WithinPod(pod) from None
            if said:
                raise CommandError(f"{self.url} refused: {said}") from None
            raise

    def _done(self, what: Callable[[Api], Awaitable[T]]) -> T:
        """Ask the API server. Raises CommandError, _Refused where it answered."""

        async def ask() -> T:
            async with connect(access=self._access, user_agent="kubectl-waypost") as api:
                return await what(api)

        try:
            return asyncio.run(ask())
        except ApiError as error:
            raise _Refused(error) from None
        except AdapterError as error:
            raise CommandError(f"Kubernetes: {error}") from None


class _Refused(CommandError):
    def __init__(self, error: ApiError) -> None:
        super().__init__(f"Kubernetes: {error}")
        self.error = error


def _report(hold: _Hold) -> HoldReport:
    spec, status = hold.spec, hold.status
    return HoldReport(
        name=hold.metadata.name,
        digest=spec.digest,
        sink=status.sink_ref.name if status and status.sink_ref else "",
        source=status.source_ref.name if status and status.source_ref else "",
        cause=status.cause if status else "",
        removals=status.removals if status else 0,
        changes=status.changes if status else 0,
        of=status.of if status else 0,
        sample=list(status.sample) if status else [],
        created_time=_seconds(hold.metadata.creation_timestamp) or 0.0,
        decision=spec.decision or "",
        reason=spec.reason,
        decided_time=time.time(),  # the leader writes down when it heard of it
        expires_seconds=spec.expires_seconds,
    )


def _seconds(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None
