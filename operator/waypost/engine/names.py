"""Who holds which name in one sink. Among registrations of one installation a name has one holder: who has it keeps it.

A name passes on only when its holder wants it no more, and as long as that cannot be known (its source has not been
read, or what it publishes is refused) its records hold it. The holder's leftovers under it then wait for the new
holder's writes (the writer asks `sharing`), so that a renamed registration never leaves a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from waypost.model import PublicationKey

__all__ = ["Names"]


class Names:
    """The names of one sink. `above(name)` are the names that cannot stand together with it (see adapter.Sink).

    `keeps(key, name)` says whether the records that a publication has under a name stay though it does not want it now.
    """

    def __init__(
        self, above: Callable[[str], Sequence[str]], keeps: Callable[[PublicationKey, str], bool] = lambda *_: False
    ) -> None:
        """Begin with no name held."""
        self._above = above
        self._keeps = keeps
        self.wanted: dict[PublicationKey, frozenset[str]] = {}
        self.left: dict[PublicationKey, set[str]] = {}  # names of records whose publication may be gone
        self._under: dict[str, set[PublicationKey]] = {}
        self._holder: dict[str, str] = {}
        self._beneath: dict[str, set[str]] = {}

    def want(self, key: PublicationKey, names: Iterable[str]) -> set[PublicationKey]:
        """Let a publication want these names, in place of former ones.

        Return the publications whose standing may have changed.
        """
        new = frozenset(names)
        old = self.wanted.get(key, frozenset())
        if new == old:
            return set()
        if new:
            self.wanted[key] = new
        else:
            self.wanted.pop(key, None)
        affected: set[PublicationKey] = set()
        for name in old - new:
            affected |= self._leave(key, name)
        for name in new - old:
            self._under.setdefault(name, set()).add(key)
            self._take(name, key.registration)
        return affected

    def found(self, key: PublicationKey, name: str) -> None:
        """Take note that a record of the publication stands under a name.

        Its registration has it, unless another already does.
        """
        if name:
            self.left.setdefault(key, set()).add(name)
            self._under.setdefault(name, set()).add(key)
            if name not in self._holder:
                self._hold(name, key.registration)

    def emptied(self, key: PublicationKey) -> set[PublicationKey]:
        """Take note that no record of the publication is left.

        Return the publications whose standing may have changed.
        """
        affected: set[PublicationKey] = set()
        for name in self.left.pop(key, ()):
            if name not in self.wanted.get(key, ()):
                affected |= self._leave(key, name)
        return affected

    def conflict(self, key: PublicationKey, name: str) -> str | None:
        """Say who stands in the way of a publication under a name; None where nobody does."""
        if (holder := self._take(name, key.registration)) != key.registration:
            return f"the name `{name}` is held by registration {holder}"
        for other in (*self._above(name), *self._beneath.get(name, ())):
            if other in self._holder and other != name:
                return (
                    f"the names `{name}` and `{other}` cannot stand together in this sink, "
                    f"and registration {self._holder[other]} holds `{other}`"
                )
        return None

    def sharing(self, key: PublicationKey) -> set[PublicationKey]:
        """Return the other publications that stand under a name of this one."""
        names = self.wanted.get(key, frozenset()) | self.left.get(key, set())
        found = {other for name in names for other in self._under.get(name, ())}
        found.discard(key)
        return found

    def holders(self) -> dict[str, str]:
        """Return the registration that holds each name."""
        return dict(self._holder)

    def _take(self, name: str, registration: str) -> str:
        """Let a registration that wants a name have it, unless another holds it; return who has it."""
        holder = self._holder.get(name)
        if holder is not None and (holder == registration or self._claims(holder, name)):
            return holder
        self._hold(name, registration)
        return registration

    def _claims(self, registration: str, name: str) -> bool:
        return self._wants(registration, name) or any(
            key.registration == registration and name in self.left.get(key, ()) and self._keeps(key, name)
            for key in self._under.get(name, ())
        )

    def _wants(self, registration: str, name: str) -> bool:
        return any(
            key.registration == registration and name in self.wanted.get(key, ()) for key in self._under.get(name, ())
        )

    def _hold(self, name: str, registration: str) -> None:
        self._holder[name] = registration
        for other in self._above(name):
            self._beneath.setdefault(other, set()).add(name)

    def _leave(self, key: PublicationKey, name: str) -> set[PublicationKey]:
        under = self._under.get(name, set())
        if name not in self.left.get(key, ()):
            under.discard(key)
        holder = self._holder.get(name)
        if holder is not None and not self._claims(holder, name):
            claimants = sorted({other.registration for other in under if name in self.wanted.get(other, ())})
            if claimants:
                self._holder[name] = claimants[0]
            elif not under:
                del self._holder[name]
                self._under.pop(name, None)
                for other in self._above(name):
                    self._beneath.get(other, set()).discard(name)
        return set(under)

    def reset(self, wanted: Iterable[tuple[PublicationKey, Collection[str]]]) -> None:
        """Begin anew, with what records hold.

        Names go first to who has records under them, then in the registrations' order.
        """
        left, self.left = self.left, {}
        self.wanted, self._under, self._holder, self._beneath = {}, {}, {}, {}
        want = {key: frozenset(names) for key, names in wanted}
        for key, names in sorted(left.items(), key=lambda item: (item[0] not in want, item[0])):
            for name in sorted(names):
                self.found(key, name)
        self.wanted = {key: names for key, names in want.items() if names}  # all, before any is asked who holds
        for key in sorted(self.wanted):
            for name in sorted(self.wanted[key]):
                self._under.setdefault(name, set()).add(key)
                self._take(name, key.registration)
