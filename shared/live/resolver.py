"""The live session resolver: asks heads which session they run, and finds the live cluster of a reference or a session."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import anyio
import httpx
import msgspec
from cachetools import TTLCache
from tenacity import AsyncRetrying, RetryError, Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_exponential

from shared.errors import InvalidReference, KubernetesUnavailable, SessionIsLive
from shared.live.decision import Decision, HeadAnswer, State, after_asking, before_asking, read_answer
from shared.live.heads import Heads
from shared.live.owners import owned_by
from shared.live.port import LiveCluster, LiveDirectory
from shared.sessions import LATEST, LIVE, Session, SessionRef, created_at
from shared.settings import LiveSettings

VERSION_PATH = "/api/version"
_LARGEST_ANSWER = 65536
_MOST_KEPT = 4096
_WAIT = wait_exponential(multiplier=0.1, max=1.0)


class _Version(msgspec.Struct):
    session_name: str = ""


class LiveResolver:
    """Dead or live. Only a head's positive answer is kept, for a moment; an unknown state never is. One per event loop."""

    def __init__(self, directory: LiveDirectory, heads: Heads, settings: LiveSettings, client: httpx.AsyncClient) -> None:
        self._directory = directory
        self._heads = heads
        self._settings = settings
        self._client = client
        self._answers: TTLCache[str, HeadAnswer] = TTLCache(_MOST_KEPT, max(settings.live_check_age, 1e-9))
        self._asking: dict[str, asyncio.Task[HeadAnswer]] = {}

    async def cluster_of(self, ref: SessionRef) -> LiveCluster | None:
        """The running cluster of a `live` or `latest` reference; None when none runs, which makes `latest` the newest dead session.

        A head that is only just starting, or restarting, counts as running. Raises KubernetesUnavailable.
        """
        if not self._directory.enabled:
            return None
        cluster = await anyio.to_thread.run_sync(self._directory.find, ref)
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
        for cluster in await anyio.to_thread.run_sync(self._candidates, ref, session):
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
            decision = after_asking(session, cluster, await self._answer(cluster))
        if decision.state is State.UNKNOWN:
            raise KubernetesUnavailable(f"whether {session} is live is not known: {decision.reason}")
        return decision.state is State.LIVE

    def _candidates(self, ref: SessionRef, session: Session | None) -> Sequence[LiveCluster]:
        if session is not None:
            cluster = self._directory.get(session.namespace, session.cluster)
        elif ref.kind != "raycluster":
            return [c for c in self._directory.clusters() if owned_by(c, ref)]
        else:
            cluster = self._directory.get(ref.namespace, ref.name)
        return [cluster] if cluster else []

    async def _answer(self, cluster: LiveCluster) -> HeadAnswer:
        """A kept answer, or one question for all who ask at the same time."""
        key = f"{cluster.key}/{cluster.uid}"
        kept = self._answers.get(key)
        if kept is not None:
            return kept
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self.ask(cluster))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        answer = await asyncio.shield(task)
        if answer.session is not None:
            self._answers[key] = answer
        return answer

    async def ask(self, cluster: LiveCluster) -> HeadAnswer:
        """Ask the head until it names its session or the deadline is over. Never raises for what the head does."""
        answer = HeadAnswer(problem="gave no answer in time")
        with anyio.move_on_after(self._settings.live_check_timeout):
            try:
                async for attempt in AsyncRetrying(
                    stop=stop_after_delay(self._settings.live_check_timeout),
                    wait=_WAIT,
                    retry=retry_if_result(lambda last: last.session is None),
                ):
                    with attempt:
                        answer = await self._ask_once(cluster, fresh=attempt.retry_state.attempt_number > 1)
                    attempt.retry_state.set_result(answer)
            except RetryError:
                pass
        return answer

    async def _ask_once(self, cluster: LiveCluster, *, fresh: bool) -> HeadAnswer:
        try:
            url = self._heads.url(cluster, VERSION_PATH)
            headers = {}
            if self._heads.needs_credentials(cluster):
                headers = await anyio.to_thread.run_sync(lambda: self._heads.credentials(cluster, fresh=fresh))
            request = self._client.build_request("GET", url, headers=headers, extensions=self._heads.extensions)
            response = await self._client.send(request, stream=True)
            try:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > _LARGEST_ANSWER:
                        return HeadAnswer(problem=f"answered more than {_LARGEST_ANSWER} bytes to {VERSION_PATH}")
            finally:
                await response.aclose()
            return read_answer(response.status_code, bytes(body), _session_name(bytes(body)), cluster)
        except KubernetesUnavailable as exc:
            return HeadAnswer(problem=f"could not be asked: {exc}")
        except httpx.HTTPError as exc:
            return HeadAnswer(problem=f"did not answer {VERSION_PATH} ({type(exc).__name__}: {exc})")


def ensure_dead(session: Session, directory: LiveDirectory, heads: Heads, settings: LiveSettings) -> Decision:
    """For a worker, before it reads anything: raises SessionIsLive, or KubernetesUnavailable when it cannot be known.

    Reads the RayCluster anew, keeps no watch and no answer, and takes at most `kubernetes_timeout` + `live_check_timeout` seconds.
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
        decision = after_asking(session.session, cluster, asyncio.run(_ask(cluster, directory, heads, settings)))
    if decision.state is State.LIVE:
        raise SessionIsLive(f"{session.session} is live: {decision.reason}")
    if decision.state is not State.DEAD:
        raise KubernetesUnavailable(f"whether {session.session} is live is not known: {decision.reason}")
    return decision


async def _ask(cluster: LiveCluster, directory: LiveDirectory, heads: Heads, settings: LiveSettings) -> HeadAnswer:
    async with heads.client() as client:
        return await LiveResolver(directory, heads, settings, client).ask(cluster)


def _session_name(body: bytes) -> str | None:
    """The answer's `session_name`, if it is one."""
    try:
        name = msgspec.json.decode(body, type=_Version).session_name
        created_at(name)
    except (msgspec.DecodeError, InvalidReference):
        return None
    return name
