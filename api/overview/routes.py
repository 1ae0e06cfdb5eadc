"""`GET /sessions/{namespace}/{kind}/{name}/{session}/overview`. Programs get JSON, browsers the page that asks for it."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Query, Request, Response

from api import compression
from api.documented import Kind, Name, Namespace, Responses, SessionName, schema_of
from api.errors import problem
from api.pages.files import own
from api.pages.navigation import by_accept, by_ray_dashboard, is_navigation, record_of, send_on
from api.pages.session_facts import SessionFacts, facts_of
from api.sessions.opened import Opened, open_session
from shared.errors import InvalidQuery
from shared.overview import SESSION_OVERVIEW, Overview, TaskFacts, job_overview
from shared.sessions import LATEST, SessionRef

router = APIRouter()

_ROUTE = "/sessions/{namespace}/{kind}/{name}/{session}/overview"
_PARAMETERS = frozenset(("job_id",))
_SHOWN_LOSSES = 50
_encode = msgspec.json.Encoder().encode
JobId = Annotated[str, Query(description="Only the tasks of this job (hex).", json_schema_extra={"pattern": "^([0-9a-f]{8})?$"})]


class OverviewAnswer(msgspec.Struct):
    """`overview` is null where the session was loaded without; that of a job has what tasks tell, and nothing else."""

    ref: str
    namespace: str
    kind: str
    name: str
    cluster: str
    session: str
    job_id: str | None
    ray_version: str | None
    start_ms: int | None
    end_ms: int | None
    how_ended: str
    running_at_end: dict[str, int]
    complete: bool
    loss_count: int
    losses: list[dict[str, str]]
    warnings: list[dict[str, str]]
    overview: msgspec.Raw | None


def _schema() -> dict[str, Any]:
    found = schema_of(OverviewAnswer)
    found["properties"]["overview"] = {"anyOf": [schema_of(Overview), schema_of(TaskFacts), {"type": "null"}]}
    return found


_RESPONSES: Responses = {
    200: {"description": "The overview; for browsers its page", "content": {"application/json": {"schema": _schema()}, "text/html": {}}},
    303: {"description": "A browser: to the loading page while the session is not loaded"},
}


@router.head(_ROUTE, include_in_schema=False)
@router.get(_ROUTE, responses=_RESPONSES)
async def session_overview(
    request: Request, namespace: Namespace, kind: Kind, name: Name, session: SessionName, job_id: JobId = ""
) -> Response:
    """Failures by error, slow functions, waits, retries, series, nodes, actors and jobs of a dead session, computed when it was loaded.

    Bounded whatever the session holds: lists have their first entries, and `..._more` says how many follow.
    """
    if is_navigation(request) and not by_ray_dashboard(request):
        return await _page(request)
    if unknown := sorted(request.query_params.keys() - _PARAMETERS):
        raise InvalidQuery(f"{unknown[0]}: there is no such parameter; there is job_id")
    opened = await open_session(request, SessionRef.of(namespace, kind, name, session))
    if not isinstance(opened, Opened):
        return by_accept(problem(503, "loading", f"session {opened.ref} is being loaded", retry_after=1))
    async with opened.reading():
        facts = await facts_of(opened.snapshot, opened.session, request.app.state.sessions)
        return _packed(request, _encode(await _answer(opened, facts, job_id)))


async def _page(request: Request) -> Response:
    """The page; the loading page for what is not loaded, and for what is wrong."""
    record, status = await record_of(request.app.state.sessions, request.path_params)
    here = quote(request.path_params["session"])
    query = f"?{request.url.query}" if request.url.query else ""
    if status == 200 and request.path_params["session"] == LATEST:
        # A shared address must not change its meaning.
        return send_on(request, f"../{quote(record['session']['session'])}/overview{query}")
    if record.get("state") == "loaded":
        return by_accept(await own(request, "overview.html"))
    return send_on(request, f"../{here}/?next={quote('overview' + query, safe='')}")


async def _answer(opened: Opened, facts: SessionFacts, job_id: str) -> OverviewAnswer:
    ref, meta = facts.ref, await opened.snapshot.meta()
    document = await opened.snapshot.doc(job_overview(job_id) if job_id else SESSION_OVERVIEW)
    return OverviewAnswer(
        ref=str(ref),
        namespace=ref.namespace,
        kind=ref.kind,
        name=ref.name,
        cluster=facts.cluster,
        session=ref.session,
        job_id=job_id or None,
        ray_version=facts.ray_version,
        start_ms=facts.end.start_ms if facts.end else None,
        end_ms=facts.end.end_ms if facts.end else None,
        how_ended=facts.how_ended,
        running_at_end=facts.running,
        complete=not facts.loss_count,
        loss_count=facts.loss_count,
        losses=[{"file": file, "message": message} for file, message in facts.losses[:_SHOWN_LOSSES]],
        warnings=[{"code": warned.code, "message": warned.message} for warned in meta.warnings],
        overview=msgspec.Raw(document) if document else None,
    )


def _packed(request: Request, body: bytes) -> Response:
    encoding = compression.choose(request.headers.get("accept-encoding", ""))
    headers = {"Content-Type": "application/json", "Cache-Control": "no-cache", "Vary": "Accept, Accept-Encoding"}
    if encoding and len(body) >= compression.SMALLEST:
        return Response(compression.pack(body, encoding), headers={**headers, "Content-Encoding": encoding})
    return Response(body, headers=headers)
