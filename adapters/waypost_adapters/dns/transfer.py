"""A zone transfer as it comes in, record by record: AXFR (RFC 5936) and IXFR (RFC 1995). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from waypost_adapters.dns import wire
from waypost_adapters.dns.mirror import Whole
from waypost_adapters.dns.wire import Row

__all__ = ["BadTransfer", "Transfer"]


class BadTransfer(ValueError):
    """The records are no transfer: nothing of it counts."""


class Transfer:
    """Take the records in order; `done` once the transfer is whole.

    Then `full` is all that the zone holds, or `changes` are what was removed and added since `since`; neither: nothing
    changed.
    """

    def __init__(self, apex: bytes, since: int | None = None) -> None:
        """`since`: the serial that an incremental transfer was asked from; None: the whole zone was asked for."""
        self.done = False
        self.serial = 0
        self.full: Whole | None = None
        self.changes: list[tuple[bool, Row]] = []  # (added, record)
        self._apex = apex
        self._since = since
        self._count = 0
        self._adding = False
        self._at = 0  # the serial up to which the differences have come

    def feed(self, rows: Iterable[Row]) -> None:
        """Take the records of one message. Raises BadTransfer."""
        for row in rows:
            if self.done:
                raise BadTransfer("records after its end")
            self._take(row)

    def message_ended(self) -> None:
        """Note the end of a message: a single SOA says that nothing has changed."""
        if self._count == 1 and self._since is not None:
            self.done = True

    def _take(self, row: Row) -> None:
        self._count += 1
        soa = row[1] == wire.SOA
        if self._count == 1:
            if not soa or row[0] != self._apex:
                raise BadTransfer("it does not begin with the zone's SOA record")
            self.serial = wire.serial(row[3])
            return
        if self._count == 2 and self._since is not None and soa and wire.serial(row[3]) != self.serial:
            if wire.serial(row[3]) != self._since:
                raise BadTransfer(f"differences from serial {wire.serial(row[3])}, asked from {self._since}")
            self._at = self._since
            return
        if self._count == 2:
            self.full = {}
        if self.full is not None:
            self._take_full(row, soa=soa)
        else:
            self._take_change(row, soa=soa)

    def _take_full(self, row: Row, *, soa: bool) -> None:
        assert self.full is not None
        if not soa:
            name, type, ttl, rdata = row
            self.full.setdefault((name, type), {})[rdata] = ttl
        elif wire.serial(row[3]) == self.serial:
            self.done = True
        else:
            raise BadTransfer("the zone changed in the middle of it")

    def _take_change(self, row: Row, *, soa: bool) -> None:
        if not soa:
            self.changes.append((self._adding, row))
        elif not self._adding:
            self._at, self._adding = wire.serial(row[3]), True
        elif self._at == self.serial and wire.serial(row[3]) == self.serial:
            self.done = True
        elif wire.serial(row[3]) == self._at:
            self._adding = False
        else:
            raise BadTransfer("differences that do not follow on each other")
