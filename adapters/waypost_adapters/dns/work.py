"""The writing of entries into a zone: as many to a message as it holds, and what each answer means for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dns.rcode

from waypost.adapter import APPLIED, AdapterError, Fence, Outcome
from waypost_adapters.dns import wire
from waypost_adapters.dns.client import Uncertain
from waypost_adapters.dns.draft import Draft, Step, TooMuch
from waypost_adapters.dns.mirror import Mirror
from waypost_adapters.dns.stamp import Stamp
from waypost_adapters.dns.zone import CHANGED, MOST_TRIES, Zone

__all__ = ["write"]

CROWDED = "BIND has at most 100 records in a set unless `max-records-per-type` of the zone or view is raised"


async def write(zone: Zone, steps: Sequence[Step], fence: Fence) -> dict[str, Outcome]:
    """Write steps; one outcome a key. Raises Fenced, NotClaimed and AdapterError only where nothing was written."""
    async with zone.conversation:
        work = _Work(zone, steps, fence)
        try:
            await work.run()
        except AdapterError as error:
            if not work.wrote:
                raise
            work.settle_rest(Outcome("superseded", f"not written: {error}"))
        return work.outcomes


class _Work:
    """One call of `write`: what it has learned so far. It holds the zone's conversation."""

    def __init__(self, zone: Zone, steps: Sequence[Step], fence: Fence) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.wrote = False  # or may have
        self._zone = zone
        self._pending = list(steps)
        self._fence = fence
        self._tries = 0
        self._most = len(self._pending)
        self._fresh = False  # the mirror was read within this call

    def settle_rest(self, outcome: Outcome) -> None:
        """Give all that is pending this outcome."""
        for step in self._pending:
            self.outcomes[step.key] = outcome
        self._pending = []

    async def run(self) -> None:
        """Write until nothing is pending."""
        zone = self._zone
        mirror = await zone.known()
        while self._pending:
            draft, refused = self._draft(mirror)
            if (refused or draft.large) and not self._fresh:
                mirror = await self._look()
                continue
            self.outcomes |= refused
            self._pending = [step for step in self._pending if step.key not in refused]
            if draft.steps:
                mirror = await self._send(draft, mirror)
            elif self._pending:
                continue
            elif not self.wrote and refused:
                self._judged(mirror)

    def _draft(self, mirror: Mirror) -> tuple[Draft, dict[str, Outcome]]:
        """Take as many steps as a message holds; those that cannot be, with their outcomes."""
        draft = Draft(mirror)
        refused: dict[str, Outcome] = {}
        for step in self._pending:
            try:
                outcome = draft.take(step)
            except TooMuch:
                break
            if outcome is not None:
                refused[step.key] = outcome
            elif len(draft.steps) >= self._most:
                break
        return draft, refused

    async def _look(self) -> Mirror:
        """Read again; raise what the stamp says."""
        mirror = await self._zone.sync()
        self._fresh = True
        self._judged(mirror)
        return mirror

    def _judged(self, mirror: Mirror) -> None:
        verdict = self._zone.judge(mirror, self._fence)
        if isinstance(verdict, AdapterError):
            raise verdict
        if verdict is not None:
            self.settle_rest(Outcome("superseded", f"generation {self._fence.generation} is past"))

    async def _send(self, draft: Draft, mirror: Mirror) -> Mirror:
        zone = self._zone
        writer = self._message(draft)
        keys = {step.key for step in draft.steps}
        if len(writer.body) > 65_000:
            return self._smaller(draft, mirror, "more stands under its name than one DNS message holds")
        try:
            answer = await zone.client.ask(writer)
        except Uncertain as error:
            zone.doubted = self.wrote = True
            self.outcomes |= dict.fromkeys(keys, Outcome("unknown", str(error)))
            self._pending = [step for step in self._pending if step.key not in keys]
            self.settle_rest(Outcome("superseded", "not sent, as the one before it had no answer"))
            return mirror
        if answer.rcode == 0:
            draft.commit()
            self.wrote = True
            self._tries = 0
            self.outcomes |= dict.fromkeys(keys, APPLIED)
            self._pending = [step for step in self._pending if step.key not in keys]
            if draft.later:
                await self._send_aliases(draft.later, mirror)
            return mirror
        if answer.rcode in CHANGED:
            self._tries += 1
            if self._tries >= MOST_TRIES:
                self.settle_rest(Outcome("superseded", "others change the same records all the time"))
                return mirror
            return await self._look()
        if answer.rcode in {dns.rcode.SERVFAIL, dns.rcode.FORMERR}:
            code = dns.rcode.to_text(dns.rcode.Rcode(answer.rcode))
            if draft.crowded:
                code += f"; {CROWDED}"
            elif len(draft.steps) == len(self._pending) == 1 and not self.wrote:
                raise zone.client.refusal(
                    answer.rcode, f"an update of `{zone.name}`"
                )  # nothing says that it is the record
            return self._smaller(draft, mirror, f"the server refuses it with {code}")
        raise zone.client.refusal(answer.rcode, f"an update of `{zone.name}`")

    def _message(self, draft: Draft) -> wire.Writer:
        zone = self._zone
        writer = zone.update()
        made = Stamp(zone.environment, zone.owner, self._fence)
        writer.row(1, zone.stamp_name, wire.TXT, wire.IN, 0, wire.text(made.encode()))
        draft.write(writer)
        return writer

    async def _send_aliases(self, names: Iterable[bytes], mirror: Mirror) -> None:
        """Write aliases where addresses were until now; one that fails is missing when the zone is looked at again."""
        draft = Draft(mirror)
        for name in names:
            draft.alias(name)
        try:
            answer = await self._zone.client.ask(self._message(draft))
        except AdapterError:
            self._zone.doubted = True
            return
        if answer.rcode == 0:
            draft.commit()

    def _smaller(self, draft: Draft, mirror: Mirror, why: str) -> Mirror:
        """Nothing was written: the same in halves, down to the culprit."""
        if len(draft.steps) > 1:
            self._most = len(draft.steps) // 2
            return mirror
        (step,) = draft.steps
        self.outcomes[step.key] = Outcome("invalid", why)
        self._pending.remove(step)
        return mirror
