"""The dashboard as one ASGI app: its routes, behind what is the same for all of them.

Finds the session, waits a while for its load, passes requests of live sessions on, answers 304, packs bodies, and keeps
whole answers in the replica's bounded cache: snapshots never change, so an answer is good for as long as its generation.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from api import compression
from api.audit import audit_live, require
from api.dashboard import answers
from api.dashboard.encoding import Answer, Headers, encode_stream, encoded, tagged
from api.dashboard.routing import DashboardRoutes, DashboardScope, is_browser, passed_on_by_ray
from api.dashboard.version_check import go_on, is_version_check
from api.errors import dashboard_problem, history_problem, problem
from api.sessions.cookies import cookie_headers, reference_of
from api.sessions.service import Entered, Sessions
from api.snapshots.fields import BlockCache
from api.snapshots.reader import SnapshotReader
from shared.errors import HistoryError, InvalidReference, LoadFailed, NoSessionChosen, SessionNotFound, SnapshotGone
from shared.sessions import LIVE, SessionRef
from shared.settings import ApiSettings

# A larger share of the cache is not given to one answer.
_LARGEST_SHARE = 8
_LOG_ANSWERS_KEPT = 60
_READ_METHODS = ("GET", "HEAD")
# The frontend's question for a token changes nothing.
_HARMLESS_POST = "/api/authenticate"
_SHARE_OF_TIMEOUT = 0.9
# Clients take its 404 for a Ray that has no Jobs API.
_VERSION = "/api/version"
_PARTS = ("namespace", "kind", "name", "session")
# A dashboard asks for one session again and again.
_reference = lru_cache(maxsize=1024)(SessionRef.of)
# No route of the Ray dashboard begins so: a path that is none of our own either is a mistake, not a question about a session.
_OURS = ("clusters", "sessions", "enter_cluster")


class Dashboard:
    """The ASGI app. `state` is the outer app's."""

    def __init__(self, routes: DashboardRoutes, state: Any, settings: ApiSettings) -> None:
        self._routes = routes
        self._state = state
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await PlainTextResponse("404: Not Found", 404)(scope, receive, send)
            return
        try:
            await self._respond(scope, receive, send)
        except HistoryError as exc:
            answer = await go_on() if is_version_check(scope) else _problem(exc, scope)
            await answer(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        parts = scope.get("path_params", {})
        by_path = "namespace" in parts
        if not by_path and (names := scope["path"].split("/"))[1:2] and names[1] in _OURS:
            if ".." in names:
                raise InvalidReference("a path may not climb")
            return await problem(404, "not_found", f"there is no {scope['path']}")(scope, receive, send)
        ref = _reference(*(parts[part] for part in _PARTS)) if by_path else self._chosen(request)
        if not by_path and ref.session != LIVE and not self._routes.may_know(scope["path"]):
            # Files of a frontend that is served elsewhere, say by a dashboard that proxies to us: not worth a load.
            return await answers.not_found()(scope, receive, send)
        changes = scope["method"] not in _READ_METHODS and not scope["path"].endswith(_HARMLESS_POST)
        checks = is_version_check(scope)
        sessions = cast("Sessions", self._state.sessions)
        cookies: Sequence[tuple[bytes, bytes]] = () if by_path else cookie_headers(ref, self._settings.cookie_age)
        sending = _with_cookies(send, cookies)
        for last in (False, True):
            try:
                entered = await sessions.enter_loaded(ref, 0 if changes or checks else self._wait(request))
            except LoadFailed:
                if not changes:
                    raise
                return await _ended(scope)(scope, receive, send)
            if entered.cluster is not None:
                await require(ref, "live")
                audit_live(entered.cluster.key, scope["method"])
                # The proxy wants the path as it was sent, not below a mount.
                outer = {**scope, "root_path": scope.get("app_root_path", "")}
                response = await sessions.live.respond(Request(outer, receive), entered.cluster)
                return await response(outer, receive, sending)
            if changes:
                return await _ended(scope)(scope, receive, send)
            if checks:
                return await (await go_on(self._reader(entered) if entered.generation else None))(scope, receive, send)
            if not entered.generation:
                return await self._still_loading(entered)(scope, receive, send)
            if scope["method"] not in _READ_METHODS:
                response = await self._routes.respond(scope, receive, self._scope(entered, is_browser(scope["headers"])))
                return await response(scope, receive, sending)
            await sessions.note_use(entered)
            try:
                return await self._answer(entered, request, sending)
            except SnapshotGone:
                if last:
                    raise
        return None

    def _chosen(self, request: Request) -> SessionRef:
        """The session of the cookies. Raises NoSessionChosen and InvalidReference."""
        if not self._settings.cookie_sessions:
            raise NoSessionChosen("sessions have their own paths here: /sessions/{namespace}/{kind}/{name}/{session}/dashboard/")
        return reference_of(request.cookies)

    def _scope(self, entered: Entered, browser: bool) -> DashboardScope:
        assert entered.session is not None  # noqa: S101 - a generation is a stored session's
        reader = self._reader(entered)
        return DashboardScope(entered.session, entered.generation, reader, self._state.storage, browser, self._settings.grafana_url)

    def _reader(self, entered: Entered) -> SnapshotReader:
        assert entered.session is not None  # noqa: S101
        keys = self._state.keyspace.session(entered.session.key)
        return SnapshotReader(self._state.redis, keys, entered.generation, self._state.cache)

    def _still_loading(self, entered: Entered) -> Response:
        assert entered.session is not None  # noqa: S101
        ref = entered.session.ref
        detail = f"session {ref} is being loaded: ask again in a moment"
        return dashboard_problem(503, "loading", detail, retry_after=2, location=f"/sessions/{ref}")

    def _wait(self, request: Request) -> float:
        """Seconds to wait for a load: a little less than the client's own `timeout`, so that it gets our answer and not its error."""
        given = request.query_params.get("timeout") if b"timeout=" in request.scope["query_string"] else None
        try:
            seconds = self._settings.dashboard_wait if given is None else float(given) * _SHARE_OF_TIMEOUT
        except ValueError:
            seconds = 0.0  # the route says what is wrong with it
        return min(self._settings.dashboard_wait, seconds) if seconds > 0 else 0.0

    async def _answer(self, entered: Entered, request: Request, send: Send) -> None:
        assert entered.session is not None  # noqa: S101
        scope = request.scope
        headers: Headers = scope["headers"]
        browser, encoding = is_browser(headers), _encoding(headers)
        key = _key(entered, scope, encoding, browser=browser)
        if (known := _header(headers, b"if-none-match")) and (tag := _tag(key, encoding)) in known:
            await send({"type": "http.response.start", "status": 304, "headers": tagged([], tag)})
            await send({"type": "http.response.body"})
            return
        cache = cast("BlockCache", self._state.cache)
        cache_key = (entered.session.key, entered.generation, key)
        answer = cast("Answer | None", cache.get(cache_key))
        if answer is None:
            answer = await self._made(entered, request, send, _tag(key, encoding), encoding, browser=browser)
            if answer is None:
                return
            size = answer.size
            if answer.status == 200 and size * _LARGEST_SHARE <= self._settings.block_cache and scope["method"] != "HEAD":
                cache.put(cache_key, answer, size)
        status = answer.status
        if status == 404 and answer.body != [answers.NOT_FOUND] and passed_on_by_ray(headers):
            # A Ray dashboard in front takes 404 for "ask your own cluster", which may well have a job of the same id.
            status = 410
        await send({"type": "http.response.start", "status": status, "headers": answer.headers})
        *others, last = [b""] if scope["method"] == "HEAD" else answer.body
        for piece in others:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": last})

    async def _made(self, entered: Entered, request: Request, send: Send, tag: bytes, encoding: str, *, browser: bool) -> Answer | None:
        """A route's answer; None if it was streamed."""
        scope, streaming = request.scope, False
        try:
            async with cast("Sessions", self._state.sessions).reading(entered):
                response = await self._routes.respond(scope, request.receive, self._scope(entered, browser))
                if isinstance(response, StreamingResponse):
                    response = await encode_stream(response, tag, encoding, head=scope["method"] == "HEAD")
                    streaming = True
                    await response(scope, request.receive, send)
                    return None
        except HistoryError as exc:
            if streaming:
                raise RuntimeError("too late for another answer: this one is cut off") from exc
            raise
        return await encoded(response, tag, encoding)


def _problem(exc: HistoryError, scope: Scope) -> Response:
    if isinstance(exc, SessionNotFound) and (passed_on_by_ray(scope["headers"]) or scope["path"].rstrip("/").endswith(_VERSION)):
        return dashboard_problem(410, exc.code, str(exc))
    return history_problem(exc, dashboard_problem)


def _ended(scope: Scope) -> Response:
    """Whatever would change a cluster."""
    detail = f"{scope['method']} {scope['path']}: the session has ended; it can be read, but nothing can be changed in it any more"
    answer = dashboard_problem(405, "session_ended", detail)
    answer.headers["Allow"] = ", ".join(_READ_METHODS)
    return answer


def _encoding(headers: Headers) -> str:
    """A Ray dashboard in front says what its browser accepts, and serves its own cluster's answer where it cannot unpack ours: no zstd."""
    accepted = _header(headers, b"accept-encoding").decode("latin-1")
    return compression.choose("gzip" if "gzip" in accepted and passed_on_by_ray(headers) else accepted)


def _header(headers: Headers, name: bytes) -> bytes:
    return next((value for found, value in headers if found == name), b"")


def _key(entered: Entered, scope: Scope, encoding: str, *, browser: bool) -> str:
    """What an answer depends on."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    # Log files are read from the bucket on demand, and a collector's last upload may come late.
    minute = int(time.time()) // _LOG_ANSWERS_KEPT if "/logs" in path else 0
    session = entered.session.key if entered.session else ""
    return f"{session}|{entered.generation}|{encoding}|{int(browser)}|{minute}|{path}?{scope['query_string'].decode('latin-1')}"


def _tag(key: str, encoding: str) -> bytes:
    return f'"{hashlib.blake2b(key.encode(), digest_size=12).hexdigest()}{"-" + encoding if encoding else ""}"'.encode()


def _with_cookies(send: Send, cookies: Sequence[tuple[bytes, bytes]]) -> Send:
    """Each use of a session by cookie renews the cookies."""
    if not cookies:
        return send

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *cookies]}
        await send(message)

    return sending
