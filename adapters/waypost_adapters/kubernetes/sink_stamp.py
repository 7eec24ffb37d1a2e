"""The stamp: a ConfigMap an owner in each namespace, with environment, epoch and generation. Pure.

It is read before anything is written, and is the parameter of the admission policy in fence.yaml, which compares it, in
the write itself, with the annotation `waypost.dev/fence` of what is written.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from waypost.adapter import AdapterError, Fence, Fenced, NotClaimed, PermanentError
from waypost_adapters.kubernetes.sink_objects import OWNER, Meta

__all__ = ["STAMP", "Stamp", "document", "fence_text", "judge", "read", "stamp_name"]

STAMP = "waypost.dev/stamp"  # a label of every stamp; the policy's binding chooses its parameters by it

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?").fullmatch
_NUMBER = re.compile(r"[0-9]{1,18}").fullmatch


class Stamp(msgspec.Struct, frozen=True):
    """A stamp as read."""

    meta: Meta
    environment: str
    owner: str
    fence: Fence


class _ConfigMap(msgspec.Struct):
    metadata: Meta
    data: dict[str, str] | None = None


_decode = msgspec.json.Decoder(_ConfigMap).decode


def stamp_name(owner: str) -> str:
    """Return the name of an owner's stamp: with the owner where it can be, else with a digest of it."""
    if _NAME(owner):
        return f"waypost-stamp-{owner}"
    return f"waypost-stamp-{hashlib.blake2b(owner.encode(), digest_size=10).hexdigest()}"


def fence_text(fence: Fence) -> str:
    """Return a fence as it stands in annotations, and as the policy compares it."""
    return f"{fence.epoch}.{fence.generation}"


def read(raw: bytes | msgspec.Raw) -> Stamp:
    """Return a stamp. Raises PermanentError where it is none."""
    found = _decode(raw)
    data = found.data or {}
    epoch, generation = data.get("epoch", ""), data.get("generation", "")
    if not (_NUMBER(epoch) and _NUMBER(generation) and data.get("environment") and data.get("owner")):
        raise PermanentError(
            f"the stamp {_at(found.metadata)} cannot be read, so it is not known to whom the namespace belongs: "
            "nothing is written until that ConfigMap is put right or, where no Waypost writes here, deleted"
        )
    return Stamp(found.metadata, data["environment"], data["owner"], Fence(int(epoch), int(generation)))


def document(meta: Meta, environment: str, owner: str, fence: Fence) -> bytes:
    """Return a stamp as it is written."""
    labels = {**meta.labels, STAMP: "v1", OWNER: owner}
    data = {
        "environment": environment,
        "owner": owner,
        "epoch": str(fence.epoch),
        "generation": str(fence.generation),
        "fence": fence_text(fence),
    }
    meta = msgspec.structs.replace(meta, labels=labels)
    return msgspec.json.encode({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})


def judge(namespace: str, stamp: Stamp | None, environment: str, fence: Fence) -> AdapterError | Stamp | None:
    """Return what a stamp (None: absent) means for a write under that fence.

    None: it is the fence's own. A Stamp: a newer generation of the same epoch. An error: why nothing may be written.
    """
    if stamp is None:
        return NotClaimed(
            f"the stamp in namespace `{namespace}` is absent: somebody deleted it, or the namespace is new"
        )
    if stamp.environment != environment:
        return other_environment(stamp, environment)
    at = _at(stamp.meta)
    if stamp.fence.epoch > fence.epoch:
        return Fenced(f"the stamp {at} holds epoch {stamp.fence.epoch}, ours is {fence.epoch}: another one leads")
    if stamp.fence < fence:
        return NotClaimed(f"the stamp {at} is older than ours: the cluster was restored")
    return stamp if stamp.fence > fence else None


def other_environment(stamp: Stamp, environment: str) -> PermanentError:
    """Return why nothing is written in the namespace of a stamp of another environment."""
    return PermanentError(
        f"the stamp {_at(stamp.meta)} says environment `{stamp.environment}`, this sink `{environment}`: nothing is "
        "written until the manifest names other namespaces or the right cluster, or that ConfigMap, of a Waypost that "
        "is gone for good, is deleted"
    )


def _at(meta: Meta) -> str:
    return f"ConfigMap {meta.namespace}/{meta.name}"
