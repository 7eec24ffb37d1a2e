"""What Waypost itself must be allowed, as rules of RBAC: no more than the code asks for. Tests run with these alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from waypost.settings.bounds import GROUP
from waypost.settings.schema import NAMES

__all__ = ["AT_HOME", "EVERYWHERE", "Rule"]

Rule = Mapping[str, Sequence[str]]

_PLURALS = [plural for plural, _ in NAMES.values()]

EVERYWHERE: Sequence[Rule] = (
    {"apiGroups": [GROUP], "resources": _PLURALS, "verbs": ["get", "list", "watch"]},
    {"apiGroups": [GROUP], "resources": ["serviceregistrations"], "verbs": ["patch"]},  # its finalizer
    {"apiGroups": [GROUP], "resources": ["serviceholds"], "verbs": ["create", "patch", "delete"]},
    {"apiGroups": [GROUP], "resources": [f"{plural}/status" for plural in _PLURALS], "verbs": ["patch"]},
    {
        "apiGroups": ["apiextensions.k8s.io"],
        "resources": ["customresourcedefinitions"],
        "resourceNames": [f"{plural}.{GROUP}" for plural in _PLURALS],
        "verbs": ["get"],  # whether an object's deletion was meant for the object
    },
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
)
"""A ClusterRole."""

AT_HOME: Sequence[Rule] = (
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "list", "watch", "create", "patch"],
    },
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]},
)
"""A Role in Waypost's own namespace."""
