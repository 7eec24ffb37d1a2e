"""An etcd's own log: all that was ever written to it, which nobody compacts here."""

import asyncio
import base64
import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from testbed.servers.etcd import Etcd

END = "testbed/end-of-log"
SECONDS = 20
ALL = {"key": "AA==", "range_end": "AA==", "start_revision": "1"}  # a zero byte: etcd's way to say every key


class Event(NamedTuple):
    """A key was written, or deleted (`value` None), and what had been written before is older."""

    revision: int
    key: str
    value: str | None


async def history(etcd: Etcd, prefix: str) -> list[Event]:
    """Everything that was ever written to or deleted from keys with this prefix, in order. Writes the key END itself.

    Raises OSError or ValueError. Not for an etcd with TLS.
    """
    body = {"key": base64.b64encode(END.encode()).decode()}
    last = int((await etcd.call("kv/put", body))["header"]["revision"])
    found = await asyncio.to_thread(_read, etcd.port, last, await etcd.headers())
    return [event for event in found if event.key.startswith(prefix)]


def _read(port: int, last: int, headers: Mapping[str, str]) -> list[Event]:
    """Watch from the beginning up to a revision that is known to be there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    found: list[Event] = []
    try:
        connection.request("POST", "/v3/watch", json.dumps({"create_request": ALL}), dict(headers))
        with connection.getresponse() as answer:
            while not found or found[-1].revision < last:
                found += _events(json.loads(answer.readline())["result"])
    except http.client.HTTPException as error:
        raise ConnectionError(repr(error)) from error
    finally:
        connection.close()
    return found


def _events(result: Mapping[str, Any]) -> Iterator[Event]:
    for event in result.get("events", []):
        kv = event["kv"]
        value = None if event.get("type") == "DELETE" else _text(kv.get("value", ""))
        yield Event(int(kv["mod_revision"]), _text(kv["key"]), value)


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace")
