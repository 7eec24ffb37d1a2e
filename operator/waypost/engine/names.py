"""Who holds which name in one sink. Among registrations of one installation a name has one holder: who has it keeps it.

Where the sink keeps namespaces apart, each has names of its own.

A name passes on only when its holder wants it no more, and as long as that cannot be known (its source has not been
read, or what it publishes is refused) its records hold it. The holder's leftovers under it then wait for the new
holder's writes (the writer asks `sharing`), so that a renamed registration never leaves a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from waypost.model import PublicationKey

__all__ = ["Names"]

Place = str  # a name; where the sink keeps namespaces apart, with its namespace before it


class Names:
    """The names of one sink. `above(name)` are the names that cannot stand together with it (see adapter.Sink).

    `keeps(key, name)` says whether the records that a publication has under a name stay though it does not want it now.
    """

    def __init__(
        self,
        above: Callable[[str], Sequence[str]],
        keeps: Callable[[PublicationKey, str], bool] = lambda *_: False,
        *,
        namespaced: bool = False,
    ) -> None:
        """Begin with no name held."""
        self._above = above
        self._keeps = keeps
        self._namespaced = namespaced
        # Tuples where there is one member, as nearly everywhere: a set is five times as large.
        self.wanted: dict[PublicationKey, tuple[str, ...]] = {}
        self.left: dict[PublicationKey, tuple[str, ...]] = {}  # names of records whose publication may be gone
        self._under: dict[Place, tuple[PublicationKey] | set[PublicationKey]] = {}
        self._holder: dict[Place, str] = {}
        self._beneath: dict[Place, set[str]] = {}

    def want(self, key: PublicationKey, names: Iterable[str]) -> set[PublicationKey]:
        """Let a publication want these names, in place of former ones.

        Return the publications whose standing may have changed.
        """
        new = tuple(sorted(set(names)))
        old = self.wanted.get(key, ())
        if new == old:
            return set()
        if new:
            self.wanted[key] = new
        else:
            self.wanted.pop(key, None)
        affected: set[PublicationKey] = set()
        for name in old:
            if name not in new:
                affected |= self._leave(key, name)
        for name in new:
            if name not in old:
                self._stand(key, name)
                self._take(name, key.registration)
        return affected

    def found(self, key: PublicationKey, name: str) -> None:
        """Take note that a record of the publication stands under a name.

        Its registration has it, unless another already does.
        """
        if name:
            place = self._place(name, key.registration)
            if name not in (left := self.left.get(key, ())):
                self.left[key] = (*left, name)
                self._stand(key, name)
                self._note(name, key.registration)
            if place not in self._holder and self._blocked(name, key.registration) is None:
                self._holder[place] = key.registration

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
        if (other := self._blocked(name, key.registration)) is None:
            return None
        holds = self._holder[self._place(other, key.registration)]
        return (
            f"the names `{name}` and `{other}` cannot stand together in this sink, "
            f"and registration {holds} holds `{other}`"
        )

    def holds(self, key: PublicationKey, name: str) -> bool:
        """Say whether a publication wants a name, and its registration has it."""
        return name in self.wanted.get(key, ()) and self._holder.get(self._place(name, key.registration)) == (
            key.registration
        )

    def sharing(self, key: PublicationKey) -> set[PublicationKey]:
        """Return the other publications that stand under a name of this one."""
        found: set[PublicationKey] = set()
        for names in (self.wanted.get(key, ()), self.left.get(key, ())):
            for name in names:
                under = self._under.get(self._place(name, key.registration), ())
                if len(under) > 1:
                    found.update(under)
        found.discard(key)
        return found

    def _place(self, name: str, registration: str) -> Place:
        return f"{registration.partition('/')[0]}/{name}" if self._namespaced else name

    def _stand(self, key: PublicationKey, name: str) -> None:
        place = self._place(name, key.registration)
        under = self._under.get(place)
        if under is None:
            self._under[place] = (key,)
        elif isinstance(under, set):
            under.add(key)
        elif key not in under:
            self._under[place] = {*under, key}

    def _take(self, name: str, registration: str) -> str:
        """Let a registration that wants a name have it, unless another holds it; return who has it."""
        holder = self._holder.get(self._place(name, registration))
        if holder is not None and (holder == registration or self._claims(holder, name)):
            return holder
        self._note(name, registration)
        if holder is not None or self._blocked(name, registration) is None:
            self._holder[self._place(name, registration)] = registration
        return registration

    def _blocked(self, name: str, registration: str) -> str | None:
        """Return a name that is held and cannot stand together with this one."""
        others: list[str] = [*self._above(name), *self._beneath.get(self._place(name, registration), ())]
        for other in others:
            if other != name and self._place(other, registration) in self._holder:
                return other
        return None

    def _claims(self, registration: str, name: str) -> bool:
        return self._wants(registration, name) or any(
            key.registration == registration and name in self.left.get(key, ()) and self._keeps(key, name)
            for key in self._under.get(self._place(name, registration), ())
        )

    def _wants(self, registration: str, name: str) -> bool:
        return any(
            key.registration == registration and name in self.wanted.get(key, ())
            for key in self._under.get(self._place(name, registration), ())
        )

    def _note(self, name: str, registration: str) -> None:
        for other in self._above(name):
            self._beneath.setdefault(self._place(other, registration), set()).add(name)

    def _leave(self, key: PublicationKey, name: str) -> set[PublicationKey]:
        place = self._place(name, key.registration)
        under = set(self._under.get(place, ()))
        if name not in self.left.get(key, ()):
            under.discard(key)
            if under:
                self._under[place] = under
            else:
                self._under.pop(place, None)
        holder = self._holder.get(place)
        if holder is not None and not self._claims(holder, name):
            claimants = sorted({other.registration for other in under if name in self.wanted.get(other, ())})
            if claimants:
                self._holder[place] = claimants[0]
            elif not under:
                del self._holder[place]
        affected = set(under)
        if place not in self._holder:  # what could not stand together with it may be had now
            for other in (*self._above(name), *self._beneath.get(place, ())):
                affected.update(self._under.get(self._place(other, key.registration), ()))
        if not under:
            for other in self._above(name):
                above = self._place(other, key.registration)
                if (beneath := self._beneath.get(above)) is not None:
                    beneath.discard(name)
                    if not beneath:
                        del self._beneath[above]
        return affected

    def reset(self, wanted: Iterable[tuple[PublicationKey, Collection[str]]]) -> None:
        """Begin anew, with what records hold.

        Names go first to who has records under them, then in the registrations' order.
        """
        left, self.left = self.left, {}
        self.wanted, self._under, self._holder, self._beneath = {}, {}, {}, {}
        want = {key: tuple(sorted(set(names))) for key, names in wanted}
        for key, names in sorted(left.items(), key=lambda item: (item[0] not in want, item[0])):
            for name in sorted(names):
                self.found(key, name)
        self.wanted = {key: names for key, names in want.items() if names}  # all, before any is asked who holds
        for key in sorted(self.wanted):
            for name in sorted(self.wanted[key]):
                self._stand(key, name)
                self._take(name, key.registration)
