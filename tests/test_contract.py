"""The contract with adapters changes on purpose only: with this list, docs/adapters.md and the CHANGELOG change too."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from waypost import adapter
from waypost.testing.memory import MemorySink, MemorySource, ScriptedElector

NAMES = [
    "APPLIED",
    "AdapterError",
    "AdapterType",
    "Change",
    "Changes",
    "Clock",
    "Context",
    "Credentials",
    "Declared",
    "Elector",
    "Examined",
    "Fence",
    "Fenced",
    "Finding",
    "Foreign",
    "Informed",
    "InvalidRecord",
    "Keeping",
    "Leader",
    "Limits",
    "Lost",
    "Mark",
    "Metrics",
    "NoOptions",
    "NotClaimed",
    "Observed",
    "Outcome",
    "PermanentError",
    "Place",
    "Placed",
    "Record",
    "Sink",
    "Snapshot",
    "Source",
    "Term",
    "fingerprint",
]


def test_what_an_adapter_may_import_is_this() -> None:
    assert adapter.__all__ == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(adapter, name))


def test_the_errors_are_a_tree_of_what_to_do_next() -> None:
    for error in (adapter.PermanentError, adapter.Fenced, adapter.NotClaimed):
        assert issubclass(error, adapter.AdapterError)
    assert not issubclass(adapter.InvalidRecord, adapter.AdapterError)


@pytest.mark.parametrize(
    "name",
    [
        "AdapterType",
        "Change",
        "Fence",
        "Finding",
        "Foreign",
        "Limits",
        "Observed",
        "Outcome",
        "Place",
        "Record",
        "Term",
    ],
)
def test_what_is_handed_over_cannot_be_changed_afterwards(name: str) -> None:
    struct = getattr(adapter, name)
    assert issubclass(struct, msgspec.Struct)
    assert struct.__struct_config__.frozen


def test_the_adapters_in_memory_have_the_contract_s_methods() -> None:
    assert issubclass(MemorySource, adapter.Source)
    assert issubclass(ScriptedElector, adapter.Elector)
    methods = ("render", "above", "claim", "advance", "observe", "inspect", "apply")
    for method in methods:
        ours, theirs = (inspect.signature(getattr(each, method)) for each in (MemorySink, adapter.Sink))
        assert list(ours.parameters) == list(theirs.parameters)
