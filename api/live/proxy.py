"""The streaming proxy to a live cluster's dashboard. Bodies pass in chunks, both ways: memory does not grow with them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import httpx
import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.errors import dashboard_problem as problem
from api.live.headers import to_client, to_head
from api.live.websocket_tail import tail
from api.websocket import WEBSOCKET
from shared.errors import KubernetesUnavailable
from shared.live.decision import explain_refusal
from shared.live.head_probe import WAITING_THREADS
from shared.live.heads import Heads
from shared.live.port import LiveCluster
from shared.settings import LiveSettings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOST_CONNECTION = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
_LARGEST_EXPLAINED = 16384
_RETRY_AFTER = 5.0
# Starlette's path parameters that a session's path has before the dashboard's own path.
_SESSION_SEGMENTS = 6


class _KubernetesStatus(msgspec.Struct):
    kind: str = ""
    message: str = ""


class LiveProxy:
    """Passes requests on to heads. One per event loop."""

    def __init__(self, heads: Heads, settings: LiveSettings, client: httpx.AsyncClient) -> None:
        self._heads = heads
        self._settings = settings
        self._client = client
        self._threads = anyio.CapacityLimiter(WAITING_THREADS)

    async def respond(self, request: Request, cluster: LiveCluster) -> Response:
        """The dashboard's answer to a request of the root or of a session's path; a problem body when there is none.

        Raises KubernetesUnavailable (no head, no token) and InvalidReference (a path that climbs).
        """
        prefix, path = split_path(request)
        refused = self._refusal(request)
        if refused:
            return refused
        url = self._heads.url(cluster, path, request.scope["query_string"].decode("latin-1"))
        try:
            answer = await self._send(request, cluster, url)
        except httpx.PoolTimeout:
            return _gateway(503, "head_busy", "every connection to live dashboards is in use (RAY_HISTORY_PROXY_CONNECTIONS)")
        except (httpx.TimeoutException, TimeoutError) as exc:
            return _gateway(504, "head_timeout", f"the head of RayCluster {cluster.key} did not answer in time ({type(exc).__name__})")
        except httpx.HTTPError as exc:
            return _gateway(
                502, "head_unreachable", f"the head of RayCluster {cluster.key} cannot be reached ({type(exc).__name__}: {exc})"
            )
        body: bytes | None = None
        if answer.status_code in (401, 403, 404, 502, 503, 504):
            try:
                body = await self._short_body(answer)
            except httpx.HTTPError as exc:
                await answer.aclose()
                detail = f"the head of RayCluster {cluster.key} broke off its answer ({type(exc).__name__}: {exc})"
                return _gateway(502, "head_unreachable", detail)
            explained = await self._explained(answer, body, cluster)
            if explained:
                return explained
        origin = str(self._heads.url(cluster, "/")).rstrip("/")
        return ProxiedResponse(answer, to_client(answer.headers.raw, origin=origin, prefix=prefix), body)

    def _refusal(self, request: Request) -> Response | None:
        method = request.method
        if method not in self._settings.methods:
            allowed = ", ".join(sorted(self._settings.methods))
            detail = f"live dashboards are open to {allowed} here (RAY_HISTORY_PROXY_METHODS)"
            answer = problem(405, "method_not_allowed", detail)
            answer.headers["allow"] = allowed
            return answer
        if method not in SAFE_METHODS and request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return problem(403, "cross_site", "another site may not change a live cluster")
        return None

    async def _send(self, request: Request, cluster: LiveCluster, url: httpx.URL) -> httpx.Response:
        """The answer's head, its body still to come. A token that is refused is read anew once: it may have been replaced."""
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        credentials = await self._credentials(cluster, fresh=False)
        try:
            answer = await self._once(request, cluster, url, credentials, has_body=has_body)
        except LOST_CONNECTION:
            # A head may close a kept connection at the moment that it is used again.
            if has_body or request.method not in SAFE_METHODS:
                raise
            answer = await self._once(request, cluster, url, credentials, has_body=False)
        if answer.status_code in (401, 403) and cluster.auth == "token" and not has_body:
            renewed = await self._renewed(cluster, credentials)
            if renewed:
                await answer.aclose()
                answer = await self._once(request, cluster, url, renewed, has_body=False)
        return answer

    async def _once(
        self, request: Request, cluster: LiveCluster, url: httpx.URL, credentials: dict[str, str], *, has_body: bool
    ) -> httpx.Response:
        headers = to_head(request.headers.raw, credentials, client_token=cluster.auth == "kubernetes")
        if WEBSOCKET in request.scope:
            with anyio.fail_after(self._settings.proxy_answer_timeout):
                return await tail(url, headers, tls=self._heads.tls, server_name=self._heads.tls_server_name, proxy=self._heads.way_out)
        sent = self._client.build_request(
            request.method,
            url,
            headers=headers,
            content=request.stream() if has_body else None,
            extensions={**self._heads.extensions, "timeout": self._client.timeout.as_dict()},
        )
        with anyio.fail_after(self._settings.proxy_answer_timeout):
            return await self._client.send(sent, stream=True)

    async def _credentials(self, cluster: LiveCluster, *, fresh: bool) -> dict[str, str]:
        if not self._heads.needs_credentials(cluster):
            return {}
        return await anyio.to_thread.run_sync(
            lambda: self._heads.credentials(cluster, fresh=fresh), limiter=self._threads, abandon_on_cancel=True
        )

    async def _renewed(self, cluster: LiveCluster, used: dict[str, str]) -> dict[str, str] | None:
        try:
            credentials = await self._credentials(cluster, fresh=True)
        except KubernetesUnavailable:
            return None  # the refusal is what is known
        return credentials if credentials != used else None

    async def _short_body(self, answer: httpx.Response) -> bytes | None:
        """What may be the API server's own word, as it came, before any encoding is undone; None: it is not read."""
        length = int(answer.headers.get("content-length") or 0)
        if (
            not self._heads.through_api_server
            or "json" not in answer.headers.get("content-type", "")
            or not 0 < length <= _LARGEST_EXPLAINED
        ):
            return None
        return b"".join([chunk async for chunk in answer.aiter_raw()])

    async def _explained(self, answer: httpx.Response, body: bytes | None, cluster: LiveCluster) -> Response | None:
        """A problem body for a refusal of the dashboard, or for what the API server says instead of it; None: pass the answer on."""
        kubernetes = body and _kubernetes_status(answer, body)
        if kubernetes:
            await answer.aclose()
            detail = f"the API server cannot pass requests on to the head of RayCluster {cluster.key}: {kubernetes}"
            return _gateway(504 if answer.status_code == 504 else 502, "head_unreachable", detail)
        if answer.status_code in (401, 403):
            await answer.aclose()
            code = "head_unauthorized" if answer.status_code == 401 else "head_forbidden"
            detail = f"the dashboard of RayCluster {cluster.key} {explain_refusal(answer.status_code, cluster)}"
            return problem(answer.status_code, code, detail)
        return None


