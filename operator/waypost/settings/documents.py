"""YAML text to plain values, with the place of every field: bounded, and strict where YAML is generous.

Composed by libyaml. Scalars follow YAML 1.2's core schema (`on`, `no` and `1:30` are text); a key is text as written.
Refused, with line and column: doubled keys, merge keys, tags, control characters in keys, more than MAX_DEPTH levels or
MAX_NODES values (what an alias stands for is counted as often as it stands), documents beyond MAX_DOCUMENT. Nothing
here knows of kinds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.resolver import BaseResolver

__all__ = ["MAX_DEPTH", "MAX_DOCUMENT", "MAX_NODES", "Path", "Unreadable", "compose", "locate", "split", "value"]

MAX_DOCUMENT = 1024 * 1024  # characters; Kubernetes' own limit for an object is 1.5 MB
MAX_DEPTH = 32
MAX_NODES = 200_000

Path = tuple[str | int, ...]
"""The way from a document's top to one value: keys and places in lists."""

_MARKER = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_NUMBER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]{1,3})?|[0-9]+[eE][-+]?[0-9]{1,3})")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}

_PLAIN, _QUOTED, _MAP, _SEQ = "plain", "quoted", "map", "seq"
_TAGS = {"tag:yaml.org,2002:str": _QUOTED, "tag:yaml.org,2002:map": _MAP, "tag:yaml.org,2002:seq": _SEQ, "!": _QUOTED}


class Unreadable(ValueError):
    """The text is no YAML that is read here. `line` and `column` count from 1."""

    def __init__(self, line: int, column: int, message: str) -> None:
        """Keep the place beside the message."""
        super().__init__(message)
        self.line = line
        self.column = column


class _Loader(CParser, BaseResolver):
    """Composes nodes only: constructs nothing, and stops before libyaml's recursion could exhaust the stack."""

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        BaseResolver.__init__(self)
        self.depth = 0
        self.count = 0

    def descend_resolver(self, parent: Node | None, index: object) -> None:
        self.depth += 1
        self.count += 1
        if self.depth > MAX_DEPTH or self.count > 2 * MAX_NODES:
            mark = parent.start_mark if parent is not None else None
            what = f"more than {MAX_DEPTH} levels deep" if self.depth > MAX_DEPTH else f"more than {MAX_NODES} values"
            raise Unreadable(mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, what)

    def ascend_resolver(self) -> None:
        self.depth -= 1

    def resolve(self, kind: type[Node], value: str, implicit: Any) -> str:
        if kind is ScalarNode:
            return _PLAIN if implicit[0] else _QUOTED
        return _MAP if kind is MappingNode else _SEQ


def split(text: str) -> Iterator[tuple[int, str]]:
    """Yield the documents of a text and the line (from 0) at which each begins; leave out those that hold nothing.

    A line that begins with `---` ends a document wherever it stands: YAML lets no scalar hold one.
    """
    starts = [0, *(match.start() for match in _MARKER.finditer(text) if match.start()), len(text)]
    line = 0
    for start, end in pairwise(starts):
        chunk = text[start:end]
        if not _is_empty(chunk):
            yield line, chunk
        line += chunk.count("\n")


def _is_empty(chunk: str) -> bool:
    for line in chunk.splitlines():
        bare = line.removeprefix("---").strip()
        if bare and bare != "..." and bare[0] not in "#%":
            return False
    return True


def compose(text: str) -> Node:
    """Return the nodes of one document. Raises Unreadable."""
    if len(text) > MAX_DOCUMENT:
        raise Unreadable(1, 1, f"the document has {len(text):,} characters; {MAX_DOCUMENT:,} is the most")
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = ", ".join(filter(None, (error.context, error.problem)))
        if mark is not None and any(line.lstrip(" ")[:1] == "\t" for line in text.split("\n")[mark.line :][:1]):
            message = "a tab; YAML is indented with spaces"
        raise Unreadable(mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, f"not YAML: {message}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Unreadable(line, 1, f"a character that YAML does not allow: U+{error.character:04X}") from None
    if not isinstance(node, Node):
        raise Unreadable(1, 1, "the document holds nothing")
    return node


def value(node: Node, line: int = 0) -> Any:
    """Return what the nodes stand for: dict, list, str, int, float, bool and None. Raises Unreadable.

    `line` is where the document begins in its file, from 0: a message may name a second place.
    """
    return _Builder(line).build(node, 0)


class _Builder:
    """Builds a value, counting what aliases repeat."""

    def __init__(self, line: int) -> None:
        self.left = MAX_NODES
        self.line = line

    def build(self, node: Node, depth: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise _refusal(node, f"more than {MAX_NODES:,} values, aliases counted")
        if depth > MAX_DEPTH:
            raise _refusal(node, f"more than {MAX_DEPTH} levels deep; an alias must not hold itself")
        tag = _TAGS.get(node.tag, node.tag)
        if tag == _PLAIN:
            return _plain(node.value)
        if tag == _QUOTED:
            return node.value
        if tag == _MAP and isinstance(node, MappingNode):
            return self._mapping(node, depth)
        if tag == _SEQ and isinstance(node, SequenceNode):
            return [self.build(item, depth + 1) for item in node.value]
        raise _refusal(node, f"the tag `{node.tag}` is not read here; write the value plainly")

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in node.value:
            if not isinstance(key, ScalarNode):
                raise _refusal(key, "a key must be text")
            name: str = key.value
            if name == "<<" and key.tag == _PLAIN:
                raise _refusal(key, "merge keys (`<<`) are not read here; write the fields out")
            if name in found:
                first = self.line + 1 + next(key.start_mark.line for key, _ in node.value if key.value == name)
                raise _refusal(key, f"the key `{name}` is here a second time; the first is at line {first}")
            if _CONTROL.search(name):
                raise _refusal(key, "a key must not have control characters")
            found[name] = self.build(item, depth + 1)
        return found


def _plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "-+.0123456789":
        if _NUMBER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


def _refusal(node: Node, message: str) -> Unreadable:
    return Unreadable(node.start_mark.line + 1, node.start_mark.column + 1, message)


def locate(node: Node, path: Sequence[str | int]) -> tuple[int, int]:
    """Return line and column (from 1) of a value, or of its key where it has one; of its holder where it is absent."""
    mark = node.start_mark
    for step in path:
        if isinstance(node, MappingNode) and isinstance(step, str):
            pair = next((pair for pair in node.value if pair[0].value == step), None)
            if pair is None:
                break
            mark, node = pair[0].start_mark, pair[1]
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            mark = node.start_mark
        else:
            break
    return mark.line + 1, mark.column + 1
