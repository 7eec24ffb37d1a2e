"""A real Knot DNS: primary for its zones, which change by signed updates only."""

from collections.abc import Sequence
from typing import ClassVar

from testbed.servers.names import NameServer


class Knot(NameServer):
    """Knot's `knotd`."""

    name: ClassVar[str] = "knotd"
    program = "knotd"

    def command(self) -> Sequence[str]:
        """In the foreground."""
        return [str(self.directory / "knotd"), "-c", str(self.directory / "configuration")]

    def configuration(self) -> str:
        """knot.conf."""
        settings = "".join(f"    {key}: {value}\n" for key, value in self.settings.items())
        zones = "".join(f"  - domain: {zone}\n    file: {self.zone_file(zone)}\n" for zone in self.zones)
        return f"""
server:
    listen: 127.0.0.1@{self.port}
    rundir: {self.directory}
    udp-workers: 1
    tcp-workers: 2
    background-workers: 1
database:
    storage: {self.data}
    journal-db-max-size: 200M
    kasp-db-max-size: 20M
    timer-db-max-size: 20M
log:
  - target: stderr
    any: info
key:
  - id: waypost
    algorithm: {self.algorithm}
    secret: {self.secret}
acl:
  - id: waypost
    key: waypost
    action: [update, transfer]
template:
  - id: default
    acl: waypost
    journal-content: changes
    zonefile-sync: -1
    zonefile-load: whole
    serial-policy: increment
{settings}zone:
{zones}"""
