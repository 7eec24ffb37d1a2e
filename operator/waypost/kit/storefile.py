"""The SQLite file of a store: its form, and what is done in it within a transaction, in the thread of kit.store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from waypost.adapter import APPLIED, AdapterError, Change, Fence, Fenced, NotClaimed, Outcome, PermanentError

__all__ = ["Row", "Unreachable", "apply", "by_key", "claim", "connect", "superseded"]

_FORM = 1  # of the file; a newer one is refused
_LOCK_SECONDS = 3.0  # to wait for another process that writes
_SCHEMA = """
CREATE TABLE IF NOT EXISTS stamp (
    owner TEXT PRIMARY KEY, environment TEXT NOT NULL, epoch INTEGER NOT NULL, generation INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS record (
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS record_name ON record (name);
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class Row(msgspec.Struct, frozen=True, gc=False):
    """A record as stored; `content` None in what `committed` is told: it is gone."""

    key: str
    owner: str
    name: str
    content: bytes | None


class Unreachable(AdapterError):
    """The file cannot be had now; nothing was written."""


def connect(path: Path) -> sqlite3.Connection:
    """Open or make the file. Raises PermanentError (not ours), Unreachable."""
    try:
        database = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -8192")
        (form,) = database.execute("PRAGMA user_version").fetchone()
        if form > _FORM:
            database.close()
            raise PermanentError(
                f"{path} was written by a newer version of Waypost (form {form}, this one knows {_FORM}): use that "
                "version, or move the file away to publish anew"
            )
        database.executescript(_SCHEMA)
        database.execute(f"PRAGMA user_version = {_FORM}")
    except sqlite3.OperationalError as error:
        raise Unreachable(f"cannot open {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise PermanentError(
            f"{path} is damaged or not ours ({error}): move it away, and all is published anew"
        ) from error
    return database


def claim(database: sqlite3.Connection, environment: str, owner: str, past: int) -> Fence:
    """See Sink.claim."""
    _refuse_others(database, environment)
    row = database.execute("SELECT epoch FROM stamp WHERE owner = ?", (owner,)).fetchone()
    fence = Fence(max(row[0] if row else 0, past) + 1)
    database.execute(
        "INSERT OR REPLACE INTO stamp (owner, environment, epoch, generation) VALUES (?, ?, ?, 0)",
        (owner, environment, fence.epoch),
    )
    return fence


def _refuse_others(database: sqlite3.Connection, environment: str) -> None:
    for other, said in database.execute("SELECT owner, environment FROM stamp ORDER BY owner"):
        if said != environment:
            raise PermanentError(
                f"this store belongs to environment `{said}` (stamp of owner `{other}`), the sink to `{environment}`: "
                "nothing is written until the manifest says the right environment or the state folder is another"
            )


def stamp(database: sqlite3.Connection, environment: str, owner: str) -> str:
    """Return, for people, what the stamps say. Raises PermanentError as `claim` does; changes nothing."""
    _refuse_others(database, environment)
    row = database.execute("SELECT epoch FROM stamp WHERE owner = ?", (owner,)).fetchone()
    return f"environment {environment}, epoch {row[0]}" if row else "none yet: the first claim sets it"


def superseded(database: sqlite3.Connection, owner: str, fence: Fence) -> bool:
    """Compare a fence with the stamp: true where its generation is past. Raises Fenced, NotClaimed."""
    row = database.execute("SELECT epoch, generation FROM stamp WHERE owner = ?", (owner,)).fetchone()
    if row is None or Fence(*row) < fence:
        raise NotClaimed(
            f"the stamp of owner `{owner}` is {'absent' if row is None else 'older than ours'}: the store was lost or "
            "restored"
        )
    stamp = Fence(*row)
    if stamp.epoch > fence.epoch:
        raise Fenced(f"epoch {stamp.epoch} rules for owner `{owner}`, ours was {fence.epoch}")
    return stamp.generation > fence.generation


def apply(
    database: sqlite3.Connection, owner: str, batch: Iterable[Change], fence: Fence, rows: list[Row]
) -> dict[str, Outcome]:
    """See Sink.apply; what was written is added to `rows`."""
    if superseded(database, owner, fence):
        late = Outcome("superseded", f"generation {fence.generation} is past")
        return {change.key: late for change in batch}
    outcomes: dict[str, Outcome] = {}
    for change in batch:
        there = database.execute("SELECT owner FROM record WHERE key = ?", (change.key,)).fetchone()
        if there is not None and there[0] != owner:
            whose = f"owner `{there[0]}`" if there[0] else "somebody who does not say so"
            outcomes[change.key] = Outcome("conflict", f"the record there belongs to {whose}")
            continue
        outcomes[change.key] = APPLIED
        if change.record is None:
            if there is not None:
                database.execute("DELETE FROM record WHERE key = ?", (change.key,))
                rows.append(Row(change.key, owner, "", None))
            continue
        database.execute(
            "INSERT OR REPLACE INTO record (key, owner, name, content) VALUES (?, ?, ?, ?)",
            (change.key, owner, change.record.name, change.record.content),
        )
        rows.append(Row(change.key, owner, change.record.name, change.record.content))
    if outcomes:
        database.execute("INSERT OR IGNORE INTO fact (name) VALUES ('published')")
    return outcomes


def by_key(database: sqlite3.Connection, owner: str, keys: Sequence[str]) -> list[Row]:
    """Return the owner's records of these keys."""
    marks = ",".join("?" * len(keys))
    found = database.execute(
        f"SELECT key, owner, name, content FROM record WHERE owner = ? AND key IN ({marks}) ORDER BY key",  # noqa: S608 - only `?`
        (owner, *keys),
    )
    return [Row(*row) for row in found]
