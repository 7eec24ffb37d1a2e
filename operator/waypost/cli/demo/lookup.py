"""How a consumer asks.

The registry by HTTP, the DNS server by UDP. A few lines each, for a demonstration needs no more.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import struct
from typing import Any

__all__ = ["ask_dns", "ask_registry"]

TYPES = {"A": 1, "SRV": 33}


async def ask_registry(address: str, path: str) -> tuple[int, dict[str, Any]]:
    """Return the status and the decoded answer of a GET. Raises OSError when nobody answers."""
    return await asyncio.to_thread(_get, address, path)


def _get(address: str, path: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"{address}: {error!r}") from error
    finally:
        connection.close()


async def ask_dns(address: str, name: str, kind: str) -> tuple[int, list[str]]:
    """Return the response code and the answers as text (`A`.

    Addresses, `SRV`: ports). Raises OSError when nobody answers.
    """
    return await asyncio.to_thread(_ask, address, name, kind)


def _ask(address: str, name: str, kind: str) -> tuple[int, list[str]]:
    host, _, port = address.rpartition(":")
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    query = struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, TYPES[kind], 1)
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.settimeout(5)
        udp.connect((host, int(port)))
        udp.send(query)
        packet = udp.recv(65535)
    _, flags, _, count, _, _ = struct.unpack_from("!6H", packet)
    at = len(query)
    answers = []
    for _ in range(count):
        at = _skip_name(packet, at)
        found, _, _, length = struct.unpack_from("!HHIH", packet, at)
        at += 10
        if found == TYPES[kind]:
            data = packet[at : at + length]
            answers.append(socket.inet_ntoa(data) if kind == "A" else str(struct.unpack_from("!3H", data)[2]))
        at += length
    return flags & 15, sorted(answers)


def _skip_name(packet: bytes, at: int) -> int:
    while packet[at]:
        if packet[at] >= 0xC0:
            return at + 2
        at += packet[at] + 1
    return at + 1
