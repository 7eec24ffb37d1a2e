"""The contract between Waypost and its adapters: all that a plugin's author must read.

An entry point in the group `waypost.sources`, `waypost.sinks` or `waypost.electors` names an `AdapterType`. Its `open`
gives an object with the methods of `Source`, `Sink` or `Elector`. Each part has a module, to be read in this order:
`type`, `context`, `source`, `sink`, `elector`, and `examine` for what `waypost doctor` asks. All of it is imported from
here.

Errors (an adapter raises these; whatever else it raises is treated as an `AdapterError` and is a bug worth a report):

    AdapterError          cannot do it now: the caller tries again, with backoff
    ├── PermanentError    cannot do it until a person changes something; the message says what
    ├── Fenced            a newer epoch rules: the caller writes nothing more in this term
    └── NotClaimed        the stamp is absent or older than ours (a lost or restored target)
    InvalidRecord         this one record cannot be: the message says why; all others go on (yielded or raised)
"""

from waypost.adapter.context import Clock, Context, Credentials, Declared, Metrics
from waypost.adapter.elector import Elector, Informed, Keeping, Leader, Lost, Term
from waypost.adapter.errors import AdapterError, Fenced, InvalidRecord, NotClaimed, PermanentError
from waypost.adapter.examine import Examined, Finding, Place, Placed
from waypost.adapter.sink import (
    APPLIED,
    Change,
    Fence,
    Foreign,
    Limits,
    Mark,
    Observed,
    Outcome,
    Record,
    Sink,
    fingerprint,
)
from waypost.adapter.source import Changes, Snapshot, Source
from waypost.adapter.type import AdapterType, NoOptions

__all__ = [
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
