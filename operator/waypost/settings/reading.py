"""What one file says: its documents, each with what was decoded of it and what is wrong with it. Pure."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any

import msgspec

from waypost.settings.book import Problem
from waypost.settings.decode import Decoded, Types, decode
from waypost.settings.documents import Unreadable, compose, locate, split, value
from waypost.settings.explain import Fault, field

__all__ = ["MAX_DOCUMENTS", "Document", "Reading", "problem_at", "read_text"]

MAX_DOCUMENTS = 100_000


class Document(msgspec.Struct, frozen=True):
    """One document as it was read. `line` (from 0) is where it begins; the problems' lines count from there.

    An object of an API has no text; its `file` is what it is called.
    """

    file: str
    line: int
    text: str
    decoded: Decoded
    problems: tuple[Problem, ...] = ()

    @property
    def place(self) -> str:
        """Where it is, for people: the line of its first field."""
        lines = self.text.splitlines()
        first = next((at for at, line in enumerate(lines) if line.strip() and line[0] not in "#-"), 0)
        return f"{self.file}:{self.line + first + 1}"


class Reading(msgspec.Struct, frozen=True):
    """What one file says. `problems` are those of the file as a whole."""

    file: str
    documents: tuple[Document, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_text(file: str, text: str, types: Types, folder: FilePath, former: Reading | None = None) -> Reading:
    """Read a file's text; documents whose text the former reading had are not read again."""
    known = {document.text: document for document in former.documents} if former is not None else {}
    documents: list[Document] = []
    for line, chunk in split(text):
        if len(documents) == MAX_DOCUMENTS:
            problem = Problem(file, line + 1, 1, "", "", "", f"{MAX_DOCUMENTS:,} documents are the most in one file")
            return Reading(file, tuple(documents), (problem,))
        document = known.get(chunk)
        if document is None:
            document = _read_document(file, line, chunk, types, folder)
        elif document.line != line:
            document = msgspec.structs.replace(document, line=line)
        documents.append(document)
    if not documents:
        return Reading(file, (), (Problem(file, 0, 0, "", "", "", "holds no document"),))
    return Reading(file, tuple(documents))


def _read_document(file: str, line: int, text: str, types: Types, folder: FilePath) -> Document:
    try:
        node = compose(text)
        decoded = decode(value(node, line), types, folder)
    except Unreadable as error:
        problem = Problem(file, error.line, error.column, "", "", "", str(error))
        return Document(file, line, text, Decoded("", "", None), (problem,))
    problems = tuple(_problem(file, node, fault, decoded) for fault in decoded.faults)
    return Document(file, line, text, decoded, problems)


def problem_at(document: Document, fault: Fault) -> Problem:
    """Return what is wrong with a document that was read, with its line in the file; one that has no text has none."""
    if not document.text:
        of = document.decoded
        return Problem(document.file, 0, 0, of.kind, of.key, field(fault.path), fault.message)
    problem = _problem(document.file, compose(document.text), fault, document.decoded)
    return msgspec.structs.replace(problem, line=problem.line + document.line)


def _problem(file: str, node: Any, fault: Fault, decoded: Decoded) -> Problem:
    line, column = locate(node, fault.path)
    return Problem(file, line, column, decoded.kind, decoded.key, field(fault.path), fault.message)
