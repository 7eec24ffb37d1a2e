"""The paths of the admin server. Each answer is JSON; a question of one thing costs in proportion to it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from waypost.adapter import AdapterError
from waypost.engine import status
from waypost.engine.changes import MOST
from waypost.engine.explain import Question, explain
from waypost.engine.outlook import MOST_STEPS, outlook
from waypost.engine.releases import Release
from waypost.engine.whois import whois
from waypost.kit.listen import parse_listen
from waypost.kit.metrics import CONTENT_TYPE
from waypost.kit.serve import ServeLimits, Serving, error, serve, unbounded
from waypost.server.gate import Gate, Handler, Reads
from waypost.server.gauges import Gauges
from waypost.server.wire import Changes, Decision, Mode, Released, Releasing

if TYPE_CHECKING:
    from waypost.adapter import Clock
    from waypost.engine.engine import Engine

__all__ = ["DEFAULT_LISTEN", "Admin", "admin"]

DEFAULT_LISTEN = "127.0.0.1:7470"
LIMITS = ServeLimits(body_bytes=16_384, connections=128, request_seconds=30.0, stop_seconds=1.0)
MOST_WAIT = 60.0
HAND_ON_SECONDS = 10.0
MOST_CHANGES = 1000
MOST_NAME = 1024

log = logging.LoggerAdapter(logging.getLogger("waypost.server"), {})


class Admin:
    """The handlers, over one engine."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        """`clock` is the engine's."""
        self._engine = engine
        self._clock = clock
        self._gauges = Gauges(engine)
        self._run = secrets.token_hex(8)

    def routes(self, gate: Gate) -> list[web.RouteDef]:
        """Return the routes. The two probes tell nothing and are open to all."""
        read, act = gate.reading, gate.acting
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/metrics", read(self.metrics)),
            web.get("/v1/status", read(self.status)),
            web.get("/v1/plan", read(self.plan)),
            web.get("/v1/explain", read(self.explain)),
            web.get("/v1/changes", unbounded(read(self.changes))),
            web.get("/v1/holds", read(self.holds)),
            web.post("/v1/holds/{name}", act(self._led(self.decide))),
            web.post("/v1/sinks/{name}", act(self._led(self.set_mode))),
            web.get("/v1/whois", read(self.whois)),
            web.get("/v1/releases", read(self.releases)),
            web.post("/v1/releases/change", act(self._led(self.release))),
        ]

    def _led(self, handler: Handler) -> Handler:
        """Let a handler act only where this process leads: what a standby is told would be heard of by nobody."""

        async def led(request: web.Request) -> web.StreamResponse:
            if self._engine.leadership.leads():
                return await self._handed_on(await handler(request))
            leader = status.leadership(self._engine).leader
            who = f"{leader} leads" if leader else "nobody is known to lead now"
            return error(409, f"this process is a standby, and does nothing: {who}; ask the leader, by --server URL")

        return led

    async def _handed_on(self, answer: web.StreamResponse) -> web.StreamResponse:
        """Say where what was decided is not known to who leads next."""
        try:
            async with asyncio.timeout(HAND_ON_SECONDS):
                await self._engine.succession.hand_on()
        except (AdapterError, TimeoutError) as failed:
            why = str(failed) or "it does not answer"
            return error(503, f"done here, but not kept beside the elector's lease ({why}): say it again")
        return answer

    async def healthz(self, _request: web.Request) -> web.Response:
        """Say that the process answers."""
        return web.Response(text="ok\n")

    async def readyz(self, _request: web.Request) -> web.Response:
        """Say that the manifests were read once and the engine runs. A target that is down does not make us unready."""
        if self._engine.settings is None:
            return web.Response(status=503, text="the manifests have not been read yet\n")
        return web.Response(text="ok\n")

    async def metrics(self, _request: web.Request) -> web.Response:
        """Return all metrics."""
        body = self._gauges.render(self._clock.monotonic())
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def status(self, request: web.Request) -> web.Response:
        """Return how everything stands, a page of registrations at a time, or one registration."""
        now = self._clock.monotonic()
        if key := request.query.get("registration"):
            found, _ = await status.registrations(self._engine, now, [key])
            return _answer(found[0]) if found else error(404, _no_registration(self._engine, key))
        after, namespace = request.query.get("after", ""), request.query.get("namespace", "")
        most = _number(request, "limit", 1, status.MOST_REGISTRATIONS, status.MOST_REGISTRATIONS)
        return _answer(await status.overview(self._engine, now, after=after, namespace=namespace, most=int(most)))

    async def plan(self, request: web.Request) -> web.Response:
        """Return what would be done, or waits to be."""
        sink = request.query.get("sink", "")
        if sink and sink not in self._engine.reconciler.targets:
            return error(404, _no_sink(self._engine, sink))
        most = _number(request, "limit", 0, MOST_STEPS, MOST_STEPS)
        return _answer(await outlook(self._engine, sink=sink, most=int(most)))

    async def explain(self, request: web.Request) -> web.Response:
        """Return step by step why something is, or is not, in a sink."""
        try:
            question = msgspec.convert(dict(request.query), Question)
        except msgspec.ValidationError as wrong:
            return error(400, str(wrong))
        if not (question.registration or question.service or question.instance or question.name):
            return error(400, "ask about a registration, a service, an instance or a name")
        return _answer(await explain(self._engine, question, self._clock.monotonic()))

    async def whois(self, request: web.Request) -> web.Response:
        """Return who wrote what stands under a name."""
        name, sink = request.query.get("name", ""), request.query.get("sink", "")
        if not 0 < len(name) <= MOST_NAME:
            return error(400, f"ask about a name of 1 to {MOST_NAME} characters")
        if sink and sink not in self._engine.reconciler.targets:
            return error(404, _no_sink(self._engine, sink))
        return _answer(await whois(self._engine, name, sink))

    async def changes(self, request: web.Request) -> web.Response:
        """Return changes after a number; with `wait`, wait that long at most for one."""
        since = int(_number(request, "since", 0, 1 << 62, 0))
        wait = _number(request, "wait", 0, MOST_WAIT, 0)
        most = int(_number(request, "limit", 1, MOST_CHANGES, MOST_CHANGES))
        if request.query.get("run", self._run) != self._run:
            since = 0
        ring = self._engine.ring
        found = ring.since(since, MOST)
        if not found and wait:
            try:
                async with asyncio.timeout(wait):
                    while not found:
                        ring.news.clear()
                        await ring.news.wait()
                        found = ring.since(since, MOST)
            except TimeoutError:
                pass
        latest = found[:most][-1].number if found else since
        return _answer(Changes(self._run, latest, found[:most]))

    async def holds(self, _request: web.Request) -> web.Response:
        """Return what waits for a person, and what was decided and still holds."""
        return _answer(status.holds(self._engine))

    async def decide(self, request: web.Request) -> web.Response:
        """Take a person's decision on a hold."""
        name = request.match_info["name"]
        try:
            decision = msgspec.json.decode(await request.read(), type=Decision)
        except msgspec.MsgspecError as wrong:
            return error(400, f'expected a decision, as {{"decision": "Approve", "reason": "…"}}: {wrong}')
        try:
            hold = self._engine.orders.decide(name, decision.decision, decision.reason, decision.expires_seconds)
        except KeyError:
            known = ", ".join(sorted(self._engine.holds.holds)[:20]) or "none"
            return error(
                404, f"there is no hold `{name}`; there are: {known}. A hold whose set has grown has a new name"
            )
        return _answer(status.hold(hold))

    async def set_mode(self, request: web.Request) -> web.Response:
        """Pause a sink or let it go on."""
        name = request.match_info["name"]
        try:
            mode = msgspec.json.decode(await request.read(), type=Mode)
        except msgspec.MsgspecError as wrong:
            return error(400, f'expected {{"mode": "pause"}} or {{"mode": "resume"}}: {wrong}')
        try:
            self._engine.orders.set_paused(name, mode.mode == "pause")
        except OSError as failed:
            return _not_kept(failed)
        except KeyError:
            return error(404, _no_sink(self._engine, name))
        settings = self._engine.settings
        declared = settings.sinks[name].spec.mode if settings is not None else ""
        return _answer({"sink": name, "paused": mode.mode == "pause", "manifestMode": declared})

    async def releases(self, request: web.Request) -> web.Response:
        """Return what a person released; with parts in the query, what a release of those would cover."""
        asked = {part: request.query.get(part, "") for part in ("registration", "name", "sink")}
        if not any(asked.values()) and "everything" not in request.query:
            return _answer([self._released(release) for release in sorted(self._engine.releases.given)])
        if (wrong := self._unknown_release(release := Release(**asked))) is not None:
            return wrong
        return _answer([self._released(release)])

    async def release(self, request: web.Request) -> web.Response:
        """Release, or take a release back."""
        try:
            asked = msgspec.json.decode(await request.read(), type=Releasing)
        except msgspec.MsgspecError as wrong:
            return error(400, f'expected what to release, as {{"registration": "shop/web"}}: {wrong}')
        release = Release(asked.registration, asked.name, asked.sink)
        if (release == Release()) != asked.everything:
            return error(400, "say what to release: a registration, a name, a sink, or everything; not both")
        if not asked.undo and (unknown := self._unknown_release(release)) is not None:
            return unknown
        try:
            self._engine.orders.release(release, undo=asked.undo)
        except OSError as failed:
            return _not_kept(failed)
        return _answer(self._released(release))

    def _released(self, release: Release) -> Released:
        given = release in self._engine.releases.given
        return Released(release, given, self._engine.orders.covered(release), str(release))

    def _unknown_release(self, release: Release) -> web.Response | None:
        """Refuse what is most likely a slip of the pen."""
        engine = self._engine
        if release.sink and release.sink not in engine.reconciler.targets:
            return error(404, _no_sink(engine, release.sink))
        if release.registration and release.registration not in engine.reconciler.matcher.compiled:
            of_it = (t.ledger.by_registration.get(release.registration) for t in engine.reconciler.targets.values())
            if not any(of_it):
                return error(404, _no_registration(engine, release.registration))
        return None


