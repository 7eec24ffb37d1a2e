"""The real `mesos-containerizer launch`: MesosContainerizerLaunch::execute() of libmesos.

usage: containerizer.py HOME launch. Its flags come from MESOS_CONTAINERIZER_*.
"""

import ctypes as c
import signal
import sys

import libmesos  # type: ignore[import-not-found]  # beside this program

FLAGS_AT = 0xE0  # MesosContainerizerLaunch::flags
LAUNCH = f"{libmesos.SLAVE}24MesosContainerizerLaunch"


def main(home: str, verb: str) -> int:
    """Turn into the executor."""
    if verb != "launch":
        sys.exit(f"only `launch` is there, not {verb!r}")
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and tasks would inherit that
    library = libmesos.load(home)
    launch = c.addressof(libmesos.blank(65536))
    libmesos.function(library, f"{LAUNCH}5FlagsC1Ev")(launch + FLAGS_AT)
    flags = libmesos.function(library, f"{LAUNCH}8getFlagsEv", 1, c.c_void_p)(launch)
    libmesos.load_flags(library, flags, "MESOS_CONTAINERIZER_", b"launch")
    return int(libmesos.function(library, f"{LAUNCH}7executeEv", 1, c.c_int)(launch))


sys.exit(main(*sys.argv[1:]))
