"""Who may read and publish what: grants of sources and sinks, and names that are reserved. Pure.

In patterns over names `*` stands for one label (or a part of one) and `**` for any number of labels; over namespaces
`**` for any depth. Upper and lower case (of ASCII letters, as in DNS) are one in them, whatever the sink. Without any
grant everything is granted: in file mode the folder is the trust.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

__all__ = ["may_publish", "may_read", "not_readable"]


def may_read(grants: Iterable[Any] | None, registration_namespace: str, service_namespace: str) -> bool:
    """Say whether registrations of a namespace may read services of a namespace there."""
    if not grants:
        return True
    return any(
        _any(grant.namespaces, registration_namespace, "/")
        and (not grant.service_namespaces or _any(grant.service_namespaces, service_namespace, "/"))
        for grant in grants
    )


def not_readable(registration_namespace: str, service_namespace: str) -> str:
    """Say that registrations of a namespace may not read services of a namespace there."""
    where = f"of `{service_namespace}`" if service_namespace else "without a namespace"
    return f"no grant of the source lets namespace `{registration_namespace}` read services {where}"


def may_publish(grants: Iterable[Any] | None, reserved: Iterable[str] | None, namespace: str, name: str) -> str | None:
    """Say why registrations of a namespace may not publish a name; None where they may."""
    if reserved and (_any(reserved, name, ".") or _any(reserved, name.rstrip("."), ".")):  # `kube-dns.` is `kube-dns`
        return f"the name `{name}` is reserved by the sink"
    if not grants:
        return None
    if any(
        _any(grant.namespaces, namespace, "/") and (not grant.names or _any(grant.names, name, ".")) for grant in grants
    ):
        return None
    return f"no grant of the sink lets namespace `{namespace}` publish the name `{name}`"


def _any(patterns: Iterable[str], text: str, separator: str) -> bool:
    return any(_pattern(pattern, separator).fullmatch(text) for pattern in patterns)


@lru_cache(maxsize=4096)
def _pattern(pattern: str, separator: str) -> re.Pattern[str]:
    one = f"[^{re.escape(separator)}]*"
    parts = re.split(r"(\*\*|\*)", pattern)
    return re.compile(
        "".join({"**": ".*", "*": one}.get(part, re.escape(part)) for part in parts), re.IGNORECASE | re.ASCII
    )
