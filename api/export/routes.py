"""`GET /sessions/{namespace}/{kind}/{name}/{session}/export?what=tasks&format=csv`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Annotated, cast

import anyio
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.access.limits import CallerLimits
from api.audit import audit
from api.dashboard.routing import is_browser
from api.dashboard.state import NOT_DRIVER
from api.dashboard.timeline import whole_trace
from api.documented import Kind, Name, Namespace, SessionName, answer, one_of
from api.errors import problem
from api.export import archive
from api.export.formats import FORMATS, rows
from api.sessions.opened import Opened, open_session
from api.sessions.service import Sessions
from api.snapshots.fields import BlockCache
from api.snapshots.filters import BadFilter, Filter, make_filter
from shared.errors import Forbidden, InvalidQuery
from shared.ray.columns import RESOURCES, TASKS
from shared.sessions import Session, SessionRef

router = APIRouter()

ROWS = ("tasks", "actors", "jobs", "nodes", "workers", "placement_groups")
TIMELINE = "timeline"
ARCHIVES = ("logs", "raw")
WHAT = (*ROWS, TIMELINE, *ARCHIVES)
_OF_A_JOB = ("tasks", TIMELINE)
_PARAMETERS = ("what", "format", "job_id")
_CACHE_BYTES = 2 << 20
_ROUTE = "/sessions/{namespace}/{kind}/{name}/{session}/export"
_MEDIA_TYPES = ("application/x-ndjson", "text/csv", "application/vnd.apache.parquet", "application/json", archive.MEDIA_TYPE)
_FILE = {**answer("The file"), "content": {media_type: {"schema": {}} for media_type in _MEDIA_TYPES}}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A checked request. `source`: what limits rows to a job."""

    what: str
    format: str
    source: tuple[Filter, ...]
    browser: bool

    def headers(self, session: Session) -> dict[str, str]:
        name = f"{session.cluster}-{session.session}-{self.what}.{self.format}"
        return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-cache"}


class _File(StreamingResponse):
    """Counts as an export until it is sent, or its client has gone."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes], limits: CallerLimits, headers: dict[str, str], media_type: str) -> None:
        super().__init__(_after(first, rest), headers=headers, media_type=media_type)
        self._rest = rest
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._rest):
                await super().__call__(scope, receive, send)
        finally:
            self._limits.end_export()


@router.head(_ROUTE, include_in_schema=False)
@router.get(_ROUTE, response_class=Response, responses={200: _FILE})
async def export(
    request: Request,
    namespace: Namespace,
    kind: Kind,
    name: Name,
    session: SessionName,
    what: Annotated[str, one_of(*WHAT)] = "tasks",
    format: Annotated[  # noqa: A002 - the parameter's name
        str | None,
        one_of(
            *FORMATS, "json", "tar.zst", description="Rows: the first three, ndjson unless said. timeline: json. logs and raw: tar.zst."
        ),
    ] = None,
    job_id: Annotated[
        str | None,
        Query(description=f"Only of this job; for {' and '.join(_OF_A_JOB)}.", json_schema_extra={"pattern": "^[0-9a-f]{8}$"}),
    ] = None,
) -> Response:
    """A dead session as a file, streamed: every row of one kind, a trace of its tasks (Chrome's format, for Perfetto), or its stored files.

    Rows and traces need the session loaded; `X-Ray-History-Complete: false`: some rows may be missing. Archives hold the files that are
    stored now, loaded or not; their last member, MANIFEST.json, names what could not be read.
    """
    asked = _asked(request, what, format, job_id)
    ref = SessionRef.of(namespace, kind, name, session)
    return await (_archive(request, ref, asked) if what in ARCHIVES else _of_snapshot(request, ref, asked))


def _asked(request: Request, what: str, format_: str | None, job_id: str | None) -> _Asked:
    if unknown := sorted(request.query_params.keys() - set(_PARAMETERS)):
        raise InvalidQuery(f"{unknown[0]}: there is no such parameter; there are {', '.join(_PARAMETERS)}")
    if what not in WHAT:
        raise InvalidQuery(f"what={what!r}: use one of {', '.join(WHAT)}")
    formats = ("tar.zst",) if what in ARCHIVES else ("json",) if what == TIMELINE else tuple(FORMATS)
    chosen = formats[0] if format_ is None else format_
    if chosen not in formats:
        raise InvalidQuery(f"format={chosen!r}: use {'one of ' * (len(formats) > 1)}{', '.join(formats)} for {what}")
    if job_id is not None and what not in _OF_A_JOB:
        raise InvalidQuery(f"job_id: only {' and '.join(_OF_A_JOB)} are of one job")
    try:
        source = () if job_id is None else (make_filter(TASKS, "job_id", "=", job_id),)
    except BadFilter as exc:
        raise InvalidQuery(f"job_id: {exc}") from exc
    return _Asked(what, chosen, source, is_browser(request.scope["headers"]))


async def _of_snapshot(request: Request, ref: SessionRef, asked: _Asked) -> Response:
    # Its own small cache: a whole table would take the place of all that others look at, and no block is read twice.
    opened = await open_session(request, ref, BlockCache(_CACHE_BYTES))
    if not isinstance(opened, Opened):
        return problem(503, "loading", f"session {opened.ref} is being loaded: ask again in a moment", retry_after=2)
    session, reader = opened.session, opened.snapshot
    async with opened.reading():
        meta = await reader.meta()
    headers = {**asked.headers(session), "X-Ray-History-Complete": "true" if meta.complete else "false"}
    if asked.what == TIMELINE:
        media_type, body = "application/json", whole_trace(reader.table("tasks"), (NOT_DRIVER, *asked.source))
    else:
        about = {"session": str(session.ref), "complete": str(meta.complete).lower(), "ray_version": meta.ray_version or ""}
        written = await anyio.to_thread.run_sync(FORMATS[asked.format], RESOURCES[asked.what], about)
        table = reader.table(asked.what)
        media_type, body = written.media_type, rows(opened, table, written, asked.source, browser=asked.browser)
    return await _sent(request, session, asked, _read(opened, cast("AsyncGenerator[bytes]", body)), headers, media_type)


async def _read(opened: Opened, body: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with opened.reading(), aclosing(body):
        async for piece in body:
            yield piece


async def _archive(request: Request, ref: SessionRef, asked: _Asked) -> Response:
    state = request.app.state
    session = await cast("Sessions", state.sessions).stored(ref)
    if asked.what == "raw" and asked.browser:
        raise Forbidden("event files hold the values of env_vars, which browsers are not shown: use curl, or ray-history export")
    body = _in_threads(archive.archive(state.storage, session, asked.what))
    return await _sent(request, session, asked, body, asked.headers(session), archive.MEDIA_TYPE)


async def _sent(
    request: Request, session: Session, asked: _Asked, body: AsyncGenerator[bytes], headers: dict[str, str], media_type: str
) -> Response:
    if request.method == "HEAD":
        await body.aclose()
        return Response(headers={**headers, "Content-Type": media_type})
    limits = cast("CallerLimits", request.app.state.limits)
    limits.begin_export()
    try:
        audit("exported", session.ref, what=asked.what, format=asked.format)
        # What is wrong before the first piece is an answer of its own.
        first = await anext(body)
    except BaseException:
        limits.end_export()
        raise
    return _File(first, body, limits, headers, media_type)


async def _in_threads(pieces: Generator[bytes]) -> AsyncGenerator[bytes]:
    """When the client goes away, what was opened is closed."""
    with closing(pieces):
        while piece := await anyio.to_thread.run_sync(next, pieces, b""):
            yield piece


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