class ProxiedResponse(StreamingResponse):
    """A head's answer on its way; the connection to the head is given back however this one ends."""

    def __init__(self, answer: httpx.Response, headers: list[tuple[bytes, bytes]], body: bytes | None = None) -> None:
        """`body`: all of it, where it was read already."""
        self._answer = answer
        self._body = body
        super().__init__(self._chunks(), answer.status_code)
        self.raw_headers = headers

    async def _chunks(self) -> AsyncIterator[bytes]:
        if self._body is not None:
            yield self._body
            return
        async for chunk in self._answer.aiter_raw():
            yield chunk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._answer.aclose()


def split_path(request: Request) -> tuple[str, str]:
    """The dashboard's prefix here (`/sessions/a/b/c/d/dashboard` or nothing) and the path below it, percent-encoded as sent."""
    raw = request.scope.get("raw_path") or request.url.path.encode()
    path = raw.decode("latin-1").removeprefix(request.scope.get("root_path", ""))
    parts = path.split("/")
    if parts[:2] == ["", "sessions"] and len(parts) > _SESSION_SEGMENTS and parts[_SESSION_SEGMENTS] == "dashboard":
        cut = _SESSION_SEGMENTS + 1
        return "/".join(parts[:cut]), "/" + "/".join(parts[cut:])
    return "", path


def _gateway(status: int, code: str, detail: str) -> Response:
    """What only a gateway can say; it may be otherwise soon."""
    return problem(status, code, detail, retry_after=_RETRY_AFTER)


def _kubernetes_status(answer: httpx.Response, body: bytes) -> str | None:
    """The message of the API server's own `Status` object, if that is what the answer holds. `body`: in the answer's encoding."""
    try:
        plain = httpx.Response(answer.status_code, headers=answer.headers, content=body).content
        status = msgspec.json.decode(plain, type=_KubernetesStatus)
    except (msgspec.DecodeError, httpx.DecodingError):
        return None
    return status.message or "no reason given" if status.kind == "Status" else None
