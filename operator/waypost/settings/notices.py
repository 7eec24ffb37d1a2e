"""The system's notices that something changed under some paths; a notice is a hint, and its absence proves nothing.

Watches each folder with all below it, and what each path stands in, so that a path that is replaced, or goes and comes
back, is noticed. Where the system cannot watch (no watches left, say) there are no notices and a warning is logged: who
relies on them looks now and then as well.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError  # documented as the library's Rust backend

__all__ = ["Notices"]

STEP_MS = 50  # changes that come closer than this are told together
DEBOUNCE_MS = 400  # … but none waits longer

Roots = tuple[tuple[str, int, int], ...]
log = logging.getLogger(__name__)


class Notices:
    """A context manager, to be entered and left on the loop; `changed` is set at each notice."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Name the files and folders; they need not be there."""
        self.changed = asyncio.Event()
        self._paths = [path.absolute() for path in paths]
        self._names: set[str] = set()
        self._roots: tuple[Roots, Roots] = ((), ())
        self._stop: list[threading.Event] = []
        self._trouble = ""

    def __enter__(self) -> Self:
        """Note the loop; nothing is watched before `renew`."""
        self._loop = asyncio.get_running_loop()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching; the threads end by themselves within STEP_MS."""
        self._end()

    def take(self) -> set[str]:
        """Return the paths noticed since the last call, and wait for the next. On the loop only."""
        self.changed.clear()
        names, self._names = self._names, set()
        return names

    def renew(self) -> None:
        """Watch what the paths are now, if that is not what is watched already. Blocks: called in a thread."""
        folders = [path for path in self._paths if path.is_dir()]
        roots = (_identities(folders), _identities({path.parent for path in self._paths}))
        if roots == self._roots:
            return
        self._end()
        self._roots = roots
        files_in = {str(path.parent) for path in self._paths if path not in folders}
        names = {str(path) for path in self._paths}
        self._watch(roots[0], lambda _: True, recursive=True)
        self._watch(roots[1], lambda path: path in names or os.path.dirname(path) in files_in, recursive=False)  # noqa: PTH120

    def _watch(self, roots: Roots, wanted: Callable[[str], bool], *, recursive: bool) -> None:
        if not roots:
            return
        try:
            notify = RustNotify([root[0] for root in roots], False, False, 0, recursive, True)
        except (OSError, WatchfilesRustInternalError) as error:
            self._roots = ((), ())  # tried again at the next look
            if str(error) != self._trouble:
                log.warning("cannot watch manifests, looking now and then only error=%s", error)
                self._trouble = str(error)
            return
        stop = threading.Event()
        self._stop.append(stop)
        threading.Thread(target=self._run, args=(notify, stop, wanted), name="waypost-manifests", daemon=True).start()

    def _run(self, notify: RustNotify, stop: threading.Event, wanted: Callable[[str], bool]) -> None:
        with notify:
            while not stop.is_set():
                found = notify.watch(DEBOUNCE_MS, STEP_MS, 0, stop)
                if isinstance(found, str):
                    return
                paths = [path for _, path in found if wanted(path)]
                if not paths:
                    continue
                try:
                    self._loop.call_soon_threadsafe(self._note, paths)
                except RuntimeError:  # the loop is closed: nobody listens
                    return

    def _note(self, paths: Iterable[str]) -> None:
        self._names.update(paths)
        self.changed.set()

    def _end(self) -> None:
        for stop in self._stop:
            stop.set()
        self._stop = []


def _identities(paths: Iterable[Path]) -> Roots:
    """Return the folders that are there, each with what tells it from another of the same name."""
    found = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((str(path), status.st_dev, status.st_ino))
    return tuple(sorted(found))
