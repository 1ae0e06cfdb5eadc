"""The State API's lists, `/api/v0/{resource}`: Ray's `state_aggregator.StateAPIManager`, answered from a snapshot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.dashboard import answers
from api.dashboard.list_options import ALL, ListOptions, list_options
from api.dashboard.routing import DashboardScope, Routes
from api.dashboard.stored import stored_page
from api.snapshots.filters import BadFilter, make_filter
from api.snapshots.rows import pieces
from api.snapshots.table import Page
from shared.ray.columns import ACTORS, CLUSTER_EVENTS, JOBS, NODES, OBJECTS, PLACEMENT_GROUPS, RUNTIME_ENVS, TASKS, WORKERS, Resource
from shared.snapshot_format import Meta

routes = Routes()

NOT_DRIVER = make_filter(TASKS, "type", "!=", "DRIVER_TASK")
NEVER_STORED = "Ray exports no events about {name}: the live dashboard asked running processes. A dead session has none to show."
_encode = msgspec.json.encode


@routes.get("/api/v0/tasks")
async def list_tasks(request: Request, scope: DashboardScope) -> Response:
    return await _list(TASKS, request, scope)


@routes.get("/api/v0/actors")
async def list_actors(request: Request, scope: DashboardScope) -> Response:
    return await _list(ACTORS, request, scope)


@routes.get("/api/v0/nodes")
async def list_nodes(request: Request, scope: DashboardScope) -> Response:
    return await _list(NODES, request, scope)


@routes.get("/api/v0/workers")
async def list_workers(request: Request, scope: DashboardScope) -> Response:
    return await _list(WORKERS, request, scope)


@routes.get("/api/v0/placement_groups")
async def list_placement_groups(request: Request, scope: DashboardScope) -> Response:
    return await _list(PLACEMENT_GROUPS, request, scope)


@routes.get("/api/v0/jobs")
async def list_jobs(request: Request, scope: DashboardScope) -> Response:
    return await _list(JOBS, request, scope)


@routes.get("/api/v0/objects")
async def list_objects(request: Request, scope: DashboardScope) -> Response:
    return await _list(OBJECTS, request, scope)


@routes.get("/api/v0/runtime_envs")
async def list_runtime_envs(request: Request, scope: DashboardScope) -> Response:
    return await _list(RUNTIME_ENVS, request, scope)


@routes.get("/api/v0/cluster_events")
async def list_cluster_events(request: Request, scope: DashboardScope) -> Response:
    """Live fails in sessions where both C++ and Python wrote log events; the list is the same as `/events`."""
    return await _list(CLUSTER_EVENTS, request, scope)


async def _list(resource: Resource, request: Request, scope: DashboardScope) -> Response:
    if request.method == "HEAD" and request.query_params.get("limit") == ALL:
        return answers.json_bytes(b"")
    try:
        return await _answer(resource, list_options(resource, request.query_params), scope)
    except BadFilter as exc:
        return answers.refused(str(exc))


async def _answer(resource: Resource, options: ListOptions, scope: DashboardScope) -> Response:
    meta = await scope.snapshot.meta()
    if resource.name not in meta.tables:
        if page := await stored_page(scope, f"/api/v0/{resource.name}", options):
            return answers.Pieces(list_body(page, page.total, meta, None))
        return answers.Pieces(list_body(Page(0, 0, []), 0, meta, [NEVER_STORED.format(name=resource.name.replace("_", " "))]))
    source = options.source
    if resource is TASKS and options.exclude_driver:
        source = (NOT_DRIVER, *source)
    table = scope.snapshot.table(resource.name)
    if options.limit is None:
        found = table.stream(options.filters, source=source, detail=options.detail, browser=scope.browser)
        return StreamingResponse(_whole_list(resource, found, meta, detail=options.detail), media_type="application/json")
    page = await table.select(options.filters, source=source, limit=options.limit, detail=options.detail, browser=scope.browser)
    total = page.total if resource is TASKS else meta.tables[resource.name].rows
    after_source = page.total if resource in (TASKS, NODES) else total
    return answers.Pieces(list_body(page, total, meta, warned(meta, resource.name, detail=options.detail), after_source=after_source))


async def _whole_list(resource: Resource, found: AsyncIterator[Page], meta: Meta, *, detail: bool) -> AsyncIterator[bytes]:
    """The same answer in the order in which it is known: rows first, then how many they are."""
    yield b'{"result":true,"msg":"","data":{"result":{"result":['
    total = matched = 0
    async for page in found:
        total += page.total
        if page.rows:
            yield b"".join(pieces(b"," if matched else b"", page.rows, b""))
        matched += page.num_filtered
    rows = total if resource is TASKS else meta.tables[resource.name].rows
    counted = {"total": rows, "num_after_truncation": total if resource in (TASKS, NODES) else rows, "num_filtered": matched}
    rest = counted | {"partial_failure_warning": partial_failure(meta), "warnings": warned(meta, resource.name, detail=detail)}
    yield b"]," + _encode(rest)[1:] + b"}}"


def list_body(page: Page, total: int, meta: Meta, warnings: Sequence[str] | None, *, after_source: int | None = None) -> list[bytes]:
    """A `ListApiResponse` around rows that are JSON already, in pieces."""
    return pieces(
        b'{"result":true,"msg":"","data":{"result":{"total":%d,"num_after_truncation":%d,"num_filtered":%d,"result":['
        % (total, total if after_source is None else after_source, page.num_filtered),
        page.rows,
        b'],"partial_failure_warning":' + _encode(partial_failure(meta)) + b',"warnings":' + _encode(warnings) + b"}}}",
    )


def warned(meta: Meta, table: str, *, detail: bool = False) -> list[str] | None:
    """What this session's table lacks though no file was lost: its Ray exported less, or nothing; what could not be read."""
    of_table = (one for one in meta.warnings if not one.tables or table in one.tables)
    found = [one.message for one in of_table if detail or not one.detail]
    if meta.counts:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(meta.counts.items()))
        found.append(f"Some events or values could not be read and were left out: {kinds}. The load status has samples.")
    return found or None


def partial_failure(meta: Meta) -> str:
    """What a partial snapshot lacks; "" for a complete one."""
    if meta.complete:
        return ""
    named = ", ".join(file for file, _, _ in meta.losses[:5])
    more = f" and {meta.loss_count - 5} more" if meta.loss_count > 5 else ""
    return f"The returned data may contain incomplete result. {meta.loss_count} stored files could not be read: {named}{more}."
