"""The files of a set of manifests, as they are on disk: which there are, what they hold, whether they are whole.

A file is taken when it has been still: QUIET_SECONDS since it was last written, or DOUBT_SECONDS where it looks
half-written (its last line has no end, or it is the beginning of what it was before). Until then what it said before
holds. Only regular files are read, and no more than MAX_FILE bytes of each. Blocking: called in a thread.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from waypost.settings.assembly import Assembly
from waypost.settings.book import Problem, Settings
from waypost.settings.decode import Types
from waypost.settings.reading import Reading, read_text

__all__ = ["DOUBT_SECONDS", "MAX_FILE", "MAX_FILES", "QUIET_SECONDS", "ManifestSet"]

MAX_FILE = 4 * 1024 * 1024
MAX_FILES = 20_000
MAX_FOLDERS_DEEP = 16
QUIET_SECONDS = 0.2
DOUBT_SECONDS = 2.0
SUFFIXES = (".yaml", ".yml")
FROZEN = "nothing is deleted until it can be read"

Signature = tuple[int, int, int, int, int]


class _File(msgspec.Struct):
    """What is known of one file. `reading` is the last that was taken; `seen` is what the file holds and since when."""

    reading: Reading | None = None
    text: bytes = b""
    signature: Signature | None = None
    seen: bytes | None = None
    since: float = 0.0


class ManifestSet:
    """Reads files and folders, again and again. `wake` is when to read again, on the monotonic clock, whatever happens.

    `still` False takes every file as it is: for one reading of files that nobody writes.
    """

    def __init__(self, paths: Sequence[Path], types: Types, *, still: bool = True) -> None:
        """Name the files and folders; none need be there."""
        self.paths = tuple(paths)
        self.wake: float | None = None
        self._types = types
        self._still = still
        self._files: dict[str, _File] = {}
        self._assembly = Assembly(types)
        self._problems: list[Problem] = []

    def read(self, now: float, wall: float, changed: Collection[str] = ()) -> Settings:
        """Return what the set says. `changed` are files to be read even where nothing tells that they differ."""
        self._problems = []
        self.wake = None
        found = dict.fromkeys(path for root in self.paths for path in self._under(root))
        self._files = {path: self._files.get(path) or _File() for path in found}
        readings = []
        for path, file in self._files.items():
            self._look(path, file, now, wall, again=path in changed)
            if file.reading is not None:
                readings.append(file.reading)
        still = self.wake is None  # else a file waits to be taken
        settings = self._assembly.settings(readings, self._problems, now, still=still)
        self._wake_by(self._assembly.wake)
        return settings

    def _under(self, root: Path) -> Iterator[str]:
        """Yield the files that a path of the set stands for."""
        try:
            is_folder = stat.S_ISDIR(root.stat().st_mode)
        except OSError as error:
            self._problem(str(root), f"{_told(error)}; {FROZEN}")
            return
        if not is_folder:
            yield str(root)
            return
        empty = True
        for path in self._walk(str(root), 0, set()):
            empty = False
            yield path
        if empty:
            self._problem(str(root), f"holds no *.yaml and no *.yml file; {FROZEN}")

    def _walk(self, folder: str, depth: int, above: set[tuple[int, int]]) -> Iterator[str]:
        """Yield the manifests of a folder and those below, in order; names that begin with a dot are skipped."""
        try:
            status = os.stat(folder)  # noqa: PTH116 - os.scandir's names are text, and there may be 20,000
            with os.scandir(folder) as entries:
                names = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
        except OSError as error:
            self._problem(folder, f"{_told(error)}; {FROZEN}")
            return
        identity = (status.st_dev, status.st_ino)
        if identity in above or depth > MAX_FOLDERS_DEEP:
            self._problem(folder, f"is inside itself, or more than {MAX_FOLDERS_DEEP} folders deep; {FROZEN}")
            return
        for name, is_folder in names:
            path = os.path.join(folder, name)  # noqa: PTH118 - as above
            if is_folder:
                yield from self._walk(path, depth + 1, above | {identity})
            elif name.endswith(SUFFIXES):
                yield path

    def _look(self, path: str, file: _File, now: float, wall: float, *, again: bool) -> None:
        """Take what a file says, once it is whole; keep what it said before and say why where it is not."""
        if len(self._files) > MAX_FILES and file.reading is None:
            self._problem(path, f"is not read: {MAX_FILES:,} files are the most; {FROZEN}")
            return
        try:
            status = os.stat(path)  # noqa: PTH116 - as above
            signature = _signature(status)
            if signature == file.signature and file.seen is None and not again:
                return
            text, status = _bytes(path)
        except OSError as error:
            file.signature = None
            self._problem(path, f"{_told(error)}; {FROZEN}")
            return
        file.signature = _signature(status)
        if file.reading is not None and text == file.text:
            file.seen = None
            return
        if text != file.seen:
            file.seen, file.since = text, now
        self._take(path, file, text, now, wall - status.st_mtime)

    def _take(self, path: str, file: _File, text: bytes, now: float, age: float) -> None:
        if not text.strip():
            file.signature = None
            self._problem(path, f"is empty; {FROZEN}")
            return
        doubtful = not text.endswith(b"\n") or file.text.startswith(text)
        needed = DOUBT_SECONDS if doubtful else QUIET_SECONDS
        if self._still and now - file.since < needed and not age >= needed:
            self._wake_by(file.since + needed)
            if doubtful or file.reading is None:
                why = "may be half-written" if doubtful else "is being written"
                self._problem(path, f"{why}: it is read when it has been still for {needed:g} s; {FROZEN}")
            return
        try:
            decoded = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = text.count(b"\n", 0, error.start) + 1
            self._problem(path, f"is no UTF-8 text; {FROZEN}", line)
            return
        reading = read_text(path, decoded, self._types, Path(path).absolute().parent, file.reading)
        if reading.problems and not reading.documents:
            self._problem(path, f"{reading.problems[0].message}; {FROZEN}")
            return
        file.reading, file.text, file.seen = reading, text, None

    def _problem(self, path: str, message: str, line: int = 0) -> None:
        self._problems.append(Problem(path, line, 1 if line else 0, "", "", "", message))

    def _wake_by(self, at: float | None) -> None:
        if at is not None:
            self.wake = at if self.wake is None else min(self.wake, at)


def _bytes(path: str) -> tuple[bytes, os.stat_result]:
    """Return what a regular file holds and its status, taken from the one open file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not make us wait
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("is no regular file")
        if status.st_size > MAX_FILE:
            raise OSError(f"has {status.st_size:,} bytes; {MAX_FILE:,} are the most in one file")
        text = opened.read(MAX_FILE + 1)
        return text, os.fstat(descriptor)


def _signature(status: os.stat_result) -> Signature:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _told(error: OSError) -> str:
    return {FileNotFoundError: "is not there", PermissionError: "may not be read by this user (permission denied)"}.get(
        type(error), error.strerror or str(error)
    )
