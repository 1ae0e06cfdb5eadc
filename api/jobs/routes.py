"""`/jobs`: which jobs ran, over all sessions, and how they ended. Programs get JSON, browsers the page that asks for it."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, cast
from urllib.parse import quote

import anyio
import msgspec
from fastapi import APIRouter, Query, Request, Response

from api.access.caller import visible_namespaces
from api.documented import MOMENT, one_of, valid_if
from api.jobs.query import CURSOR, DEFAULT_SORT, SORTS, JobPage, parse_query, select
from api.jobs.table import JobTable, JobView
from api.pages.files import own
from api.pages.navigation import by_accept, by_ray_dashboard, is_navigation, send_on
from shared.errors import InvalidQuery, JobIndexOff, JobNotFound
from shared.jobs import STATUSES, Job, SessionJobs
from shared.sessions import KINDS
from shared.settings import Settings
from shared.store.job_index import JobIndexReader

router = APIRouter()

_PARAMETERS = frozenset(("q", "status", "namespace", "kind", "since", "until", "ray_version", "sort", "limit", "cursor"))
_SAME_ID = 100
_STATUS = "|".join(STATUSES)
_encode = msgspec.json.Encoder().encode


@router.head("/jobs", include_in_schema=False)
@router.get("/jobs", responses={200: {"description": "The jobs; for browsers their page", "content": {"text/html": {}}}})
async def jobs(
    request: Request,
    q: Annotated[str, Query(description="Words that are all in a job's ids, entrypoint, metadata, message or session.")] = "",
    status: Annotated[str, valid_if(f"(({_STATUS})(,({_STATUS}))*)?", "Several by commas.")] = "",
    namespace: str = "",
    kind: Annotated[str, one_of("", *KINDS)] = "",
    since: Annotated[str, valid_if(MOMENT, "Jobs that ran then or later: RFC 3339, a date in UTC, or epoch seconds.")] = "",
    until: Annotated[str, valid_if(MOMENT, "Jobs that began before this time.")] = "",
    ray_version: Annotated[str, Query(description="2.55 or 2.55.1.")] = "",
    sort: Annotated[str, one_of("", *SORTS, description="With `-` the largest first.")] = DEFAULT_SORT,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str, valid_if(f"({CURSOR})?", "`next` of the page before.")] = "",
) -> Response:
    """Jobs of all sessions, loaded or not, from an index that follows the bucket within a minute."""
    if is_navigation(request) and not by_ray_dashboard(request):
        return by_accept(await own(request, "jobs.html"))
    if unknown := sorted(request.query_params.keys() - _PARAMETERS):
        raise InvalidQuery(f"{unknown[0]}: there is no such parameter; there are {', '.join(sorted(_PARAMETERS))}")
    query = parse_query(
        q=q, status=status, namespace=namespace, kind=kind, since=since, until=until, ray_version=ray_version, sort=sort
    )  # fmt: skip
    view = await _view(request)
    seen = await visible_namespaces(view.namespaces)
    if len(seen) < len(view.namespaces):
        query = replace(query, namespaces=seen)
    # Off the event loop: all rows are looked at.
    page = await anyio.to_thread.run_sync(select, view, query, limit, cursor)
    body = {
        "jobs": _shown(view, page),
        "next": page.next,
        "total": page.total,
        "index": await _state(request, view.sessions(seen), everything=seen >= set(view.namespaces)),
    }
    return by_accept(Response(_encode(body), headers={"Content-Type": "application/json", "Cache-Control": "no-cache"}))


@router.head("/jobs/{submission_id}", include_in_schema=False)
@router.get("/jobs/{submission_id}")
async def submitted_job(request: Request, submission_id: str) -> Response:
    """A job by the id under which it was submitted, for alerts and notebooks: browsers are sent on to its page in the dashboard.

    An id that was used in several clusters names them all, the newest first; browsers get the newest.
    """
    view = await _view(request)
    seen = await visible_namespaces(view.namespaces)
    jobs = await anyio.to_thread.run_sync(view.submitted, submission_id, seen)
    if not jobs:
        raise JobNotFound(f"no job was submitted as {submission_id!r}, as far as the index of jobs knows")
    found = [job_row(entry, job) for entry, job in jobs[:_SAME_ID]]
    if is_navigation(request):
        return send_on(request, f"../sessions/{found[0]['ref']}/dashboard/#/jobs/{quote(found[0]['id'], safe='')}")
    return by_accept(Response(_encode({"jobs": found}), headers={"Content-Type": "application/json", "Cache-Control": "no-cache"}))


async def _view(request: Request) -> JobView:
    if not cast("Settings", request.app.state.settings).jobs.job_index:
        raise JobIndexOff("the index of jobs is turned off (RAY_HISTORY_JOB_INDEX)")
    return await cast("JobTable", request.app.state.jobs).view()


async def _state(request: Request, sessions: int, *, everything: bool) -> dict[str, Any]:
    """How far the index is to be believed. `sessions`: how many the caller may see in it. Other counts are told if that is `everything`."""
    state = await JobIndexReader(request.app.state.redis, request.app.state.keyspace).state()
    listed = state.get("listed", 0)
    return {
        "sessions": sessions,
        "listed_at": _rfc3339(listed),
        "age": round(max(0.0, time.time() - listed / 1000), 1) if listed else None,
        "left": state.get("left", 0) if everything else None,
        "failed": state.get("failed", 0) if everything else None,
    }


def _shown(view: JobView, page: JobPage) -> list[dict[str, Any]]:
    return [job_row(entry, job) for entry, job in view.jobs_of(page.rows)]


def job_row(entry: SessionJobs, job: Job) -> dict[str, Any]:
    """One row of `/jobs`. What is not known, or not known before the session is loaded, is null."""
    session = entry.session
    ref = session.ref
    return {
        "ref": str(ref),
        "namespace": ref.namespace,
        "kind": ref.kind,
        "name": ref.name,
        "cluster": session.cluster,
        "session": session.session,
        "type": job.type,
        "id": job.id,
        "job_id": job.job_id or None,
        "submission_id": job.submission_id or None,
        "entrypoint": job.entrypoint,
        "metadata": job.metadata,
        "status": job.status,
        "message": job.message,
        "error": job.error or None,
        "error_type": job.error_type or None,
        "start": _rfc3339(job.start),
        "end": _rfc3339(job.end),
        "duration": (job.end - job.start) / 1000 if job.end and job.start else None,
        "tasks": job.tasks,
        "failures": job.failures,
        "nodes": entry.nodes or None,
        "ray_version": entry.ray_version or None,
        "complete": entry.complete,
    }


def _rfc3339(ms: int) -> str | None:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if ms else None