@asynccontextmanager
async def admin(
    engine: Engine,
    clock: Clock,
    token: str,
    *,
    listen: str = DEFAULT_LISTEN,
    reads: Reads = "auto",
    hosts: Collection[str] = (),
) -> AsyncIterator[Serving]:
    """Serve while the block runs. Raises AdapterError where the port is taken, PermanentError where it can never be."""
    gate = Gate(token, parse_listen(listen), reads=reads, hosts=hosts)
    async with serve(Admin(engine, clock).routes(gate), listen, log=log, limits=LIMITS) as serving:
        yield serving


def _answer(body: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(body) + b"\n", content_type="application/json")


def _number(request: web.Request, name: str, least: float, most: float, default: float) -> float:
    """Return a number of the query within its bounds; what is none, or beyond them, is refused."""
    text = request.query.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise web.HTTPBadRequest(reason=f"{name} must be a number from {least:g} to {most:g}")
    return number


def _not_kept(failed: OSError) -> web.Response:
    return error(507, f"the state folder cannot be written ({failed.strerror}): nothing was changed; then try again")


def _no_registration(engine: Engine, key: str) -> str:
    known = [each for each in status.known(engine) if key.rpartition("/")[2] in each][:5]
    near = f"; did you mean {', '.join(known)}?" if known else ""
    return f"there is no registration `{key}` (expected NAMESPACE/NAME){near}"


def _no_sink(engine: Engine, name: str) -> str:
    return f"there is no sink `{name}`; there are: {', '.join(sorted(engine.reconciler.targets)) or 'none'}"
