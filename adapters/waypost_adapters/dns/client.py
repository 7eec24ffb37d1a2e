"""Words with the server: over TCP, signed, each within a time-out. What was asked and what came back, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import dns.rcode

from waypost.adapter import AdapterError, Context, PermanentError
from waypost_adapters.dns import signing, wire
from waypost_adapters.dns.config import Config, server_place
from waypost_adapters.dns.mirror import Mirror
from waypost_adapters.dns.telling import shown
from waypost_adapters.dns.transfer import BadTransfer, Transfer

__all__ = ["Client", "Uncertain"]

IDLE_SECONDS = (
    8.0  # after which a connection is not used again: servers close idle ones (BIND after 30 s, Knot after 10)
)


class Uncertain(AdapterError):
    """A message was sent and no answer came: it may or may not have been done."""


class Connection:
    """One TCP connection; messages one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, now: float) -> None:
        self.reader = reader
        self.writer = writer
        self.used = now

    async def send(self, message: bytes) -> None:
        self.writer.write(len(message).to_bytes(2, "big") + message)
        await self.writer.drain()

    async def receive(self) -> bytes:
        size = int.from_bytes(await self.reader.readexactly(2), "big")
        return await self.reader.readexactly(size)

    def close(self) -> None:
        self.writer.close()


class Client:
    """A server and a key. One message at a time has the standing connection; a transfer has one of its own."""

    def __init__(self, config: Config, context: Context) -> None:
        self.server = config.server
        self._place = server_place(config.server)
        self._timeout = config.timeout_seconds
        self._context = context
        self._standing: Connection | None = None
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        """Close the standing connection."""
        self._drop()

    def _drop(self) -> None:
        if self._standing is not None:
            self._standing.close()
            self._standing = None

    async def _connect(self) -> Connection:
        host, port = self._place
        try:
            async with asyncio.timeout(self._timeout):
                reader, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            raise AdapterError(f"{self.server} did not take a connection within {self._timeout:g} s") from None
        except OSError as error:
            raise AdapterError(f"{self.server} takes no connection: {error.strerror or error}") from None
        return Connection(reader, writer, self._context.clock.monotonic())

    async def _ready(self) -> Connection:
        now = self._context.clock.monotonic()
        there = self._standing
        if there is not None and (
            now - there.used > IDLE_SECONDS or there.reader.at_eof() or there.writer.is_closing()
        ):
            self._drop()
        if self._standing is None:
            self._standing = await self._connect()
        self._standing.used = now
        return self._standing

    def writer(self, opcode: int) -> wire.Writer:
        """Begin a message."""
        return wire.Writer(self._context.random.getrandbits(16), opcode)

    async def ask(self, writer: wire.Writer) -> wire.Answer:
        """Send a message and return the answer.

        Raises AdapterError where nothing was sent, Uncertain where no answer came or none that is to be believed, and
        PermanentError where the server refuses the key.
        """
        message, stream = self._signed(writer)
        async with self._lock:
            connection = await self._ready()
            try:
                async with asyncio.timeout(self._timeout):
                    await connection.send(message)
                    received = await connection.receive()
            except BaseException as error:
                self._drop()
                if isinstance(error, TimeoutError):
                    raise Uncertain(f"{self.server} did not answer within {self._timeout:g} s") from None
                if isinstance(error, (OSError, EOFError)):
                    raise Uncertain(f"the connection to {self.server} broke before it answered") from None
                raise
            try:
                return self._read(received, message, stream)
            except Uncertain:
                self._drop()
                raise

    def _signed(self, writer: wire.Writer) -> tuple[bytes, signing.Stream]:
        key = signing.read_key(self._context.credentials.get("tsigKey"))
        message, mac = signing.sign(writer.done(), key, self._context.clock.wall())
        return message, signing.Stream(key, mac, self.server)

    def _read(self, received: bytes, sent: bytes, stream: signing.Stream, *, many: bool = False) -> wire.Answer:
        try:
            answer = wire.read(received)
            if received[:2] != sent[:2] or not answer.response:
                raise wire.BadMessage("it is no answer to what was asked")
            stream.verify(received, answer.tsig, self._context.clock.wall(), many=many)
        except wire.BadMessage as error:
            raise Uncertain(f"{self.server} sent something that cannot be read: {error}") from None
        except signing.Signed as error:
            if error.permanent:
                raise PermanentError(str(error)) from None
            raise Uncertain(str(error)) from None
        return answer

    # --- transfers

    async def transfer(self, apex: bytes, since: Mirror | None) -> Transfer:
        """Return the whole zone, or what changed since a mirror. Raises AdapterError unless it is whole."""
        name = shown(apex)
        writer = self.writer(0)
        writer.question(apex, wire.AXFR if since is None else wire.IXFR)
        if since is not None:
            soa = b"\0\0" + since.serial.to_bytes(4, "big") + bytes(16)
            writer.row(2, apex, wire.SOA, wire.IN, 0, soa)
        taken = Transfer(apex, since.serial if since is not None else None)
        message, stream = self._signed(writer)
        async with self._transfer_connection() as connection:
            try:
                async with aclosing(self._messages(connection, message)) as messages:
                    async for received in messages:
                        answer = self._read(received, message, stream, many=True)
                        if answer.rcode:
                            raise self.refusal(answer.rcode, f"a transfer of `{name}`")
                        taken.feed(answer.rows)
                        taken.message_ended()
                        if taken.done:
                            break
                        await asyncio.sleep(0)
            except BadTransfer as error:
                raise AdapterError(f"{self.server} sent no whole transfer of `{name}`: {error}") from None
        if not (taken.done and stream.complete):
            raise AdapterError(f"the transfer of `{name}` from {self.server} ended early: nothing of it counts")
        return taken

    @asynccontextmanager
    async def _transfer_connection(self) -> AsyncIterator[Connection]:
        connection = await self._connect()
        try:
            yield connection
        finally:
            connection.close()

    async def _messages(self, connection: Connection, message: bytes) -> AsyncGenerator[bytes, None]:
        try:
            async with asyncio.timeout(self._timeout):
                await connection.send(message)
            while True:
                async with asyncio.timeout(self._timeout):
                    received = await connection.receive()
                yield received
        except TimeoutError:
            raise AdapterError(f"{self.server} stopped in the middle of a transfer for {self._timeout:g} s") from None
        except (OSError, EOFError):
            raise AdapterError(f"the connection to {self.server} broke in the middle of a transfer") from None

    def refusal(self, rcode: int, what: str) -> AdapterError:
        """Return the error that an answer's code stands for."""
        code = dns.rcode.to_text(dns.rcode.Rcode(rcode))
        if rcode == dns.rcode.REFUSED:
            return PermanentError(
                f"{self.server} refuses {what} (REFUSED): let the key of the credential `tsigKey` update and transfer "
                "the zone (BIND: `allow-update` or `update-policy`, and `allow-transfer`; Knot: an `acl` with both)"
            )
        if rcode in {dns.rcode.NOTAUTH, dns.rcode.NOTZONE, dns.rcode.NOTIMP}:
            return PermanentError(
                f"{self.server} is not the primary for {what}, or takes no updates ({code}): correct `config.server` "
                "or `config.zone`"
            )
        return AdapterError(f"{self.server} could not do {what}: {code}")
