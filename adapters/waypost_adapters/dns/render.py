"""What publications become: an entry for each instance and name, and one for each PTR record asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from waypost.adapter import InvalidRecord, Record
from waypost.kit import dnsnames, dnsrecords, ownership
from waypost.model import Publication, PublishedInstance, PublishedName
from waypost_adapters.dns.config import Options
from waypost_adapters.dns.layout import APEX, LONGEST_LABELS, LONGEST_TEXT, WORDS, Entry

__all__ = ["Renderer"]


class Renderer:
    """Renders for one zone and the zones of reverse names beside it."""

    def __init__(self, zone: str, ttl: int, reverse_zones: Sequence[str] = ()) -> None:
        self._zone = zone
        self._ttl = ttl
        self._reverse = tuple(reverse_zones)

    def render(
        self, publication: Publication, instances: Sequence[PublishedInstance]
    ) -> Iterator[Record | InvalidRecord]:
        """Yield the records of each instance and name; a record's content is its entry's text."""
        taken: dict[tuple[str, str | None], str] = {}
        for name in publication.names:
            try:
                full = self._full(name.name)
                if (other := taken.setdefault((full, name.port), name.name)) != name.name:
                    raise dnsnames.BadName(f"`{name.name}` and `{other}` are one name in DNS: case does not matter")
            except dnsnames.BadName as error:
                yield from (InvalidRecord(instance.id, str(error), name.name) for instance in instances)
                continue
            for instance in instances:
                yield from self._records(publication, instance, name, full)

    def _full(self, name: str) -> str:
        if name == APEX:
            return name
        full = dnsnames.name(name)
        if len(full) + 1 + len(self._zone) + LONGEST_LABELS > dnsnames.MAX_NAME:
            raise dnsnames.BadName(
                f"`{full[:64]}….{self._zone}` is too long: {dnsnames.MAX_NAME - LONGEST_LABELS} characters are "
                "possible, so that its instances can have names below it"
            )
        return full

    def _records(
        self, publication: Publication, instance: PublishedInstance, name: PublishedName, full: str
    ) -> Iterator[Record | InvalidRecord]:
        try:
            entry = self._entry(publication, instance, name, full)
            yield _record(entry, instance, name)
        except dnsnames.BadName as error:
            yield InvalidRecord(instance.id, str(error), name.name)
            return
        except UnicodeEncodeError:
            yield InvalidRecord(instance.id, "an id holds half a surrogate pair: it is no text", name.name)
            return
        if isinstance(publication.options, Options) and publication.options.ptr:
            yield from self._pointers(entry, instance, name, full)

    def _pointers(
        self, entry: Entry, instance: PublishedInstance, name: PublishedName, full: str
    ) -> Iterator[Record | InvalidRecord]:
        for address in entry.addresses:
            try:
                yield _record(self._pointer(entry, address, full), instance, name)
            except dnsnames.BadName as error:
                yield InvalidRecord(instance.id, str(error), name.name)

    def _pointer(self, entry: Entry, address: str, full: str) -> Entry:
        reverse = dnsnames.reverse(address)
        if not any(dnsnames.within(reverse, zone) for zone in self._reverse):
            raise dnsnames.BadName(
                f"`ptr` is asked for, and none of the sink's `config.reverseZones` has {reverse}: "
                "no PTR record is written"
            )
        words = {word: getattr(entry, word) for word in WORDS}
        return Entry(
            **words,
            name=f"{reverse}.",
            port=entry.port,
            addresses=(),
            host="",
            ports=(),
            ready=entry.ready,
            weight=0,
            ttl=entry.ttl,
            ptr=self._zone if full == APEX else f"{full}.{self._zone}",
        )

    def _entry(self, publication: Publication, instance: PublishedInstance, name: PublishedName, full: str) -> Entry:
        ports = dnsrecords.ports(instance, name)
        addresses, host = dnsrecords.addresses(instance.addresses)
        for port, protocol, _ in ports:
            if len(f"_{port}._{protocol}.{full}.{self._zone}") > dnsnames.MAX_NAME:
                raise dnsnames.BadName(f"the SRV name of port `{port}` is longer than {dnsnames.MAX_NAME} characters")
        flat = ownership.of(publication, instance).encode()
        return Entry(
            **{word: flat[key] for word, key in zip(WORDS, ownership.KEYS, strict=True)},
            name=full,
            port=ownership.quoted(name.port) if name.port is not None else "",
            addresses=addresses,
            host=host,
            ports=ports,
            ready=instance.ready,
            weight=min(max(instance.weight, 0), 65_535),
            ttl=publication.ttl_seconds if publication.ttl_seconds is not None else self._ttl,
        )


def _record(entry: Entry, instance: PublishedInstance, name: PublishedName) -> Record:
    content = entry.encode()
    if len(content) > LONGEST_TEXT:
        raise dnsnames.BadName(f"ids and names make a TXT record of {len(content)} octets; {LONGEST_TEXT} are possible")
    return Record(entry.key, instance.id, content, name.name, instance.ready)
