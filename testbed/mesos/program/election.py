"""Makes libmesos' own ZooKeeper contender and detector decide which master leads.

`local::launch()` knows masters that stand alone only: it makes a StandaloneMasterContender and a
StandaloneMasterDetector. The methods in those classes' virtual tables are replaced here by ones that hand each call on
to the ZooKeeper classes, which a production master has in their place.
"""

import ctypes as c

import libmesos  # type: ignore[import-not-found]  # beside this program

MASTER = "_ZN5mesos6master"
TABLE = "_ZTVN5mesos6master"
PAGE = 4096
FIRST = 16  # a table begins with two words of its own; then two destructors
INITIALIZE, CONTEND, DETECT = 2, 3, 2


def elect(library: c.CDLL, url: str, session_seconds: float) -> None:
    """Let masters contend at `url` (zk://host:port/path) from now on; call it before `launch()`."""
    duration = libmesos.blank(16)  # an Option<Duration>: its state (0: some), then nanoseconds
    c.c_int64.from_buffer(duration, 8).value = int(session_seconds * 1e9)
    contender = _create(library, f"{MASTER}9contender15MasterContender6createE", url, duration)
    detector = _create(library, f"{MASTER}8detector14MasterDetector6createE", url, duration)
    contending = f"{TABLE}9contender25StandaloneMasterContenderE"
    _hand_on(library, contending, INITIALIZE, contender, returns_object=False)
    _hand_on(library, contending, CONTEND, contender, returns_object=True)
    _hand_on(library, f"{TABLE}8detector24StandaloneMasterDetectorE", DETECT, detector, returns_object=True)


def _create(library: c.CDLL, name: str, url: str, duration: object) -> int:
    answer = libmesos.blank(4096)
    arguments = (libmesos.option(url), libmesos.option(None), duration)
    libmesos.keep(arguments)
    libmesos.function(library, f"{name}{libmesos.OPTION}SC_RKS3_I8DurationE", 4)(answer, *arguments)
    made = c.c_void_p.from_buffer(answer, 8).value
    if c.c_int.from_buffer(answer, 0).value != libmesos.SOME or not made:
        raise SystemExit(f"{url}: libmesos cannot make an elector of it")
    return made


def _hand_on(library: c.CDLL, table: str, slot: int, target: int, *, returns_object: bool) -> None:
    """Replace a virtual method by one that calls the same slot of `target`."""
    methods = c.c_void_p.from_address(target).value or 0
    method = c.c_void_p.from_address(methods + slot * 8).value or 0
    kind = c.CFUNCTYPE(c.c_void_p, c.c_void_p, c.c_void_p, c.c_void_p)
    call = kind(method)

    def handed(first: int, second: int, third: int) -> int:
        # An object is returned where the first argument points to; `this` is the second then.
        return int((call(first, target, third) if returns_object else call(target, second, third)) or 0)

    replacement = kind(handed)
    libmesos.keep(replacement)
    address = c.addressof(c.c_char.in_dll(library, table)) + FIRST + slot * 8
    libc = c.CDLL(None, use_errno=True)
    if libc.mprotect(c.c_void_p(address & -PAGE), c.c_size_t(PAGE), 3):
        raise SystemExit("the table of methods cannot be written")
    c.c_void_p.from_address(address).value = c.cast(replacement, c.c_void_p).value
