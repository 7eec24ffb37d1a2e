"""A throw-away certificate authority for tests: server and client certificates, good ones and bad ones.

Keys are elliptic (P-256), made in milliseconds; nothing here protects anything but a test.
"""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Certificate:
    directory.mkdir(parents=True, exist_ok=True)
    written = Certificate(directory / f"{name}.pem", directory / f"{name}-key.pem")
    written.key.touch(mode=0o600)
    written.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    written.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return written


class Authority:
    """A certificate authority with its files in `directory`; `certificate` is what a peer has to trust."""

    def __init__(self, directory: Path, name: str = "testbed") -> None:
        """Make a new authority."""
        self.directory = directory.resolve()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"{name} authority")
        now = dt.datetime.now(dt.UTC)
        public = self._key.public_key()
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        made = (
            self._builder(self._name, public, now - dt.timedelta(days=1), now + dt.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = _write(self.directory, f"{name}-ca", made, self._key).certificate

    def issue(
        self, name: str, *, hosts: Sequence[str] = LOOPBACK, common_name: str | None = None, expired: bool = False
    ) -> Certificate:
        """A certificate for a server on `hosts` and for a client called `common_name`, valid for a day.

        `name` is that of its files, and the default of `common_name`. `expired`: it ended an hour ago.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        subject = _name(name if common_name is None else common_name)
        until = now + (dt.timedelta(hours=-1) if expired else dt.timedelta(days=1))
        made = (
            self._builder(subject, key.public_key(), now - dt.timedelta(hours=12), until)
            .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _write(self.directory, name, made, key)

    def client_context(self, certificate: Certificate | None = None) -> ssl.SSLContext:
        """What a client needs to trust this authority, and to show `certificate` if given."""
        context = ssl.create_default_context(cafile=self.certificate)
        if certificate is not None:
            context.load_cert_chain(certificate.certificate, certificate.key)
        return context

    def server_context(self, certificate: Certificate, *, client_certificates: bool = False) -> ssl.SSLContext:
        """What a server needs to show `certificate`, and to demand a client's if asked to."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.certificate)
        context.load_cert_chain(certificate.certificate, certificate.key)
        if client_certificates:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _builder(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey, start: dt.datetime, end: dt.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
        )
