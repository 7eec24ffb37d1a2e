"""A source that reads an inventory file: a line an instance, `service address port [key=value …]`.

What a line says is read here and nowhere else; what is done about it is Waypost's. README.md is the manual page.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import msgspec

from waypost.adapter import AdapterError, AdapterType, Context, PermanentError, Source
from waypost.kit.polling import Polling
from waypost.model import Address, Instance, Port, Service, ServiceKey

MOST_BYTES = 10_000_000
END = "# end"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`config` of the ServiceSource; what these constraints refuse is told with file, line and field."""

    path: Annotated[str, msgspec.Meta(min_length=1)]
    poll_seconds: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 5.0


def parse(source: str, text: str) -> list[Service]:
    """Return the services that an inventory tells of. Pure. Raises AdapterError where it is not whole, or not one.

    A file that is being written is shorter than it will be. One that lacks instances would take them away: so its last
    line must be `# end`.
    """
    lines = text.splitlines()
    if not lines or lines[-1].strip() != END:
        raise AdapterError(f"its last line is not `{END}`: it is still being written, or was cut short")
    services: dict[str, list[Instance]] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            name, address, port, *labels = words
            services.setdefault(name, []).append(_instance(address, port, labels))
        except ValueError as error:
            raise AdapterError(f"line {number}: {error}; a line is `service address port [key=value …]`") from None
    return [Service(ServiceKey(source, "", name), {}, tuple(found)) for name, found in services.items()]


def _instance(address: str, port: str, labels: list[str]) -> Instance:
    host = Address(str(ipaddress.ip_address(address)))
    number = int(port)
    if not 1 <= number <= 65535:
        raise ValueError(f"port {number} is not between 1 and 65535")
    pairs = dict(label.split("=", 1) for label in labels)
    return Instance(f"{address}:{number}", (host,), (Port(number, "http"),), labels=pairs)


@asynccontextmanager
async def open_source(config: Config, context: Context) -> AsyncIterator[Source]:
    """Open the source. The file need not be there yet: whatever cannot be read is told and tried again."""
    path = Path(config.path)

    def read() -> str:
        try:
            with path.open("rb") as file:
                found = file.read(MOST_BYTES + 1)
        except PermissionError as error:
            raise PermanentError(f"{path} may not be read: let the user that Waypost runs as read it") from error
        except OSError as error:
            raise AdapterError(f"{path} cannot be read: {error.strerror}") from error
        if len(found) > MOST_BYTES:
            raise PermanentError(f"{path} is larger than {MOST_BYTES} bytes: split it")
        return found.decode("utf-8", "replace")

    async def list_services() -> list[Service]:
        text = await asyncio.to_thread(read)  # a file on a network disk may hang: never in the loop
        try:
            return parse(context.name, text)
        except AdapterError as error:
            raise AdapterError(f"{path}: {error}") from None

    yield Polling(list_services, config.poll_seconds, random=context.random)


SOURCE = AdapterType("inventory", Config, open_source)
