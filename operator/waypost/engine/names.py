"""Who holds which name in one sink. Among registrations of one installation a name has one holder: who has it keeps it.

Several hold it together where all of them say `sharing: Shared`. Where the sink keeps namespaces apart, each has names
of its own. What the sink takes for one name (in DNS `WEB` and `web`) is one here: it is kept in the sink's canonical
form, whatever form it is asked for or found in.

A name passes on only when its holder wants it no more, and as long as that cannot be known (its source has not been
read, or what it publishes is refused) its records hold it. The holder's leftovers under it then wait for the new
holder's writes (the writer asks `beside`), so that a renamed registration never leaves a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet

from waypost.model import PublicationKey

__all__ = ["Names", "told"]

Place = str  # a name; where the sink keeps namespaces apart, with its namespace before it
Keys = dict[PublicationKey, None]  # a set that keeps its order: what follows from it is the same in every process


class Names:
    """The names of one sink. `above(name)` are the names that cannot stand together with it (see adapter.Sink).

    `canonical(name)` is the one form of all that the sink takes for the same name; all that is kept has it.

    `keeps(key, name)` says whether the records that a publication has under a name stay though it does not want it now.
    `shares(registration)` says whether a registration shares its names; None where it is not known.
    """

    def __init__(
        self,
        above: Callable[[str], Sequence[str]],
        keeps: Callable[[PublicationKey, str], bool] = lambda *_: False,
        shares: Callable[[str], bool | None] = lambda _: False,
        *,
        namespaced: bool = False,
        canonical: Callable[[str], str] | None = None,
    ) -> None:
        """Begin with no name held. Without `canonical` each name is its own form."""
        self._above = above
        self.canonical = _as_it_is if canonical is None else canonical
        self._keeps = keeps
        self._shares = shares
        self._namespaced = namespaced
        # Tuples where there is one member, as nearly everywhere: a dict is five times as large.
        self.wanted: dict[PublicationKey, tuple[str, ...]] = {}
        self.left: dict[PublicationKey, tuple[str, ...]] = {}  # names of records whose publication may be gone
        self._under: dict[Place, tuple[PublicationKey] | Keys] = {}
        self._holder: dict[Place, str | tuple[str, ...]] = {}  # several only where they share it
        self._beneath: dict[Place, dict[str, None]] = {}

    def want(self, key: PublicationKey, names: Iterable[str]) -> AbstractSet[PublicationKey]:
        """Let a publication want these names, in place of former ones.

        Return the publications whose standing may have changed.
        """
        new = self._forms(names)
        old = self.wanted.get(key, ())
        if new == old:
            return Keys().keys()
        if new:
            self.wanted[key] = new
        else:
            self.wanted.pop(key, None)
        affected = Keys()
        for name in old:
            if name not in new:
                affected.update(self._leave(key, name))
        for name in new:
            if name not in old:
                self._stand(key, name)
                self._take(name, key.registration)
        return affected.keys()

    def found(self, key: PublicationKey, name: str) -> None:
        """Take note that a record of the publication stands under a name.

        Its registration has it, unless another already does. What stands side by side was shared, as far as nobody says
        otherwise: a registration that is not known stops none of those that shared a name with it.
        """
        if not name:
            return
        name = self.canonical(name)
        mine, place = key.registration, self._place(name, key.registration)
        if name not in (left := self.left.get(key, ())):
            self.left[key] = (*left, name)
            self._stand(key, name)
            self._note(name, mine)
        held = self._held(place)
        if not held:
            if self._blocked(name, mine) is None:
                self._hold(place, (mine,))
        elif mine not in held and all(self._shares(each) is not False for each in (mine, *held)):
            self._hold(place, (*held, mine))

    def emptied(self, key: PublicationKey) -> AbstractSet[PublicationKey]:
        """Take note that no record of the publication is left.

        Return the publications whose standing may have changed.
        """
        affected = Keys()
        for name in self.left.pop(key, ()):
            if name not in self.wanted.get(key, ()):
                affected.update(self._leave(key, name))
        return affected.keys()

    def reshared(self, keys: Iterable[PublicationKey]) -> AbstractSet[PublicationKey]:
        """Take note that the registration of these publications shares its names now, or no longer does.

        Return the publications whose standing may have changed.
        """
        affected = Keys()
        for key in keys:
            for name in dict.fromkeys((*self.wanted.get(key, ()), *self.left.get(key, ()))):
                place = self._place(name, key.registration)
                if held := self._claimants(name, place):
                    self._hold(place, held)
                affected.update(dict.fromkeys(self._under.get(place, ())))
        return affected.keys()

    # --- questions

    def conflict(self, key: PublicationKey, name: str, *, whole: bool = False) -> str | None:
        """Say who stands in the way of a publication under a name; None where nobody does.

        Registrations of other namespaces are named only where it is told `whole`: to who may see everything.
        """
        mine, form = key.registration, self.canonical(name)
        if mine not in (held := self._take(form, mine)):
            one = "" if form == name else f", for this sink takes it and `{form}` for one name"
            return f"the name `{name}` is held by {told(held, '' if whole else mine)}{one}{self._mixed(mine, held)}"
        if (other := self._blocked(form, mine)) is None:
            return None
        holds = told(self._held(self._place(other, mine)), "" if whole else mine)
        return f"the names `{name}` and `{other}` cannot stand together in this sink, and {holds} holds `{other}`"

    def contenders(self, registration: str, name: str) -> list[str]:
        """Return the registrations that want a name that this one holds, and do not get it."""
        name = self.canonical(name)
        place = self._place(name, registration)
        held = self._held(place)
        if registration not in held:
            return []
        others = {key for key in self._under.get(place, ()) if key.registration not in held}
        return sorted({key.registration for key in others if name in self.wanted.get(key, ())})

    def holds(self, key: PublicationKey, name: str) -> bool:
        """Say whether a publication wants a name, and its registration has it."""
        name = self.canonical(name)
        return name in self.wanted.get(key, ()) and key.registration in self._held(self._place(name, key.registration))

    def sharing(self, key: PublicationKey) -> AbstractSet[PublicationKey]:
        """Return the other publications that stand under a name of this one."""
        return self._beside(key, lambda _other, _held: True)

    def beside(self, key: PublicationKey) -> AbstractSet[PublicationKey]:
        """Return the other publications whose writes this one's deletions wait for.

        Under a name that several registrations share, each of them goes its own way.
        """
        mine = key.registration
        return self._beside(
            key, lambda other, held: other.registration == mine or not (mine in held and other.registration in held)
        )

    def heirs(self, key: PublicationKey) -> AbstractSet[PublicationKey]:
        """Return those beside it of which a refused write keeps a record of this one in its place.

        Under a name that is shared, what is left of a registration is missed only by who shows the same service: most
        likely it is the same registration, renamed.
        """
        apart = {
            other
            for other in self._beside(
                key, lambda other, held: other.registration in held and all(map(self._shares, held))
            )
            if other.registration != key.registration and other.service != key.service
        }
        return Keys((other, None) for other in self.beside(key) if other not in apart).keys()

    # --- inside

    def _beside(
        self, key: PublicationKey, chosen: Callable[[PublicationKey, tuple[str, ...]], bool]
    ) -> AbstractSet[PublicationKey]:
        found = Keys()
        for names in (self.wanted.get(key, ()), self.left.get(key, ())):
            for name in names:
                place = self._place(name, key.registration)
                under = self._under.get(place, ())
                if len(under) > 1:
                    held = self._held(place)
                    found.update((other, None) for other in under if chosen(other, held))
        found.pop(key, None)
        return found.keys()

    def _forms(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted({self.canonical(name) for name in names}))

    def _place(self, name: str, registration: str) -> Place:
        return f"{registration.partition('/')[0]}/{name}" if self._namespaced else name

    def _held(self, place: Place) -> tuple[str, ...]:
        held = self._holder.get(place, ())
        return (held,) if isinstance(held, str) else held

    def _hold(self, place: Place, registrations: tuple[str, ...]) -> None:
        self._holder[place] = registrations if len(registrations) > 1 else registrations[0]

    def _mixed(self, mine: str, held: tuple[str, ...]) -> str:
        """Say why a name is not shared where one side would share it; "" where neither would."""
        would, theirs = self._shares(mine), all(map(self._shares, held))
        if would and not theirs:
            return ", which does not say `sharing: Shared`"
        return ", which would share it; this one does not say `sharing: Shared`" if theirs and not would else ""

    def _stand(self, key: PublicationKey, name: str) -> None:
        place = self._place(name, key.registration)
        under = self._under.get(place)
        if under is None:
            self._under[place] = (key,)
        elif isinstance(under, dict):
            under[key] = None
        elif key not in under:
            self._under[place] = dict.fromkeys((*under, key))

    def _take(self, name: str, registration: str) -> tuple[str, ...]:
        """Let a registration that wants a name have it, unless another holds it; return who has it."""
        place = self._place(name, registration)
        held = self._held(place)
        if registration in held:
            return held
        keep = tuple(each for each in held if self._claims(each, name))
        if keep and not all(map(self._shares, (registration, *keep))):
            return keep
        self._note(name, registration)
        if held or self._blocked(name, registration) is None:
            self._hold(place, (*keep, registration))
        return (*keep, registration)

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

    def _claimants(self, name: str, place: Place) -> tuple[str, ...]:
        """Return who is to hold a name now: who held it and still claims it, else the first that wants it.

        Others that share it have it as soon as they ask. Where one of several that shared it says otherwise, it is the
        one that goes.
        """
        held = [each for each in self._held(place) if self._claims(each, name)]
        if len(held) > 1:
            held = [each for each in held if self._shares(each) is not False] or held[:1]
        if not held:
            under = self._under.get(place, ())
            held = sorted({key.registration for key in under if name in self.wanted.get(key, ())})[:1]
        return tuple(held)

    def _note(self, name: str, registration: str) -> None:
        for other in self._above(name):
            self._beneath.setdefault(self._place(other, registration), {})[name] = None

    def _leave(self, key: PublicationKey, name: str) -> Keys:
        place = self._place(name, key.registration)
        under = dict.fromkeys(self._under.get(place, ()))
        if name not in self.left.get(key, ()):
            under.pop(key, None)
            if under:
                self._under[place] = under
            else:
                self._under.pop(place, None)
        if (held := self._held(place)) and not all(self._claims(each, name) for each in held):
            if claimants := self._claimants(name, place):
                self._hold(place, claimants)
            elif not under:
                del self._holder[place]
        affected = dict(under)
        if place not in self._holder:  # what could not stand together with it may be had now
            for other in (*self._above(name), *self._beneath.get(place, ())):
                affected.update(dict.fromkeys(self._under.get(self._place(other, key.registration), ())))
        if not under:
            for other in self._above(name):
                above = self._place(other, key.registration)
                if (beneath := self._beneath.get(above)) is not None:
                    beneath.pop(name, None)
                    if not beneath:
                        del self._beneath[above]
        return affected

    def reset(self, wanted: Iterable[tuple[PublicationKey, Collection[str]]]) -> None:
        """Begin anew, with what records hold.

        Names go first to who wants them and has records under them, then to whose records keep them (of several to
        those that share, for only they can have come to stand beside each other), then in the registrations' order.
        """
        left, self.left = self.left, {}
        self.wanted, self._under, self._holder, self._beneath = {}, {}, {}, {}
        want = {key: self._forms(names) for key, names in wanted}

        def rank(stood: tuple[PublicationKey, str]) -> tuple[bool, bool, bool, tuple[PublicationKey, str]]:
            """What was left by who wants another name now comes last: it is there to be taken over."""
            key, name = stood
            unwanted = name not in want.get(key, ())
            return unwanted, unwanted and not self._keeps(key, name), self._shares(key.registration) is False, stood

        for key, name in sorted(((key, name) for key, names in left.items() for name in names), key=rank):
            self.found(key, name)
        self.wanted = {key: names for key, names in want.items() if names}  # all, before any is asked who holds
        for key in sorted(self.wanted):
            for name in sorted(self.wanted[key]):
                self._stand(key, name)
                self._take(name, key.registration)


def _as_it_is(name: str) -> str:
    return name


def told(registrations: Sequence[str], to: str = "") -> str:
    """Name registrations, at most three. `to` is whom it is told: those of other namespaces are then not named."""
    near = [each for each in registrations if not to or each.partition("/")[0] == to.partition("/")[0]]
    if not near:
        return f"{len(registrations)} other registrations" if registrations[1:] else "another registration"
    named = near[:3]
    more = f" and {len(registrations) - len(named)} more" if registrations[len(named) :] else ""
    return f"registration{'s' if registrations[1:] else ''} {', '.join(named)}{more}"
