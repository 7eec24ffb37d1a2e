"""A real Mesos agent: libmesos' own classes, put together as the agent's `main()` does.

usage: agent.py HOME. Every flag comes from MESOS_* (MESOS_MASTER=127.0.0.1:5050, MESOS_WORK_DIR, …), its address from
LIBPROCESS_IP and LIBPROCESS_PORT.
"""

import ctypes as c
import os
import signal
import sys
from typing import Any

import libmesos  # type: ignore[import-not-found]  # beside this program
from libmesos import OPTION, SLAVE, STRING, blank, function, option, string_at

PROGRAM = "slave(1)"  # the actor's name, as a real agent has it


class Parts:
    """The objects an agent is made of; each call makes one."""

    def __init__(self, library: c.CDLL) -> None:
        """Keep the library they come from."""
        self.library = library

    def new(self, constructor: str, *arguments: object) -> Any:
        """Construct an object in place."""
        made = blank()
        libmesos.keep(arguments)
        function(self.library, constructor, 1 + len(arguments))(made, *arguments)
        return made

    def attempt(self, name: str, *arguments: object) -> int:
        """Call what returns Try<T*>: Option<T*> at 0 (state, then pointer), Option<Error> after it."""
        answer = blank(4096)
        libmesos.keep(arguments)
        types = [c.c_void_p, *(c.c_bool if isinstance(argument, bool) else c.c_void_p for argument in arguments)]
        function(self.library, name, types)(answer, *arguments)
        if c.c_int.from_buffer(answer, 0).value != libmesos.SOME:
            sys.exit(f"{name}: {text_at(answer, 24)}")
        return c.c_void_p.from_buffer(answer, 8).value or 0


def text_at(memory: Any, offset: int) -> str:
    """The std::string at an offset."""
    size = c.c_size_t.from_buffer(memory, offset + 8).value
    return c.string_at(c.c_void_p.from_buffer(memory, offset).value or 0, size).decode(errors="replace")


def virtual_base(memory: Any, slot: int) -> int:
    """The address of a virtual base, by its slot in the vtable."""
    table = c.c_void_p.from_buffer(memory, 0).value or 0
    return c.addressof(memory) + c.c_ssize_t.from_address(table - slot).value


def read_flags(parts: Parts) -> Any:
    """The agent's flags, from MESOS_*."""
    flags = parts.new(f"{SLAVE}5FlagsC1Ev")
    answer = libmesos.load_flags(parts.library, virtual_base(flags, 32), "MESOS_", b"mesos-agent")
    if c.c_int.from_buffer(answer, 0).value != libmesos.SOME:
        sys.exit(text_at(answer, 40))
    return flags


def make_agent(parts: Parts) -> Any:
    """The agent's actor, not yet running."""
    flags, none = c.addressof(read_flags(parts)), c.addressof(option(None))
    collector = parts.new(f"{SLAVE}16GarbageCollectorC1ERK{STRING}", string_at(os.environ["MESOS_WORK_DIR"]))
    fetcher = parts.new(f"{SLAVE}7FetcherC1ERKNS1_5FlagsE", flags)
    files = parts.new(f"_ZN5mesos8internal5FilesC1E{OPTION}RKS2_IPNS_10AuthorizerEE", none, none)
    updates = parts.new(f"{SLAVE}23TaskStatusUpdateManagerC1ERKNS1_5FlagsE", flags)
    secrets = parts.attempt(f"_ZN5mesos14SecretResolver6createE{OPTION}", none)
    estimator = parts.attempt(f"_ZN5mesos5slave17ResourceEstimator6createE{OPTION}", none)
    qos = parts.attempt(f"_ZN5mesos5slave13QoSController6createE{OPTION}", none)
    containerizer = parts.attempt(
        f"{SLAVE}13Containerizer6createERKNS1_5FlagsEbPNS1_7FetcherEPNS1_16GarbageCollectorEPNS_14SecretResolverE"
        "PNS1_16VolumeGidManagerEPNS0_20PendingFutureTrackerEPNS1_9CSIServerE",
        flags, False, c.addressof(fetcher), c.addressof(collector), secrets, None, None, None,
    )  # fmt: skip
    master = c.addressof(option(os.environ["MESOS_MASTER"]))
    detector = parts.attempt(
        f"_ZN5mesos6master8detector14MasterDetector6createE{OPTION}SC_RKS3_I8DurationE", master, none, none
    )
    return parts.new(
        f"{SLAVE}5SlaveC1ERK{STRING}RKNS1_5FlagsEPNS_6master8detector14MasterDetectorEPNS1_13ContainerizerEPNS0_5FilesE"
        "PNS1_16GarbageCollectorEPNS1_23TaskStatusUpdateManagerEPNS_5slave17ResourceEstimatorEPNSQ_13QoSControllerE"
        "PNS_15SecretGeneratorEPNS1_16VolumeGidManagerEPNS0_20PendingFutureTrackerEON7process5OwnedINS1_9CSIServerEEE"
        "RK6OptionINS11_7network8internal6SocketINS17_4unix7AddressEEEERKS16_IPNS_10AuthorizerEE",
        string_at(PROGRAM), flags, detector, containerizer, c.addressof(files), c.addressof(collector),
        c.addressof(updates), estimator, qos, None, None, None, c.addressof(blank(64)), none, none,
    )  # fmt: skip


def main(home: str) -> None:
    """Start the agent and stay until a signal comes."""
    library = libmesos.load(home)
    libmesos.initialize(library, PROGRAM)
    agent = make_agent(Parts(library))
    function(library, "_ZN7process5spawnEPNS_11ProcessBaseEb", 3)(blank(4096), virtual_base(agent, 24), None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    while True:
        signal.pause()


main(sys.argv[1])
