"""A real Mesos master: `mesos::internal::local::launch()` of libmesos, with no agents of its own.

usage: master.py HOME. Every flag comes from MESOS_*, its address from LIBPROCESS_IP and LIBPROCESS_PORT; its work
directory is $TMPDIR/mesos/work. With MESOS_ZK it contends for the leadership there.
"""

import ctypes as c
import os
import signal
import sys

import election  # type: ignore[import-not-found]  # beside this program
import libmesos  # type: ignore[import-not-found]  # beside this program

AGENTS_AT = 40  # local::Flags: vtable pointer (8), std::string work_dir (32), int num_slaves


def main(home: str) -> None:
    """Start the master and stay until a signal comes."""
    library = libmesos.load(home)
    libmesos.initialize(library, "master")  # so that /api/v1 is /master/api/v1
    flags = libmesos.blank()
    libmesos.function(library, "_ZN5mesos8internal5local5FlagsC1Ev")(flags)
    agents = c.c_int.from_buffer(flags, AGENTS_AT)
    if agents.value != 1:
        sys.exit(f"num_slaves is {agents.value} where its default, 1, was expected: another libmesos?")
    agents.value = 0
    if url := os.environ.get("MESOS_ZK"):
        election.elect(library, url, float(os.environ.get("TESTBED_SESSION_SECONDS", "2")))
    launch = "_ZN5mesos8internal5local6launchERKNS1_5FlagsEPNS_9allocator9AllocatorE"
    libmesos.function(library, launch, 3)(libmesos.blank(4096), flags, None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    while True:
        signal.pause()


main(sys.argv[1])
