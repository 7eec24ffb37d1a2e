"""The DNS process: `python -P -m waypost_adapters.dns_server.process SETTINGS`.

Started by the sink (see feed.py), never by hand.

It inherits two bound sockets and is fed over its standard input; that ends when the engine's process does, and this one
with it. Nothing here is asynchronous but the streams: a datagram is answered in the call that reads it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import socket
import sys
from collections.abc import Callable

import msgspec

from waypost_adapters.dns_server import frames
from waypost_adapters.dns_server.answers import Answers
from waypost_adapters.dns_server.responder import Responder
from waypost_adapters.dns_server.zone import Zone

__all__ = ["Settings", "main"]

DRAIN = 64  # datagrams read for each time the loop looks elsewhere
MAX_QUERY = 4_096
STREAMS = 256
STREAM_SECONDS = 10.0
_PIPE_READ = 262_144


class Settings(msgspec.Struct, frozen=True):
    """What the process is started with, as JSON.

    Descriptors of the sockets, the zone, and its own addresses (packed, hex).
    """

    datagram: int
    stream: int
    zone: str
    ttl: int
    servers: tuple[str, ...] = ()


class _Counters:
    __slots__ = ("questions",)

    def __init__(self) -> None:
        self.questions = 0


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # an interrupt at the terminal is for the engine: it ends this process in its time
    settings = msgspec.json.decode(sys.argv[1], type=Settings)
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    answers = Answers(
        Zone(settings.zone), settings.ttl, [bytes.fromhex(one) for one in settings.servers], random.Random()
    )
    responder = Responder(answers)
    counters = _Counters()
    ended = asyncio.Event()
    datagram = socket.socket(fileno=settings.datagram)
    datagram.setblocking(False)
    loop = asyncio.get_running_loop()
    os.set_blocking(0, False)
    loop.add_reader(0, _pipe_reader(responder, counters, ended))
    loop.add_reader(datagram.fileno(), datagram_reader(datagram, responder, counters))
    streams = Streams(responder, counters)
    server = await asyncio.start_server(
        streams.accept, sock=socket.socket(fileno=settings.stream), limit=MAX_QUERY + 2, backlog=STREAMS
    )
    await ended.wait()
    loop.remove_reader(datagram.fileno())
    datagram.close()
    server.close()
    streams.close()


def _pipe_reader(responder: Responder, counters: _Counters, ended: asyncio.Event) -> Callable[[], None]:
    """Return what takes in frames: each is swapped in whole between two datagrams, then acknowledged."""
    reader = frames.Reader()
    answers = responder.answers

    def read() -> None:
        try:
            octets = os.read(0, _PIPE_READ)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            ended.set()
            return
        acknowledgements = []
        for frame in reader.feed(octets):
            answers.zone.serial = frame.serial
            nodes = answers.zone.change(frame.changes)
            if frame.answering and not answers.answering:
                answers.answering = True
                responder.clear()
                gc.collect()
                gc.freeze()  # what was fed at the start stays: later collections need not walk it
            responder.changed(nodes)
            acknowledgements.append(frames.ACK.pack(frame.number, counters.questions))
        if acknowledgements:
            os.write(1, b"".join(acknowledgements))

    return read


def datagram_reader(sock: socket.socket, responder: Responder, counters: _Counters) -> Callable[[], None]:
    """Return what answers datagrams, at most DRAIN of them in one go."""
    receive, send, kept, make = sock.recvfrom, sock.sendto, responder.kept, responder.udp

    def read() -> None:
        try:
            for _ in range(DRAIN):
                data, sender = receive(MAX_QUERY)
                counters.questions += 1
                ready = kept.get(data[2:])
                answer = data[:2] + ready() if ready is not None else make(data)
                if answer is not None:
                    try:  # noqa: SIM105 - a context manager costs as much as the look-up
                        send(answer, sender)
                    except OSError:  # full, or a sender that cannot be: it will ask again
                        pass
        except OSError:  # drained, or an ICMP error of an earlier answer
            pass

    return read


class Streams:
    """Answers over TCP in the order of the questions (RFC 7766); streams, and the time each may idle, are bounded."""

    def __init__(self, responder: Responder, counters: _Counters) -> None:
        self._responder = responder
        self._counters = counters
        self._open: set[asyncio.StreamWriter] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one stream until it ends, idles, or sends what is no query."""
        if len(self._open) >= STREAMS:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            while True:
                async with asyncio.timeout(STREAM_SECONDS):
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    if not 12 <= length <= MAX_QUERY:
                        return
                    data = await reader.readexactly(length)
                    answer = self._responder.tcp(data)
                    if answer is None:
                        return
                    self._counters.questions += 1
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, OSError):
            return
        finally:
            self._open.discard(writer)
            writer.close()

    def close(self) -> None:
        """End all streams."""
        for writer in tuple(self._open):
            writer.transport.abort()


if __name__ == "__main__":
    main()
