"""Which instances of a publication are to be looked at again, in an order that is the same in every process.

Those that their source still has come first, by id, then those that it has no more: so what may have to be written is
planned before what can only be deleted, however small the helpings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

__all__ = ["Marks"]


class Marks:
    """Instances by id, each once. Marking costs what is marked; taking costs what is taken, and a sort after marks."""

    __slots__ = ("_new", "_rest")

    def __init__(self, instances: Iterable[str] = ()) -> None:
        self._new = set(instances)
        self._rest: list[tuple[bool, str]] = []  # (gone, id) in reverse, so that taking is at the end

    def add(self, instances: Iterable[str]) -> None:
        """Mark these too."""
        self._new.update(instances)

    def take(self, most: int, gone: Callable[[str], bool]) -> list[str]:
        """Take the first of them out; `gone(id)` says that the source has it no more."""
        if self._new:
            self._new.update(name for _, name in self._rest)
            self._rest = sorted(((gone(name), name) for name in self._new), reverse=True)
            self._new = set()
        taken = self._rest[-most:][::-1]
        del self._rest[-most:]
        return [name for _, name in taken]

    def only_gone(self) -> bool:
        """Say whether none is left but those that are gone; after `take`."""
        return not self._new and (not self._rest or self._rest[-1][0])

    def __iter__(self) -> Iterator[str]:
        return iter(self._new.union(name for _, name in self._rest))

    def __len__(self) -> int:
        return sum(1 for _ in self) if self._new else len(self._rest)
