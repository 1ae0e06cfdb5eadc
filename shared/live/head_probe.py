"""Asking a head's dashboard which session it runs: `GET /api/version`, whose `session_name` is the answer (KubeRay does the same)."""

from __future__ import annotations

import anyio
import anyio.to_thread
import httpx
import msgspec

from shared.errors import InvalidReference, KubernetesUnavailable
from shared.live.decision import HeadAnswer, read_answer
from shared.live.heads import Heads
from shared.live.port import LiveCluster
from shared.metrics import HEAD_CALLS
from shared.sessions import created_at
from shared.settings import LiveSettings

VERSION_PATH = "/api/version"
_LARGEST_ANSWER = 65536
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
# Of the whole deadline: a head that hangs is asked a second time.
_ONE_TRY = 0.45
# Threads that may wait for a Secret at once: an outage of Kubernetes must not take those that read storage.
WAITING_THREADS = 16


class _Version(msgspec.Struct):
    session_name: str = ""


class HeadProbe:
    """One per event loop."""

    def __init__(self, heads: Heads, settings: LiveSettings, client: httpx.AsyncClient) -> None:
        self._heads = heads
        self._deadline = settings.live_check_timeout
        self._client = client
        self._threads = anyio.CapacityLimiter(WAITING_THREADS)

    async def ask(self, cluster: LiveCluster) -> HeadAnswer:
        """Ask until the head names its session or `live_check_timeout` is over. Never raises for what the head does."""
        answer = HeadAnswer(problem="gave no answer in time")
        pause = _FIRST_PAUSE
        with anyio.move_on_after(self._deadline):
            while True:
                answer = await self.once(cluster, within=self._deadline * _ONE_TRY, fresh=answer.refused)
                if answer.session is not None:
                    break
                await anyio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        return answer

    async def once(self, cluster: LiveCluster, *, within: float, fresh: bool = False) -> HeadAnswer:
        """One question, in `within` seconds; `fresh` reads the token's Secret anew. Never raises for what the head does."""
        answer = await self._asked(cluster, within, fresh=fresh)
        HEAD_CALLS.labels("named" if answer.session is not None else "unknown").inc()
        return answer

    async def _asked(self, cluster: LiveCluster, within: float, *, fresh: bool) -> HeadAnswer:
        try:
            with anyio.fail_after(within):
                url = self._heads.url(cluster, VERSION_PATH)
                headers = await self._credentials(cluster, fresh=fresh)
                return await self._get(cluster, url, headers)
        except TimeoutError:
            return HeadAnswer(problem=f"did not answer {VERSION_PATH} within {within:.1f} s")
        except KubernetesUnavailable as exc:
            return HeadAnswer(problem=f"could not be asked: {exc}")
        except httpx.HTTPError as exc:
            return HeadAnswer(problem=f"did not answer {VERSION_PATH} ({type(exc).__name__}: {exc})")

    async def _credentials(self, cluster: LiveCluster, *, fresh: bool) -> dict[str, str]:
        if not self._heads.needs_credentials(cluster):
            return {}
        return await anyio.to_thread.run_sync(
            lambda: self._heads.credentials(cluster, fresh=fresh), limiter=self._threads, abandon_on_cancel=True
        )

    async def _get(self, cluster: LiveCluster, url: httpx.URL, headers: dict[str, str]) -> HeadAnswer:
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


def _session_name(body: bytes) -> str | None:
    """The answer's `session_name`, if it is one."""
    try:
        name = msgspec.json.decode(body, type=_Version).session_name
        created_at(name)
    except (msgspec.DecodeError, InvalidReference):
        return None
    return name
