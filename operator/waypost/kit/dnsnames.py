"""DNS names: what is one, its form on the wire, and the name that an address has in reverse.

Imports the standard library only.

Lengths are those of RFC 1035 section 2.3.4, letters those of RFC 1123 section 2.1. Names are ASCII: who has others
converts them to A-labels first. Comparison is without regard to case; the canonical form here is lower case without a
final dot.
"""

from __future__ import annotations

import ipaddress
import re

__all__ = ["BadName", "canonical", "decode", "encode", "label", "name", "reverse", "within"]

MAX_LABEL = 63
MAX_NAME = 253  # characters without the final dot: 255 octets on the wire
_LDH = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_UNDERSCORED = re.compile(r"_?[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9-]")


class BadName(ValueError):
    """The text is no DNS name; the message says what is wrong with it, and where."""


def label(text: str, *, underscore: bool = False) -> str:
    """Return one label in lower case, if it is one: 1..63 of a-z, 0-9 and `-`, which neither begins nor ends it.

    With `underscore` a `_` may begin it (RFC 8552) or stand inside. Raises BadName.
    """
    if not text:
        raise BadName("an empty label")
    if len(text) > MAX_LABEL:
        raise BadName(f"label `{text[:16]}…` has {len(text)} characters, at most {MAX_LABEL} are possible")
    if not (_UNDERSCORED if underscore else _LDH).fullmatch(text):
        raise BadName(_why(text, underscore=underscore))
    return text.lower()


def _why(text: str, *, underscore: bool) -> str:
    for match in _NOT_ALLOWED.finditer(text):
        if match[0] != "_" or not underscore:
            return (
                f"label `{text}` has {match[0]!r} at character {match.start() + 1}: only a-z, 0-9 and `-` are possible"
            )
    if text[0] == "-" or text[-1] == "-":
        return f"label `{text}` {'begins' if text[0] == '-' else 'ends'} with `-`"
    return f"label `{text}`: `_` is possible at its beginning and inside, once at its beginning and not at its end"


def name(text: str, *, underscore: bool = False) -> str:
    """Return a name of one or more labels in canonical form; a final dot is allowed and dropped. Raises BadName."""
    bare = text.removesuffix(".")
    if not bare:
        raise BadName("an empty name")
    if len(bare) > MAX_NAME:
        raise BadName(f"name `{bare[:32]}…` has {len(bare)} characters, at most {MAX_NAME} are possible")
    try:
        return ".".join([label(part, underscore=underscore) for part in bare.split(".")])
    except BadName as error:
        raise BadName(f"`{text}`: {error}" if "." in text else str(error)) from None


def canonical(text: str) -> str:
    """Return the one form of all that DNS takes for the same name (RFC 4343); whether it is one is not looked at."""
    return text.rstrip(".").lower()


def encode(text: str) -> bytes:
    """Return a name, already checked by `name`, as on the wire: each label after its length, and a final zero octet."""
    bare = text.rstrip(".")
    if not bare:
        return b"\0"
    labels = [part.encode("ascii") for part in bare.split(".")]
    if any(not 0 < len(part) <= MAX_LABEL for part in labels) or len(bare) > MAX_NAME:
        raise BadName(f"`{bare[:64]}` is too long for the wire, or has an empty label")
    return b"".join([bytes((len(part),)) + part for part in labels]) + b"\0"


def decode(wire: bytes, at: int = 0) -> tuple[str, int]:
    r"""Return the name at this offset, without final dot ("" for the root), and the offset after it.

    `.` inside a label as `\.`.

    Compression pointers are refused: in a question there is nothing before it to point to. Raises BadName.
    """
    labels: list[str] = []
    start = at
    while True:
        if at >= len(wire):
            raise BadName("a name that ends before its final zero octet")
        length = wire[at]
        if length == 0:
            return ".".join(labels), at + 1
        if length > MAX_LABEL:
            raise BadName(f"octet {length:#04x} in place of a label's length")
        labels.append(_text(wire[at + 1 : at + 1 + length]))
        at += 1 + length
        if at - start > 254:
            raise BadName("a name of more than 255 octets")


def _text(octets: bytes) -> str:
    if octets.isalnum():
        return octets.decode("ascii")
    return "".join(
        f"\\{chr(octet)}" if octet in b".\\" else chr(octet) if 0x21 <= octet <= 0x7E else f"\\{octet:03d}"
        for octet in octets
    )


def within(text: str, zone: str) -> bool:
    """Say whether a name is the zone's apex or below it, without regard to case."""
    child, parent = canonical(text), canonical(zone)
    return child == parent or not parent or child.endswith("." + parent)


def reverse(address: str) -> str:
    """Return the name under which PTR records of an IP address are: below in-addr.arpa or ip6.arpa.

    Raises ValueError.
    """
    return ipaddress.ip_address(address).reverse_pointer
