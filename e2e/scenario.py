"""Waypost as an operator, by its chart: it registers, fails over, is upgraded, uninstalled and installed again."""

import time
from collections.abc import Awaitable, Callable

from e2e.objects import SHOP, manifests
from e2e.records import Records, unharmed, unwritten
from e2e.release import Release
from e2e.stage import Stage
from e2e.steps import StepError, say, step, until

REGISTRATION = f"{SHOP}/web"


class Scenario:
    """Waypost tried on a stage. Each step has one pod more to register than the one before, so that none is idle."""

    def __init__(self, stage: Stage) -> None:
        """Nothing is done yet."""
        self.cluster, self.endpoint = stage.cluster, stage.endpoint
        self.release = Release(stage.cluster)
        self.records = Records(stage.etcd)
        self.running = 2

    async def play(self) -> None:
        """All of it, in order."""
        async with step("Waypost installed, its pods ready", 180):
            await self.release.install()
        async with step("the first registration, Ready and in etcd", 120):
            await self.register()
        async with step("`kubectl waypost status` says so", 60):
            await self.ask()
        async with step("the leader's pod deleted: another leads, and nothing is deregistered", 200):
            await self.lose_the_leader("pod deleted", self.release.delete)
        async with step("the leader's process killed (kill -9): likewise", 200):
            await self.lose_the_leader("kill -9", self.release.kill9)
        async with step("upgraded with another value: no record is lost, and none written", 300):
            await self.upgrade()
        async with step("uninstalled: registrations and records are there still", 200):
            await self.uninstall()
        async with step("installed again: it goes on, and of the records that are right none is written", 300):
            await self.install_again()
        async with step("one pod fewer: its record alone is deregistered", 120):
            await self.one_fewer()

    async def register(self) -> None:
        """Apply a source, a sink and a registration."""
        await self.cluster.apply(*manifests(self.endpoint))
        wait = ["wait", "--for=condition=Ready", "sreg/web", f"--namespace={SHOP}", "--timeout=100s"]
        await self.cluster.kubectl(*wait, timeout=110)
        await self.records.number(self.running)

    async def ask(self) -> None:
        """The leader, asked through the API server, says what was found by other ways."""
        print(await self.release.status(), end="", flush=True)
        await until("the status is right", self.release.report, self._is_right)

    def _is_right(self, report: object) -> bool:
        assert isinstance(report, dict)
        (registration,) = report["registrations"]
        ready = {each["type"]: each["status"] for each in registration["status"]["conditions"]}.get("Ready")
        (sink,) = report["sinks"]
        return (registration["key"], ready, sink["records"]) == (REGISTRATION, "True", self.running)

    async def lose_the_leader(self, how: str, strike: Callable[[str], Awaitable[None]]) -> None:
        """Strike the pod that leads while the workload grows: another registers what came, and keeps the rest."""
        before = await self.records.created()
        pod = await until("somebody leads", self.release.leader, bool)
        holder = await self.release.holder()
        began = time.monotonic()
        await strike(pod)
        await self.one_more()
        await until("another leads", self.release.holder, lambda now: now not in ("", holder))
        led = time.monotonic() - began
        unharmed(before, await self.records.number(self.running))
        took, gone = time.monotonic() - began, await self.records.deregistered()
        say(f"failover, {how}: another led after {led:.1f} s, the new pod's record was there after {took:.1f} s")
        self._none(gone)
        await self.release.ready()

    async def upgrade(self) -> None:
        """By helm: the pods are replaced, whoever leads then goes on."""
        made, written = await self.records.created(), await self.records.modified()
        before = set(await self.release.pods())
        await self.release.upgrade(log_level="debug")
        await until("the former pods are gone", self.release.pods, lambda pods: not before & set(pods))
        if "--log-level=debug" not in (arguments := await self.release.arguments()):
            raise StepError(f"the value is not in force: {arguments}")
        unwritten(written, await self.records.modified())
        await self.one_more()
        unharmed(made, await self.records.number(self.running))
        unwritten(written, await self.records.modified())
        self._none(await self.records.deregistered())

    async def uninstall(self) -> None:
        """By helm; the custom resources stay, and so does what is registered."""
        before = await self.records.created()
        await self.release.uninstall()
        left = await self.cluster.kubectl("get", "sreg", f"--namespace={SHOP}", "--output=name")
        if left.split() != ["serviceregistration.waypost.dev/web"]:
            raise StepError(f"the registration is not there any more: {left!r}")
        unharmed(before, await self.records.created(), alone=True)
        self._none(await self.records.deregistered())

    async def install_again(self) -> None:
        """It finds its registration and its records as it left them."""
        before = await self.records.modified()
        await self.release.install()
        await self.one_more()
        await self.records.number(self.running)
        unwritten(before, await self.records.modified())
        self._none(await self.records.deregistered())

    async def one_fewer(self) -> None:
        """Take one away: so it is seen that etcd's log would have told of the others."""
        before = await self.records.created()
        await self._scale(self.running - 1)
        after = await self.records.number(self.running)
        if len(before.items() - after.items()) != 1 or (gone := await self.records.deregistered()) != 1:
            raise StepError(f"of {sorted(before)} one was to go; there are {sorted(after)}")
        say(f"deregistered in all, by etcd's own log: {gone}, the one that was taken away")

    async def one_more(self) -> None:
        """One more pod is to run."""
        await self._scale(self.running + 1)

    async def _scale(self, replicas: int) -> None:
        self.running = replicas
        await self.cluster.kubectl("scale", "deployment/web", f"--namespace={SHOP}", f"--replicas={replicas}")

    @staticmethod
    def _none(gone: int) -> None:
        say(f"deregistered so far, by etcd's own log: {gone}")
        if gone:
            raise StepError(f"{gone} records were deregistered though all that was registered runs")

    async def explain(self) -> str:
        """What a person would look at."""
        return await self.release.explain()
