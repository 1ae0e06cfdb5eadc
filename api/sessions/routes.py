"""`/clusters`, `/sessions`, `/enter_cluster`, and the load status of one session."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypeVar, cast
from urllib.parse import quote

import anyio
import msgspec
from fastapi import APIRouter, Query, Request, Response
from sse_starlette import EventSourceResponse
from starlette.types import Receive, Scope, Send

from api.access.caller import may, visible_namespaces
from api.access.limits import CallerLimits
from api.audit import audit
from api.browser_guard import is_cross_site
from api.documented import Kind, Name, Namespace, Responses, SessionName, answer, one_of, valid_if
from api.errors import problem
from api.pages.navigation import by_accept, dashboard_path, is_navigation, same_site, send_on
from api.pages.routes import sessions_page
from api.sessions import listing
from api.sessions.cookies import cookie_headers, reference_of
from api.sessions.service import Entered, Sessions
from shared.errors import HistoryError, InvalidReference, SessionNotFound
from shared.live.port import LiveCluster
from shared.sessions import KINDS, LATEST, LIVE, Session, SessionRef
from shared.settings import Settings
from shared.store.client import AsyncRedis
from shared.store.keys import Keyspace
from shared.store.load_status import FINAL, listed_states

router = APIRouter()

_SESSION = "/sessions/{namespace}/{kind}/{name}/{session}"
_PREFER_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9.]+)", re.IGNORECASE)
_RETRY_AFTER = "1"
_encode = msgspec.json.Encoder().encode
Redirect = Annotated[str, valid_if(r"(/([A-Za-z0-9#][A-Za-z0-9_.#-]*)?)?", "A path of this site.")]
Wait = Annotated[str | None, valid_if(r"\d{1,2}", "Seconds to hold the answer until the session is loaded.")]
_ENTERING: Responses = {
    202: answer("It is loaded now: the load status in `status`, its address in `Location`"),
    302: answer("With `redirect`: to that page, once it is loaded", ""),
    303: answer("With `redirect`: a browser, to the loading page", ""),
}
_Route = TypeVar("_Route", bound=Callable[..., Any])


def _get(path: str, *others: str, **documented: Any) -> Callable[[_Route], _Route]:
    """A route for GET, and for HEAD as HTTP has it; the server sends no body then. `others`: paths that old clients write."""

    def register(route: _Route) -> _Route:
        for spelling in (path, *others):
            router.head(spelling, include_in_schema=False)(route)
            router.get(spelling, include_in_schema=spelling == path, **documented)(route)
        return route

    return register


def _sessions(request: Request) -> Sessions:
    return cast("Sessions", request.app.state.sessions)


def _settings(request: Request) -> Settings:
    return cast("Settings", request.app.state.settings)


@_get("/clusters", "/clusters/")
async def clusters(request: Request) -> Response:
    service = _sessions(request)
    live, stored = await _visible(request)
    rows = listing.cluster_rows(live, stored)
    return _json(rows, headers=_listed(service))


@_get("/sessions", "/sessions/", responses={200: {"description": "The sessions; for browsers their page", "content": {"text/html": {}}}})
async def sessions(
    request: Request,
    q: str = "",
    namespace: str = "",
    kind: Annotated[str, one_of("", *KINDS)] = "",
    state: Annotated[str, one_of("", *listing.STATES, *listing.WANTING)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str, valid_if(f"({listing.CURSOR})?", "`next` of the page before.")] = "",
) -> Response:
    """Every session that is stored or runs, the newest first."""
    if is_navigation(request):
        return await sessions_page(request)
    kind, state = kind.lower(), state.lower()
    listing.check_filters(kind, state)
    service = _sessions(request)
    live, stored = await _visible(request)
    rows = [listing.live_row(cluster) for cluster in live] + [listing.session_row(session) for session in stored]
    by_ref = {str(session.ref): session.key for session in stored}
    rows = sorted((row for row in rows if listing.wanted(row, q, namespace, kind)), key=listing.order, reverse=True)
    if state:
        await _fill_states(request, rows, by_ref)
        rows = [row for row in rows if listing.has_state(row, state)]
    total = len(rows)
    if cursor:
        after = listing.read_cursor(cursor)
        rows = [row for row in rows if listing.order(row) < after]
    page = rows[:limit]
    if not state:
        await _fill_states(request, page, by_ref)
    following = listing.make_cursor(page[-1]) if len(rows) > len(page) else None
    return by_accept(_json({"sessions": page, "next": following, "total": total}, headers=_listed(service)))


async def _visible(request: Request) -> tuple[list[LiveCluster], list[Session]]:
    """The live clusters, and the stored sessions that none of them runs, of the namespaces that the caller may see."""
    cast("CallerLimits", request.app.state.limits).note_listing()
    service = _sessions(request)
    live = await service.live.listing()
    stored = await anyio.to_thread.run_sync(service.catalogue.sessions)
    seen = await visible_namespaces([*{cluster.namespace for cluster in live}, *{session.namespace for session in stored}])
    live = [cluster for cluster in live if cluster.namespace in seen]
    running = set((await service.live.running(live)).values()) if live else set()
    return live, [session for session in stored if session.namespace in seen and session.session not in running]


def _listed(service: Sessions) -> dict[str, str]:
    """A listing of live clusters may be old while Kubernetes does not answer: its `Age` says so."""
    age = service.live.age if service.live.enabled else None
    return {"Cache-Control": "no-cache"} | ({"Age": str(round(age))} if age else {})


async def _fill_states(request: Request, rows: list[dict[str, Any]], by_ref: dict[str, str]) -> None:
    stored = [row for row in rows if not row["live"]]
    redis, keyspace = cast("AsyncRedis", request.app.state.redis), cast("Keyspace", request.app.state.keyspace)
    keys = [keyspace.session(by_ref[row["ref"]]) for row in stored]
    for row, found in zip(stored, await listed_states(redis, keys), strict=True):
        listing.fill_state(row, found)


@_get("/enter_cluster/{namespace}/{kind}/{name}", "/enter_cluster/{namespace}/{kind}/{name}/", responses=_ENTERING)
async def enter_latest(
    request: Request, namespace: Namespace, kind: Kind, name: Name, redirect: Redirect = "", wait: Wait = None
) -> Response:  # fmt: skip
    """The latest session of a cluster, else as with a session's name."""
    if kind.lower() not in KINDS and name.startswith(("session_", LATEST, LIVE)):
        # Older clients: /enter_cluster/{namespace}/{cluster}/{session}
        return await enter_cluster(request, namespace, "raycluster", kind, name, redirect, wait)
    return await enter_cluster(request, namespace, kind, name, LATEST, redirect, wait)


