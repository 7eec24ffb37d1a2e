"""Whether the CRD of a kind is there: what decides if an object's deletion was meant for the object."""

from __future__ import annotations

from typing import Literal

import msgspec

from waypost.adapter import AdapterError
from waypost.kit.kubernetes.api import Api
from waypost.kit.kubernetes.errors import ApiError
from waypost.kit.kubernetes.resource import Resource
from waypost.settings.bounds import GROUP, VERSION
from waypost.settings.schema import NAMES

__all__ = ["Definitions", "resource_of", "why_unfollowed"]

SECONDS = 10.0
_CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")

Standing = Literal["there", "gone"]


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    uid: str
    deletion_timestamp: str | None = None


class _Definition(msgspec.Struct, frozen=True):
    metadata: _Meta


_DEFINITION = msgspec.json.Decoder(_Definition)


def resource_of(kind: str) -> Resource:
    """Return the collection of all objects of a kind."""
    return Resource(GROUP, VERSION, NAMES[kind][0])


def why_unfollowed(error: AdapterError) -> str:
    """Return what a person is told of a kind that cannot be listed or watched."""
    if isinstance(error, ApiError) and error.status == 404:
        return f"{error}: the API server knows no such kind; are Waypost's definitions installed (`waypost crds`)?"
    return str(error)


class Definitions:
    """The CRDs of our kinds. One that was deleted and made anew is another: its objects went with the first."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._uids: dict[str, str] = {}

    async def listed(self, kind: str) -> None:
        """Note which CRD it is whose objects have been listed. Raises AdapterError."""
        self._uids.pop(kind, None)
        found = await self._get(kind)
        if found is not None and found.deletion_timestamp is None:
            self._uids[kind] = found.uid

    async def absent(self, kind: str) -> bool:
        """Say whether there is no CRD at all; one that waits for its objects to go is there. Raises AdapterError."""
        return await self._get(kind) is None

    async def standing(self, kind: str) -> Standing:
        """Say whether the CRD, whose objects were listed, is there and stays. Raises AdapterError where nobody says."""
        found = await self._get(kind)
        known = self._uids.get(kind)
        if found is None or found.deletion_timestamp is not None or (known is not None and found.uid != known):
            return "gone"
        self._uids[kind] = found.uid
        return "there"

    async def _get(self, kind: str) -> _Meta | None:
        try:
            body = await self._api.request("GET", _CRDS.path(f"{NAMES[kind][0]}.{GROUP}"), seconds=SECONDS)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return _DEFINITION.decode(body).metadata
