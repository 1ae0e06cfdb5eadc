"""`GET /compare?a=REF&b=REF`. Programs get JSON, browsers the page that asks for it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from api.compare.comparison import Comparison, compare
from api.documented import Responses, schema_of
from api.errors import problem
from api.overview.routes import JobId
from api.pages.files import own
from api.pages.navigation import by_accept, by_ray_dashboard, is_navigation
from api.pages.session_facts import SessionFacts, facts_of
from api.sessions.opened import Opened, open_session
from shared.errors import InvalidQuery, JobNotFound
from shared.overview import SESSION_OVERVIEW, Overview, TaskFacts, job_overview
from shared.sessions import SessionRef

router = APIRouter()

_PARAMETERS = frozenset(("a", "b", "a_job", "b_job"))
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Overview).decode
Ref = Annotated[str, Query(description="A session: `{namespace}/{kind}/{name}/{session}`, or `latest` for the last part.")]


class Side(msgspec.Struct):
    """One of the two; times in ms since the epoch, those of the job where one is meant."""

    ref: str
    job_id: str | None
    ray_version: str | None
    start_ms: int | None
    end_ms: int | None
    how_ended: str
    complete: bool
    states: dict[str, int]
    retries: int


class ComparisonAnswer(Comparison):
    """What is different from `a` to `b`."""

    a: Side
    b: Side


_RESPONSES: Responses = {
    200: {
        "description": "The comparison; for browsers its page",
        "content": {"application/json": {"schema": schema_of(ComparisonAnswer)}, "text/html": {}},
    }
}


@router.head("/compare", include_in_schema=False)
@router.get("/compare", responses=_RESPONSES)
async def compare_sessions(request: Request, a: Ref = "", b: Ref = "", a_job: JobId = "", b_job: JobId = "") -> Response:
    """What is different between two dead sessions, or jobs: durations, functions slower and faster, failures new and gone.

    From their overviews. What is not loaded is loaded first: 503 `loading` until it is.
    """
    if is_navigation(request) and not by_ray_dashboard(request):
        return by_accept(await own(request, "compare.html"))
    if unknown := sorted(request.query_params.keys() - _PARAMETERS):
        raise InvalidQuery(f"{unknown[0]}: there is no such parameter; there are {', '.join(sorted(_PARAMETERS))}")
    sides: list[tuple[Side, TaskFacts]] = []
    for name, text, job_id in (("a", a, a_job), ("b", b, b_job)):
        opened = await open_session(request, _reference(name, text))
        if not isinstance(opened, Opened):
            return by_accept(problem(503, "loading", f"session {opened.ref} is being loaded", retry_after=1))
        async with opened.reading():
            sides.append(await _side(opened, await facts_of(opened.snapshot, opened.session, request.app.state.sessions), job_id))
    (side_a, facts_a), (side_b, facts_b) = sides
    found = compare(facts_a, facts_b)
    body = {**{name: getattr(found, name) for name in found.__struct_fields__}, "a": side_a, "b": side_b}
    return by_accept(Response(_encode(body), headers={"Content-Type": "application/json", "Cache-Control": "no-cache"}))


def _reference(name: str, text: str) -> SessionRef:
    parts = text.split("/")
    if len(parts) != 4:
        raise InvalidQuery(f"{name}={text[:200]!r}: write {{namespace}}/{{kind}}/{{name}}/{{session}}")
    return SessionRef.of(*parts)


async def _side(opened: Opened, facts: SessionFacts, job_id: str) -> tuple[Side, TaskFacts]:
    whole = await opened.snapshot.doc(SESSION_OVERVIEW)
    overview = _decode(whole) if whole else Overview()
    if not job_id:
        return _told(facts, overview, "", facts.end.start_ms if facts.end else None, facts.end.end_ms if facts.end else None), overview
    document = await opened.snapshot.doc(job_overview(job_id))
    job = next((job for job in overview.jobs if job.job_id == job_id), None)
    if document is None and job is None:
        raise JobNotFound(f"session {facts.ref} has no job {job_id}, as far as its overview knows")
    of_job = msgspec.json.decode(document, type=TaskFacts) if document else TaskFacts()
    return _told(facts, of_job, job_id, job.start_time_ms if job else None, job.end_time_ms if job else None), of_job


def _told(facts: SessionFacts, found: TaskFacts, job_id: str, start_ms: int | None, end_ms: int | None) -> Side:
    return Side(
        ref=str(facts.ref),
        job_id=job_id or None,
        ray_version=facts.ray_version,
        start_ms=start_ms,
        end_ms=end_ms,
        how_ended=facts.how_ended,
        complete=not facts.loss_count,
        states=found.states,
        retries=found.retries,
    )