@_get("/enter_cluster/{namespace}/{kind}/{name}/{session}", "/enter_cluster/{namespace}/{kind}/{name}/{session}/", responses=_ENTERING)
async def enter_cluster(
    request: Request, namespace: Namespace, kind: Kind, name: Name, session: SessionName, redirect: Redirect = "", wait: Wait = None
) -> Response:
    """KubeRay's way in. 200 and cookies when live or loaded, 202 while it is loaded.

    With `redirect`, a path of this site: 302 in place of 200, and the loading page for browsers in place of 202.
    """
    ref = SessionRef.of(namespace, kind, name, session)
    target = same_site(redirect) if redirect else ""
    service, patience = _sessions(request), _wait(request, wait)
    holds = _settings(request).api.enter_wait if patience is None else 0.0
    entered = await service.enter_loaded(ref, patience or holds)
    found = SessionRef(namespace, ref.kind, name, LIVE) if entered.cluster else _real_name(ref, entered)
    audit("entered", found)
    if entered.cluster or entered.generation:
        if target and not _takes_cookies(request):
            # The same page by the session's own path needs none.
            target = dashboard_path(found, target)
        return _with_cookies(request, found, send_on(request, target, 302) if target else _entered(found, "success"))
    if target and is_navigation(request):
        # The loading page comes back here, for fresh cookies.
        return _with_cookies(request, found, send_on(request, f"/sessions/{found}/?redirect={quote(target, safe='')}"))
    if holds:
        return problem(503, "loading", f"session {found} is still being loaded", retry_after=float(_RETRY_AFTER))
    answer = _entered(found, "loading", 202, status=await service.status(found))
    answer.headers.update({"Location": f"/sessions/{found}", "Retry-After": _RETRY_AFTER})
    return _with_cookies(request, found, answer)


@_get("/entered_cluster")
async def entered_cluster(request: Request) -> Response:
    """Which session the cookies name: what the sessions page opens when it is asked for a page of the dashboard (`/#/jobs`)."""
    ref = reference_of(request.cookies)
    if not await may(ref.namespace, "see"):
        raise SessionNotFound(f"there is no session {ref}")
    return _json({"ref": str(ref), "namespace": ref.namespace, "kind": ref.kind, "name": ref.name, "session": ref.session})


