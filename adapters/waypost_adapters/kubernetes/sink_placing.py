"""Which slice an instance stands in: filled well, moved never without need. Pure.

An instance that stays in its shape (address family and ports) stays where it is. A new one goes where there is room:
into a slice that is written anyway, else into the fullest one that still has room, else into a new one. A removal
leaves room; an empty slice goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from waypost_adapters.kubernetes.sink_naming import Shape
from waypost_adapters.kubernetes.sink_objects import Meta, Part, cost
from waypost_adapters.kubernetes.sink_record import Line, Whose

__all__ = ["MOST_TEXT", "Draft", "Parts", "place_all"]

MOST_TEXT = 150_000  # bytes of a slice's annotation; an object's annotations have 262,144 together

_Kind = tuple[str, Shape]  # family and ports: what all of a slice have alike


class Parts:
    """A Service's slices, found by name, by what stands in them, and by shape."""

    def __init__(self, parts: Iterable[Part] = ()) -> None:
        self.by_name: dict[str, Part] = {}
        self._where: dict[str, tuple[str, ...]] = {}
        self._kinds: dict[_Kind, dict[str, None]] = {}
        self._empty: set[str] = set()
        for part in parts:
            self.put(part)

    def __iter__(self) -> Iterator[Part]:
        return iter(self.by_name.values())

    def __len__(self) -> int:
        return len(self.by_name)

    def put(self, part: Part) -> None:
        """Take a slice as it is now, in place of what it was."""
        name = part.meta.name
        self.drop(name)
        self.by_name[name] = part
        self._kinds.setdefault((part.family, part.shape), {})[name] = None
        if not part.lines:
            self._empty.add(name)
        for label in part.lines:
            self._where[label] = (*self._where.get(label, ()), name)

    def drop(self, name: str) -> None:
        """Forget a slice."""
        part = self.by_name.pop(name, None)
        if part is None:
            return
        self._empty.discard(name)
        kind = (part.family, part.shape)
        self._kinds[kind].pop(name)
        if not self._kinds[kind]:
            del self._kinds[kind]
        for label in part.lines:
            if rest := tuple(each for each in self._where[label] if each != name):
                self._where[label] = rest
            else:
                del self._where[label]

    def holding(self, label: str) -> list[Part]:
        """Return the slices in which an instance stands."""
        return [self.by_name[name] for name in self._where.get(label, ())]

    def of_kind(self, kind: _Kind) -> list[Part]:
        """Return the slices of a family and shape."""
        return [self.by_name[name] for name in self._kinds.get(kind, ())]

    @property
    def empty(self) -> list[Part]:
        """The slices in which nobody of ours stands."""
        return [self.by_name[name] for name in sorted(self._empty)]

    @property
    def shapes(self) -> set[Shape]:
        """All that the slices have as ports."""
        return {shape for _, shape in self._kinds}


class Draft(msgspec.Struct):
    """What is to be written, in this order; each a slice as it is to be.

    `grown` are new ones or have somebody more or changed, with those that move away still in them; `shrunk` have only
    lost somebody since; an empty one goes.
    """

    grown: list[Part]
    shrunk: list[Part]


