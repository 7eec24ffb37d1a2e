"""How a program ends: what a verb raised becomes one line for people and an exit status."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from waypost.adapter import AdapterError
from waypost.cli.exits import FAILED, INTERRUPTED, CommandError
from waypost.cli.output import complain

__all__ = ["ended"]


def ended(verb: Callable[[], int]) -> int:
    """Run a verb; return the exit status."""
    try:
        status = verb()
        sys.stdout.flush()
    except CommandError as error:
        complain(error)
        return error.status
    except AdapterError as error:
        complain(error)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # who read us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return status
