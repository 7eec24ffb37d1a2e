"""Of several failures at once, the one that a person should see."""

from __future__ import annotations

from waypost.adapter import AdapterError, PermanentError

__all__ = ["first_of"]


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return one error of a group, however deep: bugs first, and what needs a person before what is tried again."""
    found: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending += error.exceptions
        else:
            found.append(error)
    return min(found, key=lambda error: (isinstance(error, AdapterError), not isinstance(error, PermanentError)))