def _real_name(ref: SessionRef, entered: Entered) -> SessionRef:
    """The reference with its session's real name instead of `latest`."""
    session = entered.session.session if entered.session else ref.session
    return SessionRef(ref.namespace, ref.kind, ref.name, session)


def _entered(ref: SessionRef, result: str, code: int = 200, **more: Any) -> Response:
    body = {"result": result, "name": ref.name, "namespace": ref.namespace, "session": ref.session, **more}
    return _json(body, code, headers={"Cache-Control": "no-store"})


def _with_cookies(request: Request, ref: SessionRef, response: Response) -> Response:
    if _takes_cookies(request):
        response.raw_headers.extend(cookie_headers(ref, _settings(request).api.cookie_age))
    return response


def _takes_cookies(request: Request) -> bool:
    """Not for a page of another site: it would choose the session that the visitor's other tabs show."""
    return _settings(request).api.cookie_sessions and not is_cross_site(request.scope["headers"])


@_get(_SESSION)
async def load_status(request: Request, namespace: Namespace, kind: Kind, name: Name, session: SessionName) -> Response:
    """The record that clients poll."""
    return _record(await _sessions(request).status(SessionRef.of(namespace, kind, name, session)))


@router.post(_SESSION + "/load", responses={202: answer("The load status, while it is loaded")})
async def load(request: Request, namespace: Namespace, kind: Kind, name: Name, session: SessionName, *, force: bool = False) -> Response:
    """Claim and enqueue; 200 when it is loaded already, unless `force` asks to load it anew."""
    ref = SessionRef.of(namespace, kind, name, session)
    service = _sessions(request)
    entered = await service.enter(ref, force=force)
    record = await service.status(_real_name(ref, entered))
    return _record(
        record, 200 if entered.cluster or (entered.generation and not force) else 202, location=f"/sessions/{_real_name(ref, entered)}"
    )


@router.delete(_SESSION, status_code=204)
async def evict(request: Request, namespace: Namespace, kind: Kind, name: Name, session: SessionName) -> Response:
    await _sessions(request).evict(SessionRef.of(namespace, kind, name, session))
    return Response(status_code=204)


class _LoadEvents(EventSourceResponse):
    """Counted until it has ended, however it does."""

    media_type = "text/event-stream"

    def __init__(self, changes: AsyncIterator[dict[str, str]], limits: CallerLimits) -> None:
        super().__init__(changes, ping=15, headers={"Cache-Control": "no-store"})
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._limits.end_stream()


@_get(_SESSION + "/events", response_class=_LoadEvents, status_code=200)
async def load_events(request: Request, namespace: Namespace, kind: Kind, name: Name, session: SessionName) -> Response:
    """The same record as server-sent events (`event: status`), until it is final; `event: problem` when it can't be told any more."""
    ref = SessionRef.of(namespace, kind, name, session)
    service = _sessions(request)
    limits = cast("CallerLimits", request.app.state.limits)
    limits.begin_stream()
    try:
        await service.status(ref)  # what is wrong with the reference is said with a status code
    except BaseException:
        limits.end_stream()
        raise

    async def changes() -> AsyncIterator[dict[str, str]]:
        try:
            async for record in service.follow(ref):
                yield {"event": "status", "data": _encode(record).decode()}
        except HistoryError as exc:
            # Too late for a status code. Whoever reads this may connect again.
            yield {"event": "problem", "data": _encode({"code": exc.code, "detail": str(exc)}).decode()}

    return _LoadEvents(changes(), limits)


def _record(record: dict[str, Any], status: int = 200, location: str = "") -> Response:
    headers = {"Cache-Control": "no-store"}
    if location:
        headers["Location"] = location
    if record["state"] not in FINAL:
        headers["Retry-After"] = _RETRY_AFTER
    return _json(record, status, headers=headers)


def _wait(request: Request, given: str | None) -> float | None:
    """Seconds that the client would wait: `?wait=N` or `Prefer: wait=N` (RFC 7240), at most the configured limit; None: it does not say."""
    if given is None:
        found = _PREFER_WAIT.search(request.headers.get("prefer", ""))
        if not found:
            return None
        given = found[1]
    try:
        seconds = float(given)
    except ValueError:
        raise InvalidReference(f"wait={given!r} is no number of seconds") from None
    if not 0 <= seconds < float("inf"):
        raise InvalidReference(f"wait={given!r} is no number of seconds")
    return min(seconds, _settings(request).api.wait_limit)


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(_encode(body), status, headers, media_type="application/json")
