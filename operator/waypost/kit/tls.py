"""TLS of a client, from credentials that rotate: `ca`, `clientCert` and `clientKey` are PEM texts, never paths.

A resource cannot name a file of Waypost's machine; what OpenSSL wants as a file is handed to it through memory where
the system can do that.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from waypost.adapter import Credentials, PermanentError

__all__ = ["CREDENTIALS", "ClientTls", "Tls", "client_context"]

CREDENTIALS = ("ca", "clientCert", "clientKey")


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What a manifest may say of TLS: `serverName` is the name the certificate must carry; "": the address's host."""

    server_name: str = ""


class ClientTls:
    """Gives the present ssl context; makes another when a credential has changed: new connections then use that."""

    def __init__(self, credentials: Credentials, tls: Tls | None = None) -> None:
        self._credentials = credentials
        self._seen: tuple[str | None, ...] = ()
        self._contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
        self.server_name = (tls.server_name if tls else "") or None

    def context(self, *, known: bool = True) -> ssl.SSLContext:
        """Return the context for a connection made now, to a server that is not `known` without our certificate.

        Raises PermanentError where a credential cannot be used.
        """
        texts = ca, cert, key = tuple(self._credentials.get(name) for name in CREDENTIALS)
        if self._contexts is None or texts != self._seen:
            stranger = client_context(ca)
            self._contexts = (client_context(ca, cert, key) if cert or key else stranger, stranger)
            self._seen = texts
        return self._contexts[not known]


def client_context(ca: str | None, cert: str | None = None, key: str | None = None) -> ssl.SSLContext:
    """Return a context that trusts `ca` alone (without it: the system's store) and shows `cert`.

    Raises PermanentError.
    """
    try:
        context = ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError):
        raise PermanentError("credential `ca` is not a PEM certificate; nothing is sent until it is") from None
    if bool(cert) != bool(key):
        raise PermanentError("credentials `clientCert` and `clientKey` belong together; one is missing")
    if cert and key:
        try:
            with _file(f"{cert}\n{key}\n") as path:
                context.load_cert_chain(path, password=_no_password)
        except (ssl.SSLError, ValueError):
            message = "credentials `clientCert` and `clientKey` are not a PEM certificate and its unencrypted key"
            raise PermanentError(message) from None
    return context


def _no_password() -> str:
    raise ValueError("an encrypted key")  # without this OpenSSL would ask on the terminal


@contextmanager
def _file(text: str) -> Iterator[str]:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("tls")
        with os.fdopen(descriptor, "w", encoding="utf-8") as memory:
            memory.write(text)
            memory.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="waypost-") as file:  # made with mode 0600
        file.write(text)
        file.flush()
        yield file.name
