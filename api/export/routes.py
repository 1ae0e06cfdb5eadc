"""`GET /sessions/{namespace}/{kind}/{name}/{session}/export?what=tasks&format=csv`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, cast

import anyio
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from api.audit import audit
from api.dashboard.scope import is_browser
from api.documented import Kind, Name, Namespace, SessionName, one_of
from api.errors import problem
from api.export.formats import FORMATS, Csv, Ndjson
from api.sessions.service import Entered, Sessions
from shared.errors import InvalidQuery, SessionIsLive
from shared.ray.columns import RESOURCES
from shared.sessions import SessionRef
from shared.settings import Settings
from shared.snapshots.reader import SnapshotReader
from shared.snapshots.table import TableReader

router = APIRouter()

WHAT = ("tasks", "actors", "jobs", "nodes", "workers", "placement_groups")
_PARAMETERS = frozenset(("what", "format"))
_ROUTE = "/sessions/{namespace}/{kind}/{name}/{session}/export"


@router.head(_ROUTE, include_in_schema=False)
@router.get(_ROUTE)
async def export(
    request: Request,
    namespace: Namespace,
    kind: Kind,
    name: Name,
    session: SessionName,
    what: Annotated[str, one_of(*WHAT)] = "tasks",
    format: Annotated[str, one_of(*FORMATS)] = "ndjson",  # noqa: A002 - the parameter's name
) -> Response:
    """Every row of one kind of a dead session, streamed, as a file. `X-Ray-History-Complete: false`: some rows may be missing."""
    if unknown := sorted(request.query_params.keys() - _PARAMETERS):
        raise InvalidQuery(f"{unknown[0]}: there is no such parameter; there are {' and '.join(sorted(_PARAMETERS))}")
    if what not in WHAT:
        raise InvalidQuery(f"what={what!r}: use one of {', '.join(WHAT)}")
    if format not in FORMATS:
        raise InvalidQuery(f"format={format!r}: use one of {', '.join(FORMATS)}")
    sessions = cast("Sessions", request.app.state.sessions)
    wait = cast("Settings", request.app.state.settings).api.dashboard_wait
    entered = await sessions.enter_loaded(SessionRef.of(namespace, kind, name, session), wait)
    if entered.session is None or entered.cluster is not None:
        raise SessionIsLive("the session runs: its own dashboard lists what it has so far")
    if not entered.generation:
        return problem(503, "loading", f"session {entered.session.ref} is being loaded: ask again in a moment", retry_after=2)
    state = request.app.state
    reader = SnapshotReader(state.redis, state.keyspace.session(entered.session.key), entered.generation, state.cache)
    meta = await reader.meta()
    written = FORMATS[format](RESOURCES[what])
    headers = {
        "Content-Disposition": f'attachment; filename="{entered.session.cluster}-{entered.session.session}-{what}.{format}"',
        "X-Ray-History-Complete": "true" if meta.complete else "false",
        "Cache-Control": "no-cache",
    }
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Type": written.media_type})
    audit("exported", entered.session.ref, what=what, format=format)
    body = _body(sessions, entered, reader.table(what), written, browser=is_browser(request.scope["headers"]))
    # What is wrong before the first row is an answer of its own.
    first = await anext(body)
    return StreamingResponse(_after(first, body), headers=headers, media_type=written.media_type)


async def _body(sessions: Sessions, entered: Entered, table: TableReader, written: Ndjson | Csv, *, browser: bool) -> AsyncIterator[bytes]:
    """Its first piece comes with the first rows."""
    begin = written.head()
    async for page in table.stream(detail=True, browser=browser):
        if page.rows:
            # A slow reader must not find the rest evicted.
            await sessions.note_use(entered)
            yield begin + await anyio.to_thread.run_sync(written.lines, page.rows)
            begin = b""
    yield begin


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
