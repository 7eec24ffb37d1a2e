"""The raw client of a name server: sends given updates, one after the other over one connection. Nothing else.

`python -m bench.programs.raw_dns PORT KEY FILE`: FILE as `bench.programs.embedded` keeps it, KEY as the credential says
it. The messages are sent as they are, what must be true for them included; signed anew, since a signature has a time.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from waypost_adapters.dns import signing

ENTRY = b"waypost=1 "  # is in each message that brings an entry; those before set the stamp


def updates(path: Path) -> list[bytes]:
    found, data, at = [], path.read_bytes(), 0
    while at < len(data):
        end = data.index(b"\n", at)
        size = int(data[at:end])
        found.append(data[end + 1 : end + 1 + size])
        at = end + 1 + size
    return found


def before_entries(messages: Sequence[bytes]) -> int:
    """How many come before the first entry."""
    return next(number for number, message in enumerate(messages) if ENTRY in message)


async def main(port: int, key: str, messages: Sequence[bytes]) -> None:
    signer = signing.read_key(key)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send(message: bytes) -> None:
        signed, _ = signing.sign(message, signer, time.time())
        writer.write(len(signed).to_bytes(2, "big") + signed)
        answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        assert answer[:2] == message[:2], "an answer to something else"
        assert answer[3] & 15 == 0, f"the answer's code is {answer[3] & 15}"

    stamps = before_entries(messages)
    for message in messages[:stamps]:
        await send(message)
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.monotonic()
    for message in messages[stamps:]:
        await send(message)
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    writer.close()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], updates(Path(sys.argv[3]))))
