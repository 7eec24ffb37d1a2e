"""Loads libmesos into a Python process and calls its C++ by symbol name.

libmesos is the `_scheduler.so` of the `mesos.scheduler` 1.11.0 egg. Every program here is told the folder that holds
`egg/` and `shims/` as its first argument. Object sizes and offsets hold for that one file (its hash is pinned where it
is fetched). Nothing goes through LD_LIBRARY_PATH, so the processes of tasks are not touched.
"""

import ctypes as c
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STRING = "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"  # std::string, mangled
OPTION = f"RK6OptionI{STRING}E"  # const Option<std::string>&
SLAVE = "_ZN5mesos8internal5slave"

NONE, SOME = 1, 0
_kept: list[object] = []  # C++ keeps pointers to these


def load(home: str) -> c.CDLL:
    """The library, after the stand-ins for those it was linked with (found again by their sonames)."""
    for shim in sorted(Path(home, "shims").iterdir()):
        c.CDLL(str(shim), mode=c.RTLD_GLOBAL)
    return c.CDLL(f"{home}/egg/mesos/scheduler/_scheduler.so", mode=os.RTLD_LAZY | c.RTLD_GLOBAL)


def keep(*things: object) -> None:
    """Keep these alive as long as the process."""
    _kept.extend(things)


def blank(size: int = 1 << 18) -> Any:
    """Zeroed memory for an object of at most `size` bytes."""
    made = c.create_string_buffer(size)
    keep(made)
    return made


def option(value: str | None) -> Any:
    """An Option<std::string> of the gcc >= 5 ABI: its state (0 some, 1 none) at 0, the string at 8."""
    made = blank(40)
    if value is None:
        c.c_int.from_buffer(made, 0).value = NONE
        return made
    text = c.create_string_buffer(value.encode())
    keep(text)
    c.c_void_p.from_buffer(made, 8).value = c.addressof(text)
    c.c_size_t.from_buffer(made, 16).value = len(value.encode())
    c.c_size_t.from_buffer(made, 24).value = len(value.encode())
    return made


def string_at(value: str) -> int:
    """The address of a std::string."""
    return c.addressof(option(value)) + 8


def function(library: c.CDLL, name: str, arguments: int | Sequence[Any] = 1, result: Any = None) -> Any:
    """A function by its mangled name; `arguments`: their types, or how many pointers."""
    found = getattr(library, name)
    found.restype = result
    found.argtypes = [c.c_void_p] * arguments if isinstance(arguments, int) else arguments
    return found


def initialize(library: c.CDLL, delegate: str) -> None:
    """Start libprocess; `delegate` is the actor that answers paths without an actor's name."""
    start = function(library, f"_ZN7process10initializeE{OPTION}S9_S9_", 3, c.c_bool)
    start(option(delegate), option(None), option(None))


def load_flags(library: c.CDLL, flags: int, prefix: str, program: bytes) -> Any:
    """Read a FlagsBase from the environment variables with this prefix; the Try<Warnings> it answered."""
    answer = blank(4096)
    pointers = [c.c_void_p, c.c_void_p, c.c_void_p, c.c_int, c.c_void_p, c.c_bool, c.c_bool]
    argv = (c.c_char_p * 2)(program, None)
    keep(argv)
    function(library, f"_ZN5flags9FlagsBase4loadE{OPTION}iPKPKcbb", pointers)(
        answer, flags, option(prefix), 1, argv, False, False
    )
    return answer
