"""Mesos' v1 operator API over HTTP: which master leads, its calls, its event stream. Knows no task."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec
from yarl import URL

from waypost.adapter import AdapterError, Context, PermanentError
from waypost.kit.http import Http, Stream
from waypost_adapters.mesos import wire
from waypost_adapters.mesos.absence import DEFAULT_SECONDS, duration
from waypost_adapters.mesos.config import Config
from waypost_adapters.mesos.places import Places

__all__ = ["Leader", "Masters"]

API = "/api/v1"
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
ANSWER_SECONDS = 15.0
STREAM_SECONDS = 120.0  # a large master takes its time until a stream begins
IDLE_SECONDS = 600.0  # the reader's own time-out is shorter

_MASTER = msgspec.json.Decoder(wire.Master)
_FLAGS = msgspec.json.Decoder(wire.Flags)


class Leader(msgspec.Struct, frozen=True):
    """A leading master: where it is, and which: `identity` is another one after each election and start."""

    url: str
    identity: str
    id: str

    @property
    def place(self) -> str:
        """Its host and port."""
        url = URL(self.url)
        return f"{url.host}:{url.port}"


class Masters:
    """The masters of one Mesos. Credentials go to those that `places` knows, and to a leader on one of their hosts."""

    def __init__(self, config: Config, context: Context, places: Places) -> None:
        self._credentials = context.credentials
        self._places = places
        self.http = Http(
            None,
            credentials=context.credentials,
            tls=config.tls,
            headers=self._authorization,
            trusted=self._trusted,
        )
        self._warn = context.warn

    def rotate(self) -> None:
        """Ask another master first: the present one did not answer as it should."""
        self._places.rotate()

    async def leader(self) -> Leader:
        """Find the leader: the first master that answers, or the one it redirects to."""
        failures = []
        for url in list(await self._places.urls()):
            self.warn_of_plain_text()
            try:
                return await self._ask_leader(str(url).rstrip("/") + API)
            except PermanentError:
                raise
            except AdapterError as error:
                failures.append(str(error))
                self.rotate()
        raise AdapterError("no master leads: " + "; ".join(failures))

    async def displaced(self, leader: Leader) -> None:
        """Raise AdapterError when another master is known to lead. Where nobody tells, never."""
        await self._places.displaced(leader.id)
        raise AdapterError(f"{leader.place} leads no longer: another master was elected")

    def warn_of_plain_text(self) -> None:
        """Tell on the resource when the password goes over a network as it is."""
        if self._credentials.get("password") is not None and self._places.plain():
            self._warn("PlainTextPassword", "the password is sent over plain http; have the masters serve https")

    async def _ask_leader(self, url: str) -> Leader:
        answer = await self.http.request(
            "POST", url, body=wire.call("GET_MASTER"), headers=HEADERS, seconds=ANSWER_SECONDS, follow=1
        )
        self._accept(answer.status, answer.url)
        found = answer.decode(_MASTER).get_master
        info = found.master_info
        return Leader(answer.url, f"{info.id}/{found.elected_time}", info.id)

    async def check(self, leader: Leader) -> None:
        """Raise AdapterError unless that very leader still leads: what it answered before is then of one master."""
        answer = await self.http.request(
            "POST", leader.url, body=wire.call("GET_MASTER"), headers=HEADERS, seconds=ANSWER_SECONDS
        )
        self._accept(answer.status, answer.url)
        found = answer.decode(_MASTER).get_master
        if f"{found.master_info.id}/{found.elected_time}" != leader.identity:
            raise AdapterError(f"{leader.place}: another master leads now")

    async def reregister_seconds(self, leader: Leader) -> float:
        """Return how long the leader waits for agents after a failover; where it may not be asked, Mesos' default."""
        answer = await self.http.request(
            "POST", leader.url, body=wire.call("GET_FLAGS"), headers=HEADERS, seconds=ANSWER_SECONDS
        )
        if answer.status != 200:
            return DEFAULT_SECONDS
        flags = {flag.name: flag.value for flag in answer.decode(_FLAGS).get_flags.flags}
        return duration(flags.get("agent_reregister_timeout", "")) or DEFAULT_SECONDS

    @asynccontextmanager
    async def stream(self, leader: Leader, call: str, *, idle_seconds: float = IDLE_SECONDS) -> AsyncIterator[Stream]:
        """Give the answer to a call, to be read as it comes; from this leader alone."""
        async with self.http.stream(
            "POST",
            leader.url,
            body=wire.call(call),
            headers=HEADERS,
            seconds=STREAM_SECONDS,
            idle_seconds=idle_seconds,
        ) as stream:
            self._accept(stream.status, stream.url)
            yield stream

    def _accept(self, status: int, url: str) -> None:
        if status == 200:
            return
        found = URL(url)
        place = f"{found.host}:{found.port}"
        if status in {401, 403} and not self._trusted(found.host or "", 0) and self._credentials.get("username"):
            raise PermanentError(
                f"{place} leads and demands credentials (HTTP {status}), but is not one of `masters`, so none were "
                "sent to it: list it there by the host it calls itself"
            )
        if status == 401 and self._credentials.get("username"):
            raise PermanentError(f"{place} refuses the credentials `username` and `password` (HTTP 401): correct them")
        if status == 401:
            raise PermanentError(
                f"{place} demands the credentials `username` and `password` (HTTP 401): none are given"
            )
        if status == 403:
            raise PermanentError(
                f"{place} does not permit this user to read what runs (HTTP 403): grant it the `view_*` ACLs"
            )
        if status in {301, 302, 307, 308}:
            raise AdapterError(f"{place}: leads no longer, or redirects more than once (HTTP {status})")
        if status == 503:
            raise AdapterError(f"{place}: no leader is elected, or it is still recovering (HTTP 503)")
        raise AdapterError(
            f"{place}: HTTP {status} to a call of the operator API: is this a Mesos master, 1.2 or later?"
        )

    def _trusted(self, host: str, _port: int) -> bool:
        return self._places.knows(host)

    def _authorization(self) -> Mapping[str, str]:
        username, password = self._credentials.get("username"), self._credentials.get("password")
        if username is None and password is None:
            return {}
        if username is None or password is None or ":" in username:
            raise PermanentError(
                "credentials `username` (without a colon) and `password` belong together: correct them"
            )
        token = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
        return {"Authorization": f"Basic {token}"}
