"""What the engine's process and the DNS process say to each other over two pipes.

To the DNS process: frames, each a length (4 octets, big endian) and a msgpack array (number, serial, answering,
changes). Back: for each frame, once its content is what is answered, its number and the questions answered so far (two
integers of 8 octets).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

__all__ = ["ACK", "Frame", "Reader", "encode"]

ACK = struct.Struct(">QQ")
MAX_FRAME = 64 * 1024 * 1024
_LENGTH = struct.Struct(">I")


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """One step.

    `answering`: what is there is the state, before that nothing is known. Content None: the record is gone.
    """

    number: int
    serial: int
    answering: bool
    changes: list[tuple[str, bytes | None]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """Return the frame as on the pipe."""
    body = _encoder.encode(frame)
    return _LENGTH.pack(len(body)) + body


class Reader:
    """Cuts what comes out of the pipe into frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, octets: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete with these octets.

        Raises ValueError on what is no frame: the pipe is of no use then.
        """
        held = self._held
        held += octets
        while len(held) >= 4:
            (length,) = _LENGTH.unpack_from(held)
            if length > MAX_FRAME:
                raise ValueError(f"a frame of {length} octets")
            if len(held) < 4 + length:
                return
            body = bytes(held[4 : 4 + length])
            del held[: 4 + length]
            yield _decoder.decode(body)
