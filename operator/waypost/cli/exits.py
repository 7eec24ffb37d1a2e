"""What the exit status of every verb means, and the error that ends one."""

from __future__ import annotations

from waypost.adapter import AdapterError

__all__ = ["FAILED", "INTERRUPTED", "LEGEND", "OK", "SOMETHING", "USAGE", "CommandError"]

OK = 0
FAILED = 1
SOMETHING = 2
USAGE = 64
INTERRUPTED = 130

LEGEND = f"""\
exit status:
  {OK}    done; plan: nothing to do
  {FAILED}    failed, or could not find out; validate: there are problems; explain, doctor: something is not well
  {SOMETHING}    plan: there is something to do; doctor: warnings, and nothing failed
  {USAGE}   wrong usage
  {INTERRUPTED}  interrupted"""


class CommandError(AdapterError):
    """Ends a verb with one line for people, which says what to do. `status` is the exit status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        """Keep the exit status beside the message."""
        super().__init__(message)
        self.status = status
