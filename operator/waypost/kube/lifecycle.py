"""kopf, for what it is good at: it gets in, says by a probe that the process lives, and posts Events.

Events about what has no namespace are posted beside it: kopf says that such an object is in `default`, and
`kubectl describe` then finds none of them.

It runs in a thread with a loop of its own, because at its end it cancels every task of its loop. It never sees a
source, a sink or an object of ours: all that it watches is the Leases of Waypost's own namespace, for a handler is
where it lets Events be posted from. When it ends, whatever the reason, it is begun again; the engine does not notice.

Its import takes a third of a second, and nothing of what a restart is about waits for it: it is imported and begun once
the engine is settled, or has had some seconds for it. Only where it is to answer a probe it begins at once.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from waypost.kit.kubernetes.access import Access
from waypost.kit.kubernetes.api import Api
from waypost.kube.objects import Item
from waypost.kube.posting import COMPONENT, ClusterEvents
from waypost.settings import API_VERSION

if TYPE_CHECKING:
    import kopf

__all__ = ["Lifecycle"]

AGAIN_SECONDS = 10.0
LATE_SECONDS = 10.0  # it begins after that long, whatever is unsettled
LOOK_SECONDS = 0.25
END_SECONDS = 3.0
CLOSE_SECONDS = 0.25  # its connections close after it has ended
PROBE_SECONDS = 5.0
MOST_WAITING = 1000  # Events while kopf is not there; older ones are dropped
MOST_KNOWN = 10_000
REPEAT_SECONDS = 600.0  # the same Event of the same object is posted again after that long
MOST_MESSAGE = 1000

log = logging.getLogger("waypost.kube.lifecycle")


class Lifecycle:
    """Runs kopf. `post` may be called at any time, on the engine's loop."""

    def __init__(
        self,
        api: Api,
        access: Callable[[], Access],
        home: str,
        *,
        probe: str = "",
        alive: Callable[[], Awaitable[Mapping[str, Any]]],
        settled: Callable[[], bool],
    ) -> None:
        """`access` says how to get in, in any thread. `probe`: `ADDRESS:PORT` of the probe, "" for none.

        `alive` is awaited on the engine's loop at each probe: a loop that stands still makes the probe fail.
        """
        self._clock = api.clock
        self._access = access
        self._home = home
        self._probe = probe
        self._alive = alive
        self._settled = settled
        self._context: contextvars.Context | None = None
        self._waiting: deque[tuple[Mapping[str, Any], str, str, str]] = deque(maxlen=MOST_WAITING)
        self._known: dict[tuple[str, str, str], float] = {}
        self._of_cluster = ClusterEvents(api)
        self._stop = threading.Event()
        self._end: Callable[[], object] = lambda: None  # ends the kopf that runs now

    # --- Events

    def post(self, item: Item, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Post an Event about an object, once; never blocks, and is lost where the API server takes none."""
        now = self._clock.monotonic()
        kind, meta = item.document.decoded.kind, item.metadata
        place = (meta.uid, reason, message)
        if now - self._known.get(place, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[place] = now
        metadata = {"name": meta.name, "uid": meta.uid, **({"namespace": meta.namespace} if meta.namespace else {})}
        if not meta.namespace:
            self._of_cluster.post(kind, meta, type_, reason, message[:MOST_MESSAGE])
            return
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata}
        self._waiting.append((body, type_, reason, message[:MOST_MESSAGE]))
        self._flush()

    def _flush(self) -> None:
        """Hand over what waits, where kopf is there. In any thread."""
        context = self._context
        if context is None:
            return
        import kopf  # noqa: PLC0415 - it is there already; see the module's docstring

        while self._waiting:
            try:
                body, type_, reason, message = self._waiting.popleft()
            except IndexError:  # another thread was quicker
                return
            try:
                # a plain mapping serves kopf as well as the Body that its types ask for
                context.copy().run(kopf.event, body, type=type_, reason=reason, message=message)  # type: ignore[arg-type]
            except (LookupError, RuntimeError) as error:  # its loop has just ended
                self._context = None
                log.debug("event=%s error=%r", reason, str(error))
                self._waiting.append((body, type_, reason, message))

    # --- running

    async def run(self) -> None:
        """Run until cancelled; at the end kopf ends too, or is left behind after some seconds."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._of_cluster.run())
            await self._calm()
            await self._in_thread()

    async def _calm(self) -> None:
        """Wait until kopf may begin."""
        late = self._clock.monotonic() + LATE_SECONDS
        while not self._probe and not self._settled() and self._clock.monotonic() < late:
            await self._clock.sleep(LOOK_SECONDS)  # no event tells it, and nobody waits for kopf

    async def _in_thread(self) -> None:
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._thread, args=(loop,), name="waypost-kopf", daemon=True)
        thread.start()
        try:
            await asyncio.Event().wait()
        finally:
            self._context = None
            self._stop.set()
            self._end()
            await asyncio.shield(asyncio.to_thread(thread.join, END_SECONDS))

    def _thread(self, engine_loop: asyncio.AbstractEventLoop) -> None:
        told = ""
        while not self._stop.is_set():
            try:
                asyncio.run(self._operate(engine_loop))
                text = "it ended"
            except Exception as error:  # noqa: BLE001 - whatever ends kopf ends nothing else
                text = f"{type(error).__name__}: {error}"
            self._context = None
            if self._stop.is_set():
                return
            log.log(logging.DEBUG if text == told else logging.WARNING, "kopf=ended error=%r effect='no Events'", text)
            told = text
            self._stop.wait(AGAIN_SECONDS)

    async def _operate(self, engine_loop: asyncio.AbstractEventLoop) -> None:
        told, loop = asyncio.Event(), asyncio.get_running_loop()  # a threading.Event would leave a thread that waits
        self._end = lambda: loop.call_soon_threadsafe(told.set)
        if self._stop.is_set():
            return
        import kopf  # noqa: PLC0415 - see the module's docstring

        logging.getLogger("kopf").setLevel(logging.ERROR)
        settings = kopf.OperatorSettings()
        settings.posting.reporting_component = COMPONENT
        settings.posting.loggers = False  # Events are posted by name, never made of log lines
        settings.networking.request_timeout = 15.0
        settings.scanning.disabled = True  # nothing of ours comes and goes: no rights on CRDs are needed
        endpoint = f"http://{self._probe}/healthz" if self._probe else None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                await kopf.operator(
                    registry=self._registry(engine_loop),
                    settings=settings,
                    standalone=True,
                    namespaces=[self._home],
                    liveness_endpoint=endpoint,
                    stop_flag=told,
                )
        finally:
            self._end = lambda: None
            await asyncio.sleep(CLOSE_SECONDS)

    def _registry(self, engine_loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        import kopf  # noqa: PLC0415 - see the module's docstring

        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        def login(**_: Any) -> kopf.ConnectionInfo:
            return _connection(self._access())

        @kopf.on.probe(registry=registry, id="engine")
        async def probe(**_: Any) -> Mapping[str, Any]:
            asked = asyncio.run_coroutine_threadsafe(_asked(self._alive), engine_loop)
            return await asyncio.wait_for(asyncio.wrap_future(asked), PROBE_SECONDS)

        @kopf.on.event("coordination.k8s.io", "v1", "leases", registry=registry)
        async def lease(**_: Any) -> None:
            if self._context is None:
                self._context = contextvars.copy_context()
                self._flush()

        return registry


async def _asked(alive: Callable[[], Awaitable[Mapping[str, Any]]]) -> Mapping[str, Any]:
    return await alive()


def _connection(access: Access) -> kopf.ConnectionInfo:
    import kopf  # noqa: PLC0415 - see the module's docstring

    scheme, _, token = (access.authorization or "").partition(" ")
    return kopf.ConnectionInfo(
        server=access.server,
        ca_data=access.ca,
        scheme=scheme or None,
        token=token or None,
        certificate_data=access.client_cert,
        private_key_data=access.client_key,
    )
