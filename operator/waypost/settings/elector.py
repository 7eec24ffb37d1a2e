"""The file that configures an elector (`run --elector TYPE --elector-config FILE`): `config` and `credentials`.

Read once, at the start: who is in an election is not changed while it goes on. Credentials are followed as they rotate.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from waypost.adapter import AdapterType, PermanentError
from waypost.settings.book import Problem
from waypost.settings.bounds import Credential, Part
from waypost.settings.decode import at, credential_faults
from waypost.settings.documents import Unreadable, compose, locate, split, value
from waypost.settings.explain import convert, field

__all__ = ["ElectorSettings", "read_elector"]

MOST_BYTES = 1 << 20


class _File(Part, frozen=True):
    """What the file may say."""

    config: Mapping[str, Any] = {}
    credentials: Annotated[tuple[Credential, ...], Meta(max_length=16)] = ()

    def __repr__(self) -> str:
        """Leave `config` out: a person may have put a secret there."""
        return "_File(…)"


class ElectorSettings(msgspec.Struct, frozen=True):
    """The decoded config, and the credentials with full paths."""

    config: Any
    credentials: tuple[Credential, ...] = ()


def read_elector(path: Path, kind: AdapterType[Any]) -> ElectorSettings:
    """Read the file of an elector of that type. Raises PermanentError with all that is wrong with it, line by line."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(text) > MOST_BYTES:
        raise PermanentError(f"{path} is larger than {MOST_BYTES:,} bytes")
    try:
        documents = list(split(text))
        if len(documents) != 1:
            raise PermanentError(f"{path} holds {len(documents)} documents; expected one, with `config`")
        line, chunk = documents[0]
        node = compose(chunk)
        plain = value(node, line)
    except Unreadable as error:
        raise PermanentError(str(Problem(str(path), error.line, error.column, "", "", "", str(error)))) from None
    given, faults = convert(plain, _File, ())
    config = None
    if given is not None:
        config, faults = convert(given.config, kind.config, ("config",))
        faults += tuple(credential_faults(given.credentials, kind, (), in_file=True))
    if faults or given is None:
        problems = []
        for fault in faults:
            row, column = locate(node, fault.path)
            problems.append(Problem(str(path), row + line, column, "", "", field(fault.path), fault.message))
        raise PermanentError("; ".join(map(str, sorted(problems))))
    folder = path.absolute().parent
    return ElectorSettings(config, tuple(at(each, folder) for each in given.credentials))
