"""A real BIND: primary for its zones, which change by signed updates only."""

from collections.abc import Sequence
from typing import ClassVar

from testbed.servers.names import NameServer


class Bind(NameServer):
    """BIND's `named`. More settings than BIND 9.18 has by default: RRsets of any size (`max-records-per-type 0`)."""

    name: ClassVar[str] = "named"
    program = "named"
    defaults: ClassVar[dict[str, str]] = {"max-records-per-type": "0", "max-types-per-name": "0"}

    def command(self) -> Sequence[str]:
        """In the foreground, with its log on standard error, on one core."""
        return [str(self.directory / "named"), "-g", "-n", "1", "-c", str(self.directory / "configuration")]

    def configuration(self) -> str:
        """named.conf."""
        settings = "".join(f"  {key} {value};\n" for key, value in (self.defaults | self.settings).items() if value)
        zones = "".join(f'zone "{zone}" {{ type primary; file "{self.zone_file(zone)}"; }};\n' for zone in self.zones)
        return f"""
key "waypost" {{ algorithm {self.algorithm}; secret "{self.secret}"; }};
options {{
  directory "{self.data}";
  pid-file none; session-keyfile "{self.data}/session.key";
  listen-on port {self.port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  allow-update {{ key waypost; }}; allow-transfer {{ key waypost; }};
  minimal-responses yes; notify no; empty-zones-enable no; dnssec-validation no; recursion no;
{settings}}};
controls {{ }};
{zones}"""
