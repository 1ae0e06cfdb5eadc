"""The live session resolver: finds the live cluster of a reference or a session, by the rules of `decision.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import anyio
import anyio.to_thread
import httpx
from cachetools import TTLCache
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from shared.errors import KubernetesUnavailable, SessionIsLive
from shared.live.decision import Decision, HeadAnswer, State, after_asking, before_asking, outdated
from shared.live.head_probe import WAITING_THREADS, HeadProbe
from shared.live.heads import Heads
from shared.live.port import LiveCluster, LiveDirectory, owned_by
from shared.sessions import LATEST, LIVE, Session, SessionRef
from shared.settings import LiveSettings

_MOST_KEPT = 4096
_WAIT = wait_exponential(multiplier=0.1, max=1.0)


class LiveResolver:
    """Dead or live. Only a head's positive answer is kept, for a moment; an unknown state never is. One per event loop."""

    def __init__(self, directory: LiveDirectory, heads: Heads, settings: LiveSettings, client: httpx.AsyncClient) -> None:
        self._directory = directory
        self._asker = HeadProbe(heads, settings, client)
        self._threads = anyio.CapacityLimiter(WAITING_THREADS)
        self._answers: TTLCache[str, HeadAnswer] = TTLCache(_MOST_KEPT, max(settings.live_check_age, 1e-9))
        self._asking: dict[str, asyncio.Task[HeadAnswer]] = {}

    async def cluster_of(self, ref: SessionRef) -> LiveCluster | None:
        """The running cluster of a `live` or `latest` reference; None when none runs, which makes `latest` the newest dead session.

        A head that is only just starting, or restarting, counts as running. Raises KubernetesUnavailable.
        """
        if not self._directory.enabled:
            return None
        cluster = await anyio.to_thread.run_sync(self._directory.find, ref, limiter=self._threads)
        return cluster if cluster and cluster.answering else None

    async def live_cluster(self, ref: SessionRef, session: Session | None = None) -> LiveCluster | None:
        """The cluster that answers for this very session now; None when the session is dead, or is nowhere.

        `session` is what the bucket knows of it, if anything: it tells which of an owner's clusters to ask.
        Raises KubernetesUnavailable when it cannot be known.
        """
        if ref.session in (LIVE, LATEST):
            return await self.cluster_of(ref)
        if not self._directory.enabled:
            return None
        unknown: KubernetesUnavailable | None = None
        for cluster in await anyio.to_thread.run_sync(self._candidates, ref, session, limiter=self._threads):
            try:
                if await self.is_live(ref.session, cluster):
                    return cluster
            except KubernetesUnavailable as exc:
                unknown = exc
        if unknown:
            raise unknown
        return None

    async def is_live(self, session: str, cluster: LiveCluster | None) -> bool:
        """False means dead. Raises KubernetesUnavailable when the head cannot tell, after retries within the deadline."""
        decision = before_asking(session, cluster)
        if decision.state is State.ASK and cluster is not None:
            decision = after_asking(session, cluster, await self._answer(session, cluster))
        if decision.state is State.UNKNOWN:
            raise KubernetesUnavailable(f"whether {session} is live is not known: {decision.reason}")
        return decision.state is State.LIVE

    async def aclose(self) -> None:
        """Give up questions that are on their way."""
        for task in list(self._asking.values()):
            task.cancel()

    def _candidates(self, ref: SessionRef, session: Session | None) -> Sequence[LiveCluster]:
        if session is not None:
            cluster = self._directory.get(session.namespace, session.cluster)
        elif ref.kind != "raycluster":
            return [c for c in self._directory.clusters() if owned_by(c, ref)]
        else:
            cluster = self._directory.get(ref.namespace, ref.name)
        return [cluster] if cluster else []

    async def _answer(self, session: str, cluster: LiveCluster) -> HeadAnswer:
        """A kept answer, unless it may be older than the session, or one question for all who ask at the same time."""
        key = f"{cluster.key}/{cluster.uid}"
        kept = self._answers.get(key)
        if kept is not None and not outdated(kept, session):
            return kept
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._asker.ask(cluster))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        answer = await asyncio.shield(task)
        if answer.session is not None:
            self._answers[key] = answer
        return answer


def ensure_dead(session: Session, directory: LiveDirectory, heads: Heads, settings: LiveSettings) -> Decision:
    """For a worker, before it reads anything: raises SessionIsLive, or KubernetesUnavailable when it cannot be known.

    Reads the RayCluster anew and keeps neither watch nor answer. Takes at most three times `kubernetes_timeout` (the last of the
    retries, which may have to wait for its turn) and `live_check_timeout`, in seconds; a head is asked only after the first part.
    """
    if not directory.enabled:
        return Decision(State.DEAD, "there is no Kubernetes")
    for attempt in Retrying(
        stop=stop_after_delay(settings.kubernetes_timeout),
        wait=_WAIT,
        retry=retry_if_exception_type(KubernetesUnavailable),
        reraise=True,
    ):
        with attempt:
            cluster = directory.fetch(session.namespace, session.cluster)
    decision = before_asking(session.session, cluster)
    if decision.state is State.ASK and cluster is not None:
        decision = after_asking(session.session, cluster, asyncio.run(_ask(cluster, heads, settings)))
    if decision.state is State.LIVE:
        raise SessionIsLive(f"{session.session} is live: {decision.reason}")
    if decision.state is not State.DEAD:
        raise KubernetesUnavailable(f"whether {session.session} is live is not known: {decision.reason}")
    return decision


async def _ask(cluster: LiveCluster, heads: Heads, settings: LiveSettings) -> HeadAnswer:
    async with heads.client() as client:
        return await HeadProbe(heads, settings, client).ask(cluster)
