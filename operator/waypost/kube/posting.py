"""Posts Events about what has no namespace, as `kubectl describe` looks for them: in `default`, about no namespace."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from waypost.adapter import AdapterError
from waypost.kit.kubernetes.api import Api
from waypost.kube.objects import ObjectMeta
from waypost.settings import API_VERSION

__all__ = ["COMPONENT", "ClusterEvents"]

COMPONENT = "waypost"
POST_SECONDS = 10.0
MOST_WAITING = 1000  # newer ones are dropped

log = logging.getLogger("waypost.kube.posting")


class ClusterEvents:
    """`post` never blocks; an Event is lost where the API server takes none."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MOST_WAITING)

    def post(self, kind: str, meta: ObjectMeta, type_: str, reason: str, message: str) -> None:
        """Post an Event about an object of the cluster."""
        now = datetime.fromtimestamp(self._api.clock.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "metadata": {"namespace": "default", "generateName": "waypost-"},
            "involvedObject": {"apiVersion": API_VERSION, "kind": kind, "name": meta.name, "uid": meta.uid},
            "type": type_,
            "reason": reason,
            "message": message,
            "source": {"component": COMPONENT},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        with contextlib.suppress(asyncio.QueueFull):
            self._waiting.put_nowait(event)

    async def run(self) -> None:
        """Post what waits, one by one, until cancelled."""
        while True:
            event = await self._waiting.get()
            try:
                await self._api.request(
                    "POST", "/api/v1/namespaces/default/events", body=msgspec.json.encode(event), seconds=POST_SECONDS
                )
            except AdapterError as error:
                log.debug("event=%s error=%r", event["reason"], str(error))
