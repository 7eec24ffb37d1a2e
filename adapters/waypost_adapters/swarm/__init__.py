"""The source `swarm`: services and tasks of a Docker Swarm; see README.md."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

import msgspec

from waypost.adapter import AdapterError, AdapterType, Context, PermanentError, Place, Source
from waypost.kit.http import Http, Response, base_url
from waypost.kit.polling import Polling
from waypost.kit.problems import Problems
from waypost.kit.reach import place_of
from waypost.kit.tls import CREDENTIALS, Tls
from waypost.model import Service
from waypost_adapters.swarm.mapping import Answer, Naming, Swarm

__all__ = ["SOURCE", "Config"]

NEWEST = (1, 51)  # of the API's versions, the last that this was tried with: Engine 28
ANSWER_SECONDS = 10.0
SILENT_SECONDS = 300.0  # events begin anew after such a silence: a connection may be dead without a word
SETTLE_SECONDS = 0.05  # an event comes before the tasks change, which takes Swarm some 40 ms
LEAST_SECONDS = 0.2  # between two polls, however many events come
MOST_BYTES = 256 << 20  # of one answer: some 100,000 tasks

_ROWS = msgspec.json.Decoder(list[msgspec.Raw])


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`hosts` are managers of one Swarm, as Docker writes them: `unix:///path` or `tcp://host:port`."""

    hosts: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(min_length=1, max_length=16)]
    poll_seconds: Annotated[float, msgspec.Meta(ge=0.5, le=3600)] = 1
    naming: Naming = Naming()
    tls: Tls = Tls()


def address(host: str) -> str:
    """Return a host as the kit writes it: `tcp://` speaks TLS, but on 2375, the port that Docker has for plain text."""
    scheme, _, rest = host.partition("://")
    if scheme != "tcp":
        return host
    name, _, port = rest.rstrip("/").rpartition(":")
    if not name or not port.isdecimal():
        name, port = rest.rstrip("/"), "2376"
    return f"{'http' if port == '2375' else 'https'}://{name}:{port}"


class Manager:
    """One manager's API, at the version that both sides know."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._prefix = ""

    async def read(self) -> Answer:
        """Return the three lists, whole, in this order: what comes later may know of more than what came before."""
        if not self._prefix:
            self._prefix = f"/v{_version(await self._http.request('GET', '/_ping', seconds=ANSWER_SECONDS))}"
        try:
            return Answer(*[await self._list(path) for path in ("/services", "/tasks", "/nodes")])
        except AdapterError:
            self._prefix = ""  # it may come back as another version
            raise

    async def _list(self, path: str) -> list[msgspec.Raw]:
        answer = await self._http.request("GET", self._prefix + path, seconds=ANSWER_SECONDS)
        if answer.status != 200:
            raise _refusal(path, answer)
        return answer.decode(_ROWS)

    async def events(self) -> AsyncIterator[None]:
        """Yield whenever something has happened to a service or node; what, does not matter."""
        params = {"filters": '{"scope":["swarm"]}'}
        path = f"{self._prefix}/events"
        async with self._http.stream("GET", path, params=params, idle_seconds=SILENT_SECONDS) as stream:
            if stream.status != 200:
                raise AdapterError(f"{path} answered with {stream.status}")
            yield
            async for _ in stream.chunks():
                yield


class SwarmSource:
    """Asks one manager after the other until one answers; the one that did is asked first the next time."""

    def __init__(self, config: Config, context: Context, managers: list[Manager]) -> None:
        self._config = config
        self._managers = deque(managers)
        self._swarm = Swarm(context.name, config.naming, Problems(context.log, context.metrics, "swarm_problems_total"))
        self._clock = context.clock
        self._polling = Polling(
            self._services,
            config.poll_seconds,
            random=context.random,
            timeout=4 * ANSWER_SECONDS * len(managers) + ANSWER_SECONDS,
            least=min(LEAST_SECONDS, config.poll_seconds),
            ended=self._swarm.ended,
            hints=self._hints,
        )
        self.watch = self._polling.watch

    def places(self) -> Sequence[Place]:
        urls = [base_url(address(host), sockets=True) for host in self._config.hosts]
        return [place_of(url, self._config.tls.server_name) for url in urls]

    async def _services(self) -> list[Service]:
        failures = []
        for _ in range(len(self._managers)):
            try:
                answer = await self._managers[0].read()
            except AdapterError as error:
                failures.append(error)
                self._managers.rotate(-1)
            else:
                return self._swarm.read(answer)
        kind = PermanentError if all(isinstance(error, PermanentError) for error in failures) else AdapterError
        raise kind("; ".join(map(str, failures)))

    async def _hints(self) -> AsyncGenerator[None, None]:
        async for _ in self._managers[0].events():
            await self._clock.sleep(SETTLE_SECONDS)
            yield


def _version(answer: Response) -> str:
    text = answer.headers.get("Api-Version", "")
    major, _, minor = text.partition(".")
    if answer.status != 200 or not (major.isdecimal() and minor.isdecimal()):
        raise AdapterError(f"{answer.place}: HTTP {answer.status} to GET /_ping: is this a Docker engine?")
    return "{}.{}".format(*min((int(major), int(minor)), NEWEST))


def _refusal(path: str, answer: Response) -> AdapterError:
    """Say why a manager did not list; whatever it was, nothing is known of what runs."""
    if answer.status in (401, 403):
        return PermanentError(f"{answer.place} does not permit GET {path} (HTTP {answer.status}): allow it to read")
    if answer.status == 503:
        return AdapterError(f"{answer.place} is not a manager of a Swarm, or not ready yet (HTTP 503)")
    if answer.status == 500 and b"leader" in answer.body:
        return AdapterError(f"{answer.place}: the Swarm has no leader: too few of its managers run")
    return AdapterError(f"{answer.place}: HTTP {answer.status} to GET {path}")


@asynccontextmanager
async def open_source(config: Config, context: Context) -> AsyncIterator[Source]:
    """Open the source; connects to nothing yet."""
    async with AsyncExitStack() as stack:
        https = [
            await stack.enter_async_context(
                Http(
                    [address(host)],
                    credentials=context.credentials,
                    tls=config.tls,
                    max_body_bytes=MOST_BYTES,
                    sockets=True,
                )
            )
            for host in config.hosts
        ]
        yield SwarmSource(config, context, [Manager(http) for http in https])


SOURCE = AdapterType("swarm", Config, open_source, credentials=CREDENTIALS)
