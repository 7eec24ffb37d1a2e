"""What the name servers of the testbed share: a TSIG key, zones, and words with the server as anybody may have them."""

import base64
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update
import dns.xfr
import dns.zone

from testbed.ports import free_port
from testbed.process import Server

SECRET = base64.b64encode(b"a secret of the testbed, not one of the world").decode()


class NameServer(Server):
    """An authoritative name server on loopback that takes signed updates and transfers of its zones.

    `address` is where it serves, UDP and TCP; `key` is `ALGORITHM:NAME:SECRET`, as `dig -y` reads it.
    """

    program: str

    def __init__(
        self,
        directory: Path,
        zones: Sequence[str] = ("prod.example.com",),
        *,
        algorithm: str = "hmac-sha256",
        secret: str = SECRET,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Choose a port; `settings` are more lines of the server's own language for every zone."""
        super().__init__(directory)
        self.port = free_port()
        self.zones = tuple(zones)
        self.algorithm, self.secret = algorithm, secret
        self.settings = dict(settings or {})

    @property
    def address(self) -> str:
        """Where it is."""
        return f"127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """Its TSIG key, in one line."""
        return f"{self.algorithm}:waypost:{self.secret}"

    @property
    def keyring(self) -> dict[dns.name.Name, dns.tsig.Key]:
        """Its TSIG key, as dnspython wants it."""
        return dns.tsigkeyring.from_text({"waypost": (self.algorithm, self.secret)})

    def configuration(self) -> str:
        """Its configuration file."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Write configuration and, at first, the zones.

        The program is copied: distributions confine the one in its place (AppArmor) to its own folders.
        """
        found = shutil.which(self.program, path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin")
        assert found, f"{self.program} is not installed"
        shutil.copy(found, self.directory / self.program)
        (self.directory / "configuration").write_text(self.configuration())
        for zone in self.zones:
            path = self.zone_file(zone)
            if not path.exists():
                path.write_text(zone_text(zone))

    def zone_file(self, zone: str) -> Path:
        """Where a zone is kept."""
        return self.data / f"{zone}.zone"

    async def probe(self) -> None:
        """It answers for the SOA of each zone."""
        for zone in self.zones:
            await self.serial(zone)

    # --- asked and told as by anybody with the key

    async def send(
        self, message: dns.message.Message, *, signed: bool = True, seconds: float = 5
    ) -> dns.message.Message:
        """Send a message over TCP."""
        if signed:
            message.use_tsig(self.keyring)
        try:
            return await dns.asyncquery.tcp(message, "127.0.0.1", seconds, self.port)
        except (dns.exception.Timeout, EOFError) as error:
            raise ConnectionError(str(error)) from error

    async def ask(self, name: str, kind: str) -> list[str]:
        """The records of a name, as text, sorted; [] where there are none."""
        answer = await self.send(dns.message.make_query(name, kind))
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise ConnectionError(dns.rcode.to_text(answer.rcode()))
        wanted = dns.rdatatype.from_text(kind)
        return sorted(rdata.to_text() for rrset in answer.answer if rrset.rdtype == wanted for rdata in rrset)

    async def serial(self, zone: str | None = None) -> int:
        """The zone's serial."""
        (soa,) = await self.ask(zone or self.zones[0], "SOA")
        return int(soa.split()[2])

    async def update(self, *lines: str, delete: Iterable[str] = (), zone: str | None = None) -> None:
        """Add (`NAME TTL TYPE RDATA`) and delete (`NAME [TYPE [RDATA]]`) by hand; names are relative to the zone."""
        message = dns.update.UpdateMessage(zone or self.zones[0])
        for line in delete:
            message.delete(*line.split(None, 2))
        for line in lines:
            name, ttl, kind, rdata = line.split(None, 3)
            message.add(name, int(ttl), kind, rdata)
        answer = await self.send(message)
        if answer.rcode() != dns.rcode.NOERROR:
            raise ValueError(f"the update was refused: {dns.rcode.to_text(answer.rcode())}")

    async def zone(self, zone: str | None = None) -> dict[tuple[str, str], list[str]]:
        """The whole zone by AXFR: name relative to it and type → records as text, sorted."""
        copy = dns.zone.Zone(zone or self.zones[0])
        query, _ = dns.xfr.make_query(copy, keyring=self.keyring)
        await dns.asyncquery.inbound_xfr("127.0.0.1", copy, query, port=self.port, timeout=10, lifetime=30)
        return {
            (str(name), dns.rdatatype.to_text(rdataset.rdtype)): sorted(rdata.to_text() for rdata in rdataset)
            for name, rdataset in copy.iterate_rdatasets()
        }


def zone_text(zone: str) -> str:
    """A zone with nothing in it."""
    return f"""$ORIGIN {zone}.
$TTL 300
@ IN SOA ns hostmaster 1 3600 600 86400 5
@ IN NS ns
ns IN A 127.0.0.1
"""


def dig(server: NameServer, *arguments: str) -> list[str]:
    """The lines of `dig +short`."""
    command = ["dig", "+short", "+tries=1", "+time=5", "@127.0.0.1", "-p", str(server.port), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.splitlines()
