"""Takes connections on every loopback address and closes them when the other side does; prints its port."""

from __future__ import annotations

import asyncio
import socket
import sys

import uvloop


class Taken(asyncio.Protocol):
    pass


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Taken, "0.0.0.0", 0, family=socket.AF_INET, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(main())
