"""What Waypost registered in etcd, and what became of it by etcd's own log."""

from e2e.steps import StepError, until
from testbed.servers import Etcd
from testbed.servers.etcd_log import history

PREFIX = "/waypost/prod/"


class Records:
    """All records in one etcd; of those the scenario keeps running, none may ever go."""

    def __init__(self, etcd: Etcd) -> None:
        """Nothing is asked yet."""
        self.etcd = etcd

    async def created(self) -> dict[str, int]:
        """When each was made, as etcd's revision."""
        return await self.etcd.created(PREFIX)

    async def modified(self) -> dict[str, int]:
        """When each was written last."""
        return await self.etcd.modified(PREFIX)

    async def number(self, count: int, *, seconds: float = 90) -> dict[str, int]:
        """Wait until there are so many; when each was made."""
        return await until(f"{count} records", self.created, lambda keys: len(keys) == count, seconds=seconds)

    async def deregistered(self) -> int:
        """How many records were ever deleted, by etcd's log."""
        return sum(event.value is None for event in await history(self.etcd, PREFIX))


def unharmed(before: dict[str, int], after: dict[str, int], *, alone: bool = False) -> None:
    """Raise StepError when a record of before has gone, even if it is there again; `alone`: or another came.

    Both say when each record was made.
    """
    if lost := {key for key, revision in before.items() if after.get(key) != revision}:
        raise StepError(f"deregistered, if only for a moment: {sorted(lost)}")
    if alone and after.keys() != before.keys():
        raise StepError(f"registered by nobody: {sorted(after.keys() - before.keys())}")


def unwritten(before: dict[str, int], after: dict[str, int]) -> None:
    """Raise StepError when a record of before was written again; both say when each was written last."""
    if changed := {key for key, revision in before.items() if after.get(key) != revision}:
        raise StepError(f"written again though nothing had changed: {sorted(changed)}")
