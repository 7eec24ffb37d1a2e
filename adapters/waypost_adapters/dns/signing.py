"""TSIG (RFC 8945): the key as the credential says it, and messages signed and verified with it by dnspython."""

from __future__ import annotations

import base64
import binascii
import re

import dns.exception
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.tsig

from waypost.adapter import AdapterError, PermanentError
from waypost_adapters.dns import wire

__all__ = ["Signed", "Stream", "read_key", "sign"]

FUDGE = 300  # seconds that the clocks may differ, as is usual
ALGORITHMS = {
    "hmac-sha224": dns.tsig.HMAC_SHA224,
    "hmac-sha256": dns.tsig.HMAC_SHA256,
    "hmac-sha384": dns.tsig.HMAC_SHA384,
    "hmac-sha512": dns.tsig.HMAC_SHA512,
}
_FILE = re.compile(r'key\s+"?([^"\s{]+)"?\s*\{(.*?)\}', re.DOTALL)
_ALGORITHM = re.compile(r'algorithm\s+"?([A-Za-z0-9-]+)"?\s*;')
_SECRET = re.compile(r'secret\s+"?([A-Za-z0-9+/=]+)"?\s*;')


def read_key(text: str | None) -> dns.tsig.Key:
    """Read `[ALGORITHM:]NAME:SECRET`, as `dig -y` has it, or what `tsig-keygen` prints. Raises PermanentError.

    No part of the text is repeated in the error.
    """
    if not text:
        raise PermanentError("no credential `tsigKey` is given: the server takes updates only with a TSIG key")
    if found := _FILE.search(text):
        algorithm, secret = _ALGORITHM.search(found[2]), _SECRET.search(found[2])
        parts = [algorithm[1] if algorithm else "", found[1], secret[1] if secret else ""]
    else:
        parts = text.strip().split(":")
        if len(parts) == 2:
            parts = ["hmac-sha256", *parts]
    try:
        algorithm_name, name, encoded = parts
        made = dns.tsig.Key(
            dns.name.from_text(name).canonicalize(),
            base64.b64decode(encoded, validate=True),
            ALGORITHMS[algorithm_name.lower()],
        )
    except (ValueError, KeyError, binascii.Error, dns.exception.DNSException):
        made = None
    if made is None or not made.secret:
        raise PermanentError(
            "the credential `tsigKey` is no TSIG key: expected ALGORITHM:NAME:SECRET with the secret in base64 and one "
            f"of {', '.join(ALGORITHMS)}, or what tsig-keygen prints"
        )
    return made


def sign(message: bytes, key: dns.tsig.Key, now: float) -> tuple[bytes, bytes]:
    """Return the message with its signature, and the signature's MAC."""
    id = int.from_bytes(message[:2], "big")
    empty = dns.rdtypes.ANY.TSIG.TSIG(
        dns.rdataclass.ANY, dns.rdatatype.TSIG, key.algorithm, int(now), FUDGE, b"", id, 0, b""
    )
    made, _ = dns.tsig.sign(message, key, empty, int(now), None, None, False)
    rdata = made.to_wire()
    assert rdata is not None
    count = int.from_bytes(message[10:12], "big") + 1
    header = wire_rr(key, rdata)
    return message[:10] + count.to_bytes(2, "big") + message[12:] + header + rdata, made.mac


def wire_rr(key: dns.tsig.Key, rdata: bytes) -> bytes:
    """Return what stands before a TSIG record's rdata."""
    name = key.name.to_wire()
    assert name is not None
    return name + b"\x00\xfa\x00\xff\0\0\0\0" + len(rdata).to_bytes(2, "big")


class Signed(AdapterError):
    """An answer whose signature says that something is wrong. `permanent`: a person must change something."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class Stream:
    """Verifies the answers to one message: one, or the many of a transfer, of which not each need be signed."""

    def __init__(self, key: dns.tsig.Key, mac: bytes, server: str) -> None:
        self._key = key
        self._mac = mac
        self._server = server
        self._context: object = None
        self._unsigned = 0

    def verify(self, message: bytes, tsig_at: int, now: float, *, many: bool = False) -> None:
        """Verify one answer. Raises Signed, which says what to change."""
        if not tsig_at:
            self._without(message, many=many)
            return
        owner, rdata = _tsig(message, tsig_at)
        try:
            self._context = dns.tsig.validate(
                message, self._key, owner, rdata, int(now), self._mac, tsig_at, self._context, many
            )
        except dns.tsig.PeerBadTime:
            raise Signed(self._bad_time(rdata), permanent=False) from None
        except dns.tsig.BadTime:
            raise Signed(self._bad_time(rdata, now), permanent=False) from None
        except dns.tsig.PeerBadKey:
            raise Signed(
                f"{self._server} does not know the TSIG key `{self._key.name}` with {self._key.algorithm} (BADKEY): "
                "correct the name or algorithm in the credential `tsigKey`, or add the key to the server. Knot says so "
                "too where no `acl` of the zone lets the key do it (`action: [transfer, update]`)",
                permanent=True,
            ) from None
        except dns.tsig.PeerBadSignature:
            raise Signed(
                f"{self._server} has another secret for the TSIG key `{self._key.name}` (BADSIG): correct the "
                "credential `tsigKey`",
                permanent=True,
            ) from None
        except (dns.exception.DNSException, ValueError) as error:
            raise Signed(
                f"the answer of {self._server} is not signed as it should be ({type(error).__name__}): somebody "
                "between altered it, or it is not that server",
                permanent=False,
            ) from None
        self._unsigned = 0

    def _without(self, message: bytes, *, many: bool) -> None:
        if many and self._context is not None and self._unsigned < 99:  # RFC 8945 section 5.3.1
            self._unsigned += 1
            self._context.update(message)  # type: ignore[attr-defined]
            return
        rcode = dns.rcode.to_text(dns.rcode.Rcode(message[3] & 15))
        raise Signed(
            f"{self._server} answered without a signature ({rcode}): it is not believed. It may not be the primary of "
            "`config.zone`, or want another key",
            permanent=False,
        )

    @property
    def complete(self) -> bool:
        """Whether the last answer was signed: else what came after the last signature proves nothing."""
        return self._unsigned == 0

    def _bad_time(self, rdata: dns.rdtypes.ANY.TSIG.TSIG, now: float | None = None) -> str:
        theirs = int.from_bytes(rdata.other[:6], "big") if len(rdata.other) >= 6 else rdata.time_signed
        ours = int(now) if now is not None else rdata.time_signed
        return (
            f"the clocks of {self._server} and of this machine differ by {abs(theirs - ours)} s, {FUDGE} are possible "
            "(BADTIME): set both by NTP; nothing is written until then"
        )


def _tsig(message: bytes, at: int) -> tuple[dns.name.Name, dns.rdtypes.ANY.TSIG.TSIG]:
    try:
        name, used = dns.name.from_wire(message, at)
        start = at + used + 10
        size = int.from_bytes(message[start - 2 : start], "big")
        rdata = dns.rdata.from_wire(dns.rdataclass.ANY, dns.rdatatype.TSIG, message, start, size)
    except dns.exception.DNSException:
        raise wire.BadMessage("its signature cannot be read") from None
    assert isinstance(rdata, dns.rdtypes.ANY.TSIG.TSIG)
    return name, rdata
