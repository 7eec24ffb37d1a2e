"""A suite that passes everything proves nothing: each broken adapter fails exactly the tests about its fault."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

MEMORY = Path(__file__).with_name("test_memory_conforms.py")

HEAD = """
import asyncio, datetime, importlib.util, sys, time
from contextlib import asynccontextmanager
import msgspec
from waypost.adapter import *
from waypost.adapter import APPLIED
from waypost.model import *
from waypost.testing import layout
from waypost.testing.memory import *
from waypost.testing.target import owner_of

spec = importlib.util.spec_from_file_location("memory_conforms", {path!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
Memory{kind} = module.Memory{kind}
Good = module.TestMemory{kind}
"""

SINK = """
class TestBroken(Good):
    __test__ = True
    bound = timeout = 0.3
    adapter = "broken_sink:SINK"

    @asynccontextmanager
    async def open(self, context):
        sink = Broken(self.target, context)
        sink.down = AdapterError("connection refused") if self.away else None
        self.sinks.append(sink)
        yield sink

@asynccontextmanager
async def _open(config, context):
    yield Broken(SharedTarget(), context)

SINK = AdapterType("broken", MemoryConfig, _open)
"""

SOURCE = """
class TestBroken(Good):
    __test__ = True
    bound = notice = 0.3

    @asynccontextmanager
    async def open(self, context):
        yield Broken(self.source)
"""

SINKS = {
    "overwrites a foreign record": (
        """
class Broken(MemorySink):
    def _write(self, batch, fence):
        outcomes = super()._write(batch, fence)
        for change in batch:
            if outcomes[change.key].status == "conflict" and change.record is not None:
                self.target.set(change.key, change.record.content)
                outcomes[change.key] = APPLIED
        return outcomes
""",
        {
            "test_what_belongs_to_nobody_is_not_overwritten",
            "test_what_belongs_to_another_owner_is_not_touched",
            "test_one_conflict_in_a_batch_fails_alone",
        },
    ),
    "deletes a foreign record": (
        """
class Broken(MemorySink):
    def _write(self, batch, fence):
        outcomes = super()._write(batch, fence)
        for change in batch:
            if outcomes[change.key].status == "conflict" and change.record is None:
                self.target.set(change.key, None)
        return outcomes
""",
        {"test_what_belongs_to_nobody_is_not_deleted", "test_what_belongs_to_another_owner_is_not_touched"},
    ),
    "has a canonical form of a name that has another one": (
        """
class Broken(MemorySink):
    def canonical(self, name):
        return name.lower() + "."
""",
        {"test_names_are_one_where_the_sink_says_so_and_nowhere_else"},
    ),
    "observes what another owner has": (
        """
class Broken(MemorySink):
    async def observe(self, keys=None):
        await self._called("observe")
        for key, content in self.target.records.items():
            whose = owner_of(content)
            if whose is not None and (keys is None or key in keys):
                shown = msgspec.json.decode(content)
                seen = fingerprint(layout.normalised(content))
                yield Observed(key, seen, whose.registration, whose.entry, whose.service, whose.instance,
                               shown["name"], shown["ready"])
""",
        {"test_observe_gives_ours_only"},
    ),
    "renders with a clock": (
        """
class Broken(MemorySink):
    def render(self, publication, instances):
        now = int(time.time()) // 1_000_000  # the same for days
        for item in super().render(publication, instances):
            yield item
""",
        {"test_render_uses_no_clock_and_no_randomness"},
    ),
    "renders in the order of a set": (
        """
class Broken(MemorySink):
    def render(self, publication, instances):
        for item in super().render(publication, instances):
            if isinstance(item, Record):
                order = ",".join(set("abcdefgh")).encode()
                item = msgspec.structs.replace(item, content=item.content.replace(b'"node":"', b'"node":"' + order))
            yield item
""",
        {"test_render_gives_the_same_in_another_process"},
    ),
    "deletes by prefix": (
        """
class Broken(MemorySink):
    def _write(self, batch, fence):
        outcomes = super()._write(batch, fence)
        for change in batch:
            if change.record is None and outcomes[change.key] == APPLIED:
                for key in [key for key in self.target.owned(self.context.owner) if key.startswith(change.key)]:
                    self.target.set(key, None)
        return outcomes
""",
        {"test_only_the_exact_key_is_deleted"},
    ),
    "says applied when nothing was acknowledged": (
        """
class Broken(MemorySink):
    async def apply(self, batch, fence):
        try:
            outcomes = await super().apply(batch, fence)
        except AdapterError as error:
            if type(error) is not AdapterError:
                raise
            outcomes = {}
        return {change.key: APPLIED if (was := outcomes.get(change.key)) is None or was.status == "unknown" else was
                for change in batch}
""",
        {
            "test_what_was_not_acknowledged_is_not_called_applied",
            "test_what_a_stalled_target_does_not_answer_is_unknown",
        },
    ),
    "gives a part when the target breaks off": (
        """
class Broken(MemorySink):
    async def observe(self, keys=None):
        try:
            async for each in super().observe(keys):
                yield each
        except AdapterError:
            return
""",
        {"test_observe_raises_rather_than_give_a_part", "test_after_an_outage_it_goes_on"},
    ),
    "compares no fence": (
        """
class Broken(MemorySink):
    def _write(self, batch, fence):
        return super()._write(batch, None)
""",
        {
            "test_a_past_epoch_writes_nothing",
            "test_without_its_stamp_nothing_is_written",
            "test_a_stamp_older_than_ours_is_not_written_under",
            "test_a_past_generation_is_superseded",
        },
    ),
    "forgets the outcome of a deletion of nothing": (
        """
class Broken(MemorySink):
    def _write(self, batch, fence):
        gone = {change.key for change in batch if change.record is None and change.key not in self.target.records}
        outcomes = super()._write(batch, fence)
        return {key: outcome for key, outcome in outcomes.items() if key not in gone}
""",
        {
            "test_deleting_what_is_absent_is_applied",
            "test_there_is_one_outcome_for_each_change",
        },
    ),
    "lets one conflict fail the batch": (
        """
class Broken(MemorySink):
    def _write(self, batch, fence):
        trial = {change.key: owner_of(self.target.records.get(change.key, b"")) for change in batch}
        foreign = [key for key, whose in trial.items()
                   if key in self.target.records and (whose is None or whose.owner != self.context.owner)]
        if foreign and not self.target.superseded(self.context.owner, fence):
            return {change.key: Outcome("conflict", "one of them") for change in batch}
        return super()._write(batch, fence)
""",
        {"test_one_conflict_in_a_batch_fails_alone"},
    ),
    "leaves a task behind": (
        """
class Broken(MemorySink):
    async def apply(self, batch, fence):
        self.left = asyncio.create_task(asyncio.sleep(2), name="left")
        return await super().apply(batch, fence)
""",
        {"test_cancelled_it_ends_soon_and_leaves_no_tasks"},
    ),
    "claims whatever the environment": (
        """
class Broken(MemorySink):
    async def claim(self, environment, owner, past=0):
        return self.target.claim("test", owner, past)
""",
        {"test_another_environment_is_refused", "test_it_opens_while_the_target_is_away"},
    ),
    "makes one key of an id and of another": (
        """
class Broken(MemorySink):
    def render(self, publication, instances):
        for item in super().render(publication, instances):
            yield msgspec.structs.replace(item, key=item.key.lower()) if isinstance(item, Record) else item
""",
        {"test_each_instance_name_and_port_has_a_key_of_its_own", "test_observe_gives_what_was_written"},
    ),
}

SOURCES = {
    "deletes before the snapshot": (
        """
class Broken:
    def __init__(self, source):
        self.source = source
    async def watch(self, out):
        for key in list(out.view):
            out.remove(key)
        out.remove(ServiceKey("conformance", "", "gone"))
        await self.source.watch(out)
""",
        {
            "test_the_first_thing_said_is_a_snapshot",
            "test_after_a_cut_comes_a_snapshot_again",
        },
    ),
    "forgets everything when it is cut": (
        """
class Broken:
    def __init__(self, source):
        self.source = source
    async def watch(self, out):
        try:
            await self.source.watch(out)
        except AdapterError:
            async with out.snapshot():
                pass
            raise
""",
        {"test_a_cut_connection_raises_and_removes_nothing", "test_it_opens_while_the_system_is_down"},
    ),
    "swallows an error": (
        """
class Broken:
    def __init__(self, source):
        self.source = source
    async def watch(self, out):
        while True:
            try:
                await self.source.watch(out)
            except AdapterError:
                await asyncio.sleep(0.05)
""",
        {
            "test_a_cut_connection_raises_and_removes_nothing",
            "test_after_a_cut_comes_a_snapshot_again",
            "test_it_opens_while_the_system_is_down",
        },
    ),
    "raises what is no AdapterError": (
        """
class Broken:
    def __init__(self, source):
        self.source = source
    async def watch(self, out):
        try:
            await self.source.watch(out)
        except AdapterError as error:
            raise OSError("refused") from error
""",
        {"test_a_cut_connection_raises_and_removes_nothing", "test_it_opens_while_the_system_is_down"},
    ),
    "loses a removal": (
        """
class Deaf:
    def __init__(self, out):
        self.out = out
    def __getattr__(self, name):
        return getattr(self.out, name)
    def remove(self, key):
        pass
class Broken:
    def __init__(self, source):
        self.source = source
    async def watch(self, out):
        await self.source.watch(Deaf(out))
""",
        {"test_a_removed_service_is_seen"},
    ),
    "returns": (
        """
class Broken:
    def __init__(self, source):
        self.source = source
    async def watch(self, out):
        if self.source._down is not None:
            raise self.source._down
        async with out.snapshot() as snapshot:
            for service in self.source.services.values():
                snapshot.put(service)
""",
        {"test_watch_does_not_return", "test_cancelled_it_ends_soon_and_leaves_no_tasks"},
    ),
    "gives new ids each time": (
        """
class Renaming:
    def __init__(self, out, number):
        self.out, self.number = out, number
    def __getattr__(self, name):
        return getattr(self.out, name)
    def renamed(self, service):
        instances = tuple(msgspec.structs.replace(each, id=f"{each.id}-{self.number}") for each in service.instances)
        return msgspec.structs.replace(service, instances=instances)
    def put(self, service):
        self.out.put(self.renamed(service))
    @asynccontextmanager
    async def snapshot(self):
        async with self.out.snapshot() as snapshot:
            yield Renaming(snapshot, self.number)
class Broken:
    number = 0
    def __init__(self, source):
        self.source = source
    async def watch(self, out):
        Broken.number += 1
        await self.source.watch(Renaming(out, Broken.number))
""",
        {"test_a_second_watch_says_the_same"},
    ),
    "shows an address that is not canonical": (
        """
class Odd:
    def __init__(self, out):
        self.out = out
    def __getattr__(self, name):
        return getattr(self.out, name)
    def put(self, service):
        odd = (Address("2001:DB8:0::7"),)
        instances = tuple(msgspec.structs.replace(each, addresses=odd) for each in service.instances)
        self.out.put(msgspec.structs.replace(service, instances=instances))
    @asynccontextmanager
    async def snapshot(self):
        async with self.out.snapshot() as snapshot:
            yield Odd(snapshot)
class Broken:
    def __init__(self, source):
        self.source = source
    async def watch(self, out):
        await self.source.watch(Odd(out))
""",
        {"test_instances_are_as_the_model_says"},
    ),
    "swallows its cancellation": (
        """
class Broken:
    def __init__(self, source):
        self.source = source
    async def watch(self, out):
        try:
            await self.source.watch(out)
        except asyncio.CancelledError:
            return
""",
        {"test_cancelled_it_ends_soon_and_leaves_no_tasks"},
    ),
}

CASES = [("Sink", what, *case) for what, case in SINKS.items()] + [
    ("Source", what, *case) for what, case in SOURCES.items()
]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Run all of them in one pytest of their own; return the names of the tests that failed, by file."""
    folder = tmp_path_factory.mktemp("broken")
    for number, (kind, _, broken, _) in enumerate(CASES):
        tests = (SINK if kind == "Sink" else SOURCE).replace("broken_sink", f"broken_{number}")
        (folder / f"broken_{number}.py").write_text(
            HEAD.format(kind=kind, path=str(MEMORY)) + broken + tests + "\ndel Good\n"
        )
        (folder / f"test_{number}.py").write_text(f"from broken_{number} import TestBroken\n")
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", "-rfE", "--no-header", str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert " passed" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]
    result: dict[str, set[str]] = {}
    for line in re.findall(r"^(?:FAILED|ERROR) (.*)", done.stdout, re.MULTILINE):
        file, _, test = line.partition(" - ")[0].partition("::")
        result.setdefault(file, set()).add(test.rpartition("::")[2].partition("[")[0])
    return result


@pytest.mark.parametrize(
    ("number", "expected"),
    [pytest.param(number, case[3], id=f"{case[0]} {case[1]}") for number, case in enumerate(CASES)],
)
def test_a_broken_adapter_fails_exactly_the_tests_about_its_fault(
    number: int, expected: set[str], failed: dict[str, set[str]]
) -> None:
    assert failed.get(f"test_{number}.py", set()) == expected
