"""What the token may write, asked without writing: by a transaction that cannot come true.

Consul looks at the permissions of all operations of a transaction before it does the first one (preCheck in
agent/consul/txn_endpoint.go). This one wants the stamp to be absent, and to be as it was at an index of the far future.
"""

from __future__ import annotations

from collections.abc import Sequence

from waypost.adapter import AdapterError, Finding
from waypost_adapters.consul import wire
from waypost_adapters.consul.client import Client, denied

__all__ = ["permissions"]

NEVER = 2**53
NAME = "waypost-doctor"
README = "give the token the policy of the adapter's README (PERMISSIONS)"


async def permissions(client: Client, stamp: str, node: str) -> Sequence[Finding]:
    """Return whether the token may write the stamp, nodes and services."""
    content = wire.content_of(wire.Entry(id=NAME, service=NAME), "passing")
    never = (wire.put_key(stamp, b"", 0), wire.check_index(stamp, NEVER))
    operations = (*never, wire.create_node(node, ""), wire.write(node, NAME, NAME, content, 0))
    try:
        answer = await client.transact(wire.transaction(operations))
    except AdapterError as error:
        return [Finding("write", "failed", str(error))]
    refused = {error.op_index for error in answer.errors or () if denied(error.what)}
    if not answer.errors:
        return [Finding("write", "failed", "Consul did what cannot be done; report it")]
    if refused & {0, 1}:
        return [Finding("write", "failed", f"the token may not write the stamp {stamp} (key:write)", README)]
    if 2 in refused:
        return [Finding("write", "failed", f"the token may not write the node {node} (node:write)", README)]
    if refused:
        told = f"the token may not write a service called `{NAME}`: may it write those that will be published?"
        return [Finding("write", "warning", told, README)]
    return [Finding("write", "ok", "may write stamp, nodes and services (asked without writing)")]
