"""Decisions of the engine, each with the wrong turn it could take.

A decision is named by its module and by the text that takes it, which stands there exactly once. Whoever changes such a
text changes its row as well: `test_decisions.py` says which.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DECISIONS", "Decision"]


class Decision(NamedTuple):
    """One decision: where it is, how it reads, how it is flipped, and what that breaks."""

    module: str
    text: str
    flipped: str
    breaks: str


DECISIONS = (
    # --- plan: what should change
    Decision("plan", "if showing.refused:", "if not showing.refused:", "what is refused is written"),
    Decision("plan", "if kept and not found.keeps:", "if kept:", "narrowed allowedCIDRs delete what is there"),
    Decision("plan", "if kept and not found.keeps:", "if not kept and not found.keeps:", "withdrawals do not happen"),
    Decision(
        "plan",
        "if cause is None and hold is None:",
        "if cause is None:",
        "what needs a hold stays without one",
    ),
    Decision(
        "plan",
        "if kept and world.instance(key, name) is None and (step := _leftover(world, target, key, name, kept)):",
        "if kept and (step := _leftover(world, target, key, name, kept)):",
        "a publication that is refused loses instances that live",
    ),
    Decision(
        "plan",
        "may_remove=may_remove and showing.compiled.deletes",
        "may_remove=may_remove",
        "UpsertOnly deletes what a new name replaces",
    ),
    Decision(
        "plan",
        "may_remove = not conflicts and name not in invalid",
        "may_remove = not conflicts",
        "an instance that cannot be rendered loses the record it has",
    ),
    Decision(
        "plan",
        "may_remove = not conflicts and name not in invalid",
        "may_remove = name not in invalid",
        "a conflict under one name deletes what stands under another",
    ),
    Decision("plan", "if showing.compiled.deletes:", "if True:", "UpsertOnly deletes what is not ready"),
    Decision(
        "plan",
        "created = tuple(put for put in step.puts if put.create)",
        "created = step.puts",
        "CreateOnly rewrites",
    ),
    Decision(
        "plan",
        "elif found.fingerprint != fingerprint(record.content):",
        "elif found.fingerprint == fingerprint(record.content):",
        "what is right is rewritten and what is wrong stays",
    ),
    Decision(
        "plan",
        "changes = changes or (found.ready and record.ready)",
        "changes = changes or record.ready",
        "getting ready counts as a mass change",
    ),
    Decision(
        "plan",
        "removals = tuple(have) if may_remove else ()",
        "removals = tuple(have) if not may_remove else ()",
        "what must stay goes",
    ),
    Decision(
        "plan",
        "withdraws = any(k.ready for k in kept) and not stays",
        "withdraws = any(k.ready for k in kept)",
        "a rewrite is counted as a withdrawal",
    ),
    Decision(
        "plan",
        "withdraws = any(k.ready for k in kept) and not stays",
        "withdraws = False",
        "readiness lost passes every budget",
    ),
    Decision(
        "plan",
        "mine = [record for record in records.get(name, ()) if record.name not in conflicts]",
        "mine = list(records.get(name, ()))",
        "another registration's name is written",
    ),
    Decision(
        "plan",
        "if len(shown) == 1:",
        "if shown:",
        "one bad instance takes the others along",
    ),
    # --- policy: what may pass
    Decision(
        "policy",
        'if cause in {"inferred", "health"} and ready - 1 < min_ready:',
        'if cause in {"inferred", "health"} and ready < min_ready:',
        "minReadyInstances is one too few",
    ),
    Decision(
        "policy",
        'if cause in {"inferred", "health"} and ready - 1 < min_ready:',
        "if ready - 1 < min_ready:",
        "minReadyInstances holds up facts and edits",
    ),
    Decision(
        "policy",
        "if budget.used + 1 > budget.limit(now):",
        "if budget.used > budget.limit(now):",
        "one more than the budget passes",
    ),
    Decision(
        "policy",
        "if budget.used + 1 > budget.limit(now):",
        "if budget.used + 1 >= budget.limit(now):",
        "one fewer than the budget passes",
    ),
    Decision(
        "policy",
        "return max(self.minimum, self.most(now) * self.percent // 100)",
        "return min(self.minimum, self.most(now) * self.percent // 100)",
        "minRemovals do not always pass",
    ),
    Decision(
        "policy",
        "return max(self._peaks[0][1] if self._peaks else 0, self.owned)",
        "return self.owned",
        "the limit shrinks with what goes",
    ),
    Decision(
        "policy",
        "while self._peaks and self._peaks[0][0] < now - self.window:",
        "while False:",
        "the most ever owned counts for ever",
    ),
    Decision(
        "policy",
        'return "MassChange" if used + 1 > self._most_changes(now) else None',
        'return "MassChange" if used > self._most_changes(now) else None',
        "one rewrite too many passes",
    ),
    Decision(
        "policy",
        "if cause in NOT_COUNTED or (key, instance) in self._changed:",
        "if (key, instance) in self._changed:",
        "an edit waits in a hold",
    ),
    Decision(
        "bases",
        "return noted is not None and ready - 1 >= noted[0][1]",
        "return noted is not None and ready >= noted[0][1]",
        "a loss counts as a replacement",
    ),
    Decision(
        "bases",
        "return noted is not None and ready - 1 >= noted[0][1]",
        "return False",
        "a replacement is counted",
    ),
    Decision(
        "policy",
        'if cause == "inferred":\n            return scopes',
        'if cause == "health":\n            return scopes',
        "inferred loss is not counted against its source",
    ),
    Decision(
        "policy",
        "while self._spent and self._spent[0].at < now - self.safety.window_seconds:",
        "while False:",
        "what was spent is never free again",
    ),
    Decision(
        "policy",
        "for _ in range(delta):",
        "for _ in range(0):",
        "a replacement that comes later gives nothing back",
    ),
    Decision(
        "policy",
        "if (rest := budget.limit(now) - budget.minimum - budget.used) > 0:",
        "if False:",
        "a lost history leaves the whole budget free",
    ),
    # --- holds: what waits for a person
    Decision(
        "holds",
        'kind = "takeover" if takeover else "removal" if removal else "change"',
        'kind = "removal"',
        "who approves a rewrite approves a withdrawal",
    ),
    Decision(
        "holds",
        "return not self.decided_time - CLOCK_SECONDS <= wall < self.decided_time + self.expires_seconds",
        "return not self.decided_time - CLOCK_SECONDS <= wall",
        "an approval never ends",
    ),
    Decision(
        "holds",
        "return not self.decided_time - CLOCK_SECONDS <= wall < self.decided_time + self.expires_seconds",
        "return not wall < self.decided_time + self.expires_seconds",
        "a clock that is set back makes an approval last",
    ),
    Decision(
        "holds",
        "self._set(hold).discard(name)",
        "pass",
        "an approval covers what came back",
    ),
    Decision(
        "holds",
        "latest = max((h for h in decided if name in self._set(h))",
        "latest = max((h for h in decided)",
        "an approval covers what it does not name",
    ),
    Decision(
        "holds",
        "key=lambda h: h.decided_time or 0, default=None)",
        "key=lambda h: -(h.decided_time or 0), default=None)",
        "the older decision wins",
    ),
    Decision(
        "holds",
        "if now - shown.created_time < REPLACE_SECONDS:",
        "if False:",
        "a hold is replaced while a person reads it",
    ),
    Decision(
        "holds",
        "hashes = {name for name, *_ in pairs.values()} - decided",
        "hashes = {name for name, *_ in pairs.values()}",
        "a new hold asks again for what was decided",
    ),
    Decision(
        "holds",
        "if group not in self._waiting and hold is not None and planned(group[0], group[2]):",
        "if group not in self._waiting and hold is not None:",
        "a restart forgets a hold before anything was planned",
    ),
    # --- names: who holds which
    Decision(
        "names",
        "if keep and not all(map(self._shares, (registration, *keep))):",
        "if keep and not self._shares(registration):",
        "who says Shared comes under a name that another has for itself",
    ),
    Decision(
        "names",
        "if keep and not all(map(self._shares, (registration, *keep))):",
        "if keep:",
        "nobody can share a name",
    ),
    Decision(
        "names",
        "elif mine not in held and all(self._shares(each) is not False for each in (mine, *held)):",
        "elif mine not in held and all(self._shares(each) for each in (mine, *held)):",
        "a registration that is not known stops those that shared a name with it",
    ),
    Decision(
        "names",
        "held = [each for each in held if self._shares(each) is not False] or held[:1]",
        "held = held[:1]",
        "one that stops sharing has the name for itself",
    ),
    Decision(
        "names",
        "other.registration == mine or not (mine in held and other.registration in held)",
        "True",
        "a deletion waits for the writes of all that share a name",
    ),
    Decision(
        "names",
        "if other.registration != key.registration and other.service != key.service",
        "if False",
        "one that leaves a shared name is kept for what others could not write",
    ),
    # --- releases: what stays in place
    Decision(
        "reconcile",
        "if self.complete and key.registration in self.orphaned:",
        "if False:",
        "an orphan is deleted",
    ),
    Decision(
        "reconcile",
        "if self.complete and key.registration in self.orphaned:",
        "if key.registration in self.orphaned:",
        "a registration that may be there, unreadable, is let go",
    ),
    Decision(
        "batch",
        "changes = [Change(k, release=step.release) for k in step.removals if k not in moved]",
        "changes = [Change(k) for k in step.removals if k not in moved]",
        "what is released is deleted",
    ),
    Decision("plan", "if target.releases:", "if True:", "a sink that cannot release is asked to, and deletes"),
    Decision(
        "plan",
        "return [step for step in steps if step.release] if world.only_releases else steps",
        "return steps",
        "an engine that only releases writes",
    ),
    # --- adoption: what is taken over
    Decision(
        "plan",
        "if step is not None and showing.entry.adopts and showing.far.adopts and target.adopts:",
        "if step is not None and showing.entry.adopts and target.adopts:",
        "a sink that adopts never is asked to",
    ),
    Decision(
        "plan",
        "if step is not None and showing.entry.adopts and showing.far.adopts and target.adopts:",
        "if step is not None and showing.far.adopts and target.adopts:",
        "an entry that does not ask for it adopts",
    ),
    Decision(
        "plan",
        "known = put.key in target.twins.get(key, ()) and (key, put.key) not in target.asking",
        "known = True",
        "what is the same is taken over without asking",
    ),
    Decision(
        "batch",
        'if not any(put.adopt == "take" for put in step.puts) or self._may_take(step):',
        "if True:",
        "what is the same is taken over before a person says so",
    ),
    Decision(
        "batch",
        "removing += [step] if not wanted.puts else []",
        "removing += [step]",
        "an old record goes while its successor waits to be taken over",
    ),
    Decision(
        "holds",
        'takeover=cause == "Takeover"',
        "takeover=False",
        "who approves a rewriting approves a takeover",
    ),
    # --- batch: what goes next
    Decision(
        "batch",
        'if target.mode != "Apply":',
        'if target.mode == "Paused":',
        "a dry run writes",
    ),
    Decision(
        "batch",
        "if key in target.busy or key not in target.dirty:",
        "if key not in target.dirty:",
        "two batches in flight touch one publication",
    ),
    Decision(
        "batch",
        'if decision == "Approve" or (cause is None and decision != "Reject"):',
        'if decision == "Approve" or cause is None:',
        "what was rejected goes as soon as there is room",
    ),
    Decision(
        "batch",
        'if decision == "Approve" or (cause is None and decision != "Reject"):',
        'if cause is None and decision != "Reject":',
        "an approval lets nothing pass",
    ),
    Decision(
        "batch",
        "if any(other in target.busy for other in beside):",
        "if False:",
        "deletions under a shared name overtake the writes beside them",
    ),
    Decision(
        "batch",
        "if missing > 0 and not step.hold and not step.release:",
        "if False:",
        "old records go though their successors were refused",
    ),
    Decision(
        "batch",
        "if self.records <= 0 or change.key in self._keys or change.key in self._flying:",
        "if self.records <= 0 or change.key in self._flying:",
        "a batch has a key twice",
    ),
    Decision(
        "batch",
        "or change.key in self._keys or change.key in self._flying:",
        "or change.key in self._keys:",
        "a key that is under way for one publication is written for another",
    ),
    # --- writer: what outcomes mean
    Decision(
        "writer",
        "while self._may_write() and not self._refused and not self._hesitate:",
        "while not self._refused and not self._hesitate:",
        "a term that ended goes on writing",
    ),
    Decision(
        "writer",
        "if self._in_flight >= self._sink.limits.in_flight:",
        "if False:",
        "more batches are under way than the sink allows",
    ),
    Decision(
        "writer",
        "if self._uncertain:\n                        if self._in_flight:",
        "if self._uncertain:\n                        if False:",
        "the target is looked at while batches are under way",
    ),
    Decision(
        "writer",
        "if target.fence is not None:\n            target.fence = await self._sink.advance(target.fence)",
        "if False:\n            target.fence = await self._sink.advance(target.fence)",
        "a late write comes through",
    ),
    Decision(
        "writer",
        'if outcome.status == "superseded":\n                target.mark(step.key, (step.instance,))',
        'if outcome.status == "superseded":\n                pass',
        "what the target did not write is not sent again",
    ),
    Decision(
        "writer",
        'elif outcome.status == "unknown":\n                self._uncertain[change.key]',
        'elif outcome.status == "never":\n                self._uncertain[change.key]',
        "what became of a write is not looked at",
    ),
    Decision(
        "writer",
        "target.policy.refund(item.spent)",
        "pass",
        "what did not happen stays counted",
    ),
    Decision(
        "writer",
        "if change.record is not None:\n                    target.failed.setdefault(",
        "if change.record is None:\n                    target.failed.setdefault(",
        "a refused write holds back no deletion",
    ),
    Decision(
        "writer",
        'found.sort(key=lambda pair: pair[1].status != "applied")',
        'found.sort(key=lambda pair: pair[1].status == "applied")',
        "a refusal is forgotten when another record of the instance is written",
    ),
    Decision(
        "writer",
        "if known or step.removals:\n                target.mark(step.key, (step.instance,))",
        "if known:\n                target.mark(step.key, (step.instance,))",
        "what a write replaces is never deleted",
    ),
    Decision(
        "writer",
        "if self._uncertain:  # since this was planned",
        "if False:  # since this was planned",
        "what was planned beside an unknown outcome is sent",
    ),
    Decision(
        "writer",
        "whose = seen.publication if seen is not None else publication",
        "whose = publication",
        "what is found after an unknown outcome belongs to who asked for it",
    ),
)
