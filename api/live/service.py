"""What the routes ask of live clusters: is this reference live now, which clusters run, and pass this request on.

Wiring, in the order that keeps a Kubernetes outage away from dead sessions: one with a loaded marker is served without `cluster_of`, which
only `latest`, `live` and sessions that are not loaded need. `revived` costs a loaded one nothing and never fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread
from cachetools import TTLCache
from starlette.requests import Request
from starlette.responses import Response

from shared.errors import KubernetesUnavailable
from shared.live.heads import Heads
from shared.live.port import LiveCluster, LiveDirectory
from shared.sessions import Session, SessionRef
from shared.settings import LiveSettings

if TYPE_CHECKING:
    import httpx

    from api.live.proxy import LiveProxy
    from shared.live.head_probe import HeadProbe
    from shared.live.resolver import LiveResolver

KEPT = 30.0
# A page of clusters waits this long for heads that hang, once in KEPT seconds.
_WITHIN = 1.0
_AT_ONCE = 32
_MOST_KEPT = 4096


class RunningSessions:
    """Which sessions live clusters run, asked briefly and kept for half a minute, known or not. Never used to call a session dead.

    One per event loop.
    """

    def __init__(self, asker: HeadProbe) -> None:
        self._asker = asker
        self._names: TTLCache[str, str | None] = TTLCache(_MOST_KEPT, KEPT)
        self._at_once = anyio.CapacityLimiter(_AT_ONCE)
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def names(self, clusters: Sequence[LiveCluster]) -> dict[str, str]:
        """The running session's name by `LiveCluster.key`; clusters whose head did not say so quickly are left out."""
        with anyio.move_on_after(_WITHIN):
            async with anyio.create_task_group() as group:
                for cluster in clusters:
                    if _identity(cluster) not in self._names:
                        group.start_soon(self._ask, cluster)
        for cluster in clusters:
            self._names.setdefault(_identity(cluster), None)
        known = ((cluster.key, self._names.get(_identity(cluster))) for cluster in clusters)
        return {key: name for key, name in known if name}

    def name(self, cluster: LiveCluster) -> str | None:
        """What is known at once; what is not is asked in the background, for the next caller."""
        identity = _identity(cluster)
        if identity not in self._names and identity not in self._asking:
            task = self._asking[identity] = asyncio.create_task(self._ask(cluster))
            task.add_done_callback(lambda _: self._asking.pop(identity, None))
        return self._names.get(identity)

    async def aclose(self) -> None:
        """Give up questions that are on their way."""
        for task in list(self._asking.values()):
            task.cancel()

    async def _ask(self, cluster: LiveCluster) -> None:
        async with self._at_once:
            self._names[_identity(cluster)] = (await self._asker.once(cluster, within=_WITHIN)).session


def _identity(cluster: LiveCluster) -> str:
    return f"{cluster.key}/{cluster.uid}"


_T = TypeVar("_T")


class LiveSessions:
    """The live clusters of one API process, on its event loop: `start()` in the lifespan, `aclose()` at its end."""

    def __init__(self, directory: LiveDirectory, heads: Heads, settings: LiveSettings) -> None:
        self._directory = directory
        self._heads = heads
        self._settings = settings
        self._clients: list[httpx.AsyncClient] = []
        self._resolver: LiveResolver | None = None
        self._running: RunningSessions | None = None
        self._proxy: LiveProxy | None = None

    async def start(self) -> None:
        """Open connections and start the watch. Kubernetes being away is no reason not to start: it is said when asked."""
        if not self._directory.enabled:
            return
        # Imported here: without Kubernetes nothing of it is needed.
        from api.live.proxy import LiveProxy  # noqa: PLC0415
        from shared.live.head_probe import HeadProbe  # noqa: PLC0415
        from shared.live.resolver import LiveResolver  # noqa: PLC0415

        # Two pools: long answers that hold every connection must not keep us from asking heads for their session.
        asking, passing_on = self._clients = [self._heads.client(), self._heads.client()]
        self._resolver = LiveResolver(self._directory, self._heads, self._settings, asking)
        self._running = RunningSessions(HeadProbe(self._heads, self._settings, asking))
        self._proxy = LiveProxy(self._heads, self._settings, passing_on)
        await anyio.to_thread.run_sync(self._directory.watch)

    async def aclose(self) -> None:
        """Stop the watch and close connections."""
        for part in (self._resolver, self._running):
            if part:
                await part.aclose()
        for client in self._clients:
            await client.aclose()
        await anyio.to_thread.run_sync(self._directory.close)

    @property
    def enabled(self) -> bool:
        """False without Kubernetes: every stored session is dead then."""
        return self._directory.enabled

    @property
    def age(self) -> float | None:
        """How old the listing may be, in seconds: 0 while the watch works, None before the first listing. For `Age`, `/readz`, metrics."""
        return self._directory.age()

    async def cluster_of(self, ref: SessionRef, session: Session | None = None) -> LiveCluster | None:
        """The live cluster that answers for this reference now. None: dead, or nowhere; `latest` is the newest dead session then.

        `session` is what the bucket knows of a reference by real name: it tells which of an owner's clusters to ask.
        Raises KubernetesUnavailable when Kubernetes or the head cannot tell.
        """
        return await _started(self._resolver).live_cluster(ref, session) if self._directory.enabled else None

    def revived(self, session: Session) -> LiveCluster | None:
        """The cluster that is known to run a session which was dead when it was loaded: its snapshot is to be dropped, too.

        Only a fault tolerant GCS brings a session back, when its cluster is resumed or its head restarts. Answers from memory, and asks
        the head in the background, so that the visit after the next one knows.
        """
        if not self._directory.enabled:
            return None
        try:
            cluster = self._directory.get(session.namespace, session.cluster)
        except KubernetesUnavailable:
            return None
        if cluster is None or not cluster.fault_tolerant or not cluster.answering:
            return None
        return cluster if _started(self._running).name(cluster) == session.session else None

    async def listing(self) -> list[LiveCluster]:
        """The clusters whose head may be asked, newest first, from the kept listing. Raises KubernetesUnavailable."""
        if not self._directory.enabled:
            return []
        clusters = await anyio.to_thread.run_sync(self._directory.clusters)
        return [cluster for cluster in clusters if cluster.answering]

    async def running(self, clusters: Sequence[LiveCluster]) -> Mapping[str, str]:
        """The names of the sessions that `clusters` run, by `cluster.key`, of those whose head says so quickly: for listings only."""
        return await _started(self._running).names(clusters) if clusters else {}

    async def respond(self, request: Request, cluster: LiveCluster) -> Response:
        """The live dashboard's answer, streamed, to a request at the root or below a session's path.

        Raises KubernetesUnavailable (no head, no token) and InvalidReference (a path that climbs).
        """
        return await _started(self._proxy).respond(request, cluster)


def _started(part: _T | None) -> _T:
    if part is None:
        raise RuntimeError("LiveSessions.start() was not awaited")
    return part
