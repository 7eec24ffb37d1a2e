"""A real CoreDNS on loopback that answers from an etcd, by its plugin `etcd`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import dns.asyncquery
import dns.message
import dns.rcode
import dns.rdatatype

from testbed.cache import program
from testbed.ports import free_port
from testbed.process import Server


class CoreDns(Server):
    """One CoreDNS with one zone.

    `port` is where it answers on 127.0.0.1, UDP and TCP. `settings` are more lines of the zone's block in its Corefile.
    """

    name: ClassVar[str] = "coredns"

    def __init__(
        self,
        directory: Path,
        endpoints: Sequence[str],
        *,
        zone: str = "prod.example.com",
        path: str = "/skydns",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Choose a port; nothing is started yet."""
        super().__init__(directory)
        self.port = free_port()
        self.endpoints, self.zone, self.path = tuple(endpoints), zone, path
        self._settings = dict(settings or {})

    def prepare(self) -> None:
        """Write the Corefile."""
        more = "".join(f"    {key} {value}\n" for key, value in self._settings.items())
        (self.directory / "Corefile").write_text(f"""{self.zone}:{self.port} {{
    bind 127.0.0.1
    etcd {{
        path {self.path}
        endpoint {" ".join(self.endpoints)}
    }}
    errors
{more}}}
""")

    def command(self) -> Sequence[str]:
        """In the foreground."""
        return [program("coredns", "coredns"), "-conf", str(self.directory / "Corefile")]

    async def probe(self) -> None:
        """It answers for the zone's SOA, over both transports."""
        question = dns.message.make_query(self.zone, "SOA")
        try:
            for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
                answer = await ask(question, "127.0.0.1", 2, self.port)
                if answer.rcode() != dns.rcode.NOERROR:
                    raise ConnectionError(dns.rcode.to_text(answer.rcode()))
        except (dns.exception.Timeout, EOFError) as error:
            raise ConnectionError(str(error)) from error

    async def ask(self, name: str, kind: str) -> list[str]:
        """The records of a name below the zone, as text, sorted, over TCP; raises ConnectionError for a SERVFAIL."""
        question = dns.message.make_query(f"{name}.{self.zone}", kind)
        try:
            answer = await dns.asyncquery.tcp(question, "127.0.0.1", 10, self.port)
        except (dns.exception.Timeout, EOFError) as error:
            raise ConnectionError(str(error)) from error
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise ConnectionError(dns.rcode.to_text(answer.rcode()))
        wanted = dns.rdatatype.from_text(kind)
        return sorted(rdata.to_text() for rrset in answer.answer if rrset.rdtype == wanted for rdata in rrset)
