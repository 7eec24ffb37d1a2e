"""Finds adapters by the entry points of installed packages, and imports each when it is first asked for.

A package that cannot be imported, or names something else than an AdapterType, makes its own type unusable and no
other: the message says which package it is and why.
"""

from __future__ import annotations

import difflib
import importlib.metadata
from collections.abc import Iterable
from typing import Any, Literal

from waypost.adapter import AdapterType

__all__ = ["BrokenPlugin", "Group", "Plugins", "UnknownType"]

Group = Literal["sources", "sinks", "electors"]
GROUPS = ("waypost.sources", "waypost.sinks", "waypost.electors")


class UnknownType(LookupError):
    """No installed package has an adapter of that name; the message lists those there are."""


class BrokenPlugin(RuntimeError):
    """An installed package says that it has the adapter, and cannot give it; the message says why."""


class Plugins:
    """The adapters of this Python environment. What is installed later is seen by a new object."""

    def __init__(self, entries: Iterable[importlib.metadata.EntryPoint] | None = None) -> None:
        """`entries` are, unless given, those of all installed packages; groups that are not ours are passed over."""
        if entries is None:
            entries = [entry for group in GROUPS for entry in importlib.metadata.entry_points(group=group)]
        self._entries: dict[tuple[str, str], list[importlib.metadata.EntryPoint]] = {}
        for entry in entries:
            if entry.group in GROUPS:
                self._entries.setdefault((entry.group, entry.name), []).append(entry)
        self._loaded: dict[tuple[str, str], AdapterType[Any] | BrokenPlugin] = {}

    def known(self, group: Group) -> list[str]:
        """Return the names of a group's types, sorted, without importing any."""
        return sorted(name for kind, name in self._entries if kind == f"waypost.{group}")

    def find(self, group: Group, name: str) -> AdapterType[Any]:
        """Return the type of that name. Raises UnknownType or BrokenPlugin."""
        key = (f"waypost.{group}", name)
        if key not in self._entries:
            raise UnknownType(self._unknown(group, name))
        if key not in self._loaded:
            self._loaded[key] = _load(group, self._entries[key])
        loaded = self._loaded[key]
        if isinstance(loaded, BrokenPlugin):
            raise loaded
        return loaded

    def _unknown(self, group: Group, name: str) -> str:
        known = self.known(group)
        close = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        return f"unknown {group.removesuffix('s')} type `{name}`; known: {', '.join(known) or 'none'}{meant}"


def _load(group: Group, entries: list[importlib.metadata.EntryPoint]) -> AdapterType[Any] | BrokenPlugin:
    entry = entries[0]
    what = f"{group.removesuffix('s')} type `{entry.name}` of {_package(entry)}"
    if len({each.value for each in entries}) > 1:
        packages = ", ".join(sorted({_package(each) for each in entries}))
        return BrokenPlugin(
            f"{group.removesuffix('s')} type `{entry.name}` is in several packages: {packages}; uninstall all but one"
        )
    try:
        loaded = entry.load()
    except Exception as error:  # noqa: BLE001 - a plugin's import may raise anything, and breaks only itself
        return BrokenPlugin(f"{what} cannot be imported: {type(error).__name__}: {error}")
    if not isinstance(loaded, AdapterType):
        return BrokenPlugin(f"{what}: `{entry.value}` is a {type(loaded).__name__}; expected an AdapterType")
    if loaded.name != entry.name:
        return BrokenPlugin(
            f"{what}: `{entry.value}` calls itself `{loaded.name}`; the entry point's name must be the same"
        )
    return loaded


def _package(entry: importlib.metadata.EntryPoint) -> str:
    return f"package {entry.dist.name} {entry.dist.version}" if entry.dist is not None else "a package without a name"