class _Sheet:
    """A slice while it is being changed."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.lines = dict(part.lines)
        self.moving: dict[str, Line] = {}  # to another slice, which is written first
        self.grows = self.shrinks = False
        self._whose: set[Whose] = set()
        self._size = 0
        for line in part.lines.values():
            self._count(line)

    def _count(self, line: Line) -> None:
        self._size += cost(line)
        if line.whose not in self._whose:
            self._whose.add(line.whose)
            self._size += _text(line.whose)

    def room_for(self, line: Line, most: int) -> bool:
        extra = cost(line) + (0 if line.whose in self._whose else _text(line.whose))
        return not self.lines or (len(self.lines) < most and self._size + extra <= MOST_TEXT)

    def add(self, label: str, line: Line) -> None:
        self.lines[label] = line
        self.grows = True
        self._count(line)

    def with_moving(self) -> Part:
        return msgspec.structs.replace(self.part, lines={**self.moving, **self.lines}, altered=False)

    def final(self) -> Part:
        return msgspec.structs.replace(self.part, lines=self.lines, altered=False)


def _text(whose: Whose) -> int:
    """Return about how many bytes a publication adds to the annotation."""
    return 20 + len(whose.registration) + len(whose.entry) + len(whose.service) + len(whose.path)


class _Placing:
    def __init__(self, parts: Parts, service: str, most: int, taken: Iterable[str]) -> None:
        self._parts = parts
        self._service = service
        self._most = most
        self._taken = set(taken)
        self.sheets: dict[str, _Sheet] = {}
        self._begun: dict[_Kind, list[_Sheet]] = {}

    def sheet(self, part: Part) -> _Sheet:
        name = part.meta.name
        if name not in self.sheets:
            self._begin(_Sheet(part))
        return self.sheets[name]

    def _begin(self, sheet: _Sheet) -> _Sheet:
        self.sheets[sheet.part.meta.name] = sheet
        self._begun.setdefault((sheet.part.family, sheet.part.shape), []).append(sheet)
        return sheet

    def change(self, label: str, line: Line | None) -> None:
        """Let an instance stand where it belongs, or nowhere."""
        wanted: dict[str, Line] = {}
        if line is not None:
            wanted = {"IPv6" if ":" in address else "IPv4": line for address in line.addresses}
        for part in self._parts.holding(label):
            sheet = self.sheet(part)
            fits = part.family in wanted and part.shape == (line.ports if line is not None else ())
            if fits and line is not None:
                del wanted[part.family]
                if part.lines[label] != line:
                    sheet.add(label, line)
            elif label in sheet.lines:
                sheet.shrinks = True
                old = sheet.lines.pop(label)
                if sheet not in (some := self._begun[part.family, part.shape]):
                    some.append(sheet)  # it was full, and has room now
                if line is not None:
                    sheet.moving[label] = old
        for family, new in wanted.items():
            self._seat(label, new, (family, new.ports))

    def _seat(self, label: str, line: Line, kind: _Kind) -> None:
        if (some := self._begun.get(kind)) and any(len(sheet.lines) >= self._most for sheet in some):
            some[:] = [sheet for sheet in some if len(sheet.lines) < self._most]  # full ones are not asked again
        begun = [sheet for sheet in some or () if sheet.room_for(line, self._most)]
        if begun:
            max(begun, key=lambda s: (len(s.lines), s.part.meta.name)).add(label, line)
            return
        others = [
            part
            for part in self._parts.of_kind(kind)
            if len(part.lines) < self._most and part.meta.name not in self.sheets
        ]
        for part in sorted(others, key=lambda part: (-len(part.lines), part.meta.name)):
            sheet = _Sheet(part)
            if sheet.room_for(line, self._most):
                self._begin(sheet).add(label, line)
                return
        name = self._free_name(label, kind[0])
        self._begin(_Sheet(Part(Meta(name), *kind, {}))).add(label, line)

    def _free_name(self, label: str, family: str) -> str:
        """Name a new slice after its first instance: the same in every process, and different for each."""
        base = f"{self._service}-{family[-1]}-{label[2:]}"
        name, number = base, 1
        while name in self._taken or name in self._parts.by_name or name in self.sheets:
            number += 1
            name = f"{base}-{number}"
        return name


def place_all(
    parts: Parts, changes: Mapping[str, Line | None], service: str, most: int, taken: Iterable[str] = ()
) -> Draft:
    """Return what to write so that these instances stand as their lines say, and those with None nowhere.

    `taken` are names of slices that are not ours. A slice that was altered is written again when anything in it is
    asked for.
    """
    placing = _Placing(parts, service, most, taken)
    for part in parts.empty:
        placing.sheet(part)
    for label in changes:
        for part in parts.holding(label):
            if part.altered:
                placing.sheet(part).grows = True
    for label, line in changes.items():
        placing.change(label, line)
    grown, shrunk = [], []
    for sheet in placing.sheets.values():
        if sheet.grows and sheet.lines:
            grown.append(sheet.with_moving())
            if sheet.moving:
                shrunk.append(sheet.final())
        elif sheet.shrinks or not sheet.lines:
            shrunk.append(sheet.final())
    return Draft(grown, shrunk)
