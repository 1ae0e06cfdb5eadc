"""`/api/v0/actors/summarize` and `/api/v0/objects/summarize` (Ray: `ActorSummaries`, `ObjectSummaries`)."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.dashboard import answers
from api.dashboard.list_options import given_filters, split_filters
from api.dashboard.routing import DashboardScope, Routes
from api.dashboard.state import NEVER_STORED, partial_failure, warned
from api.dashboard.stored import stored_answer
from api.snapshots.filters import BadFilter
from shared.ray.columns import ACTORS
from shared.snapshot_format import Meta

routes = Routes()
_encode = msgspec.json.encode


@routes.get("/api/v0/actors/summarize")
async def summarize_actors(request: Request, scope: DashboardScope) -> Response:
    """How many actors of each class are in which state."""
    try:
        source, others = split_filters(ACTORS, given_filters(request.query_params))
    except BadFilter as exc:
        return answers.refused(str(exc))
    meta = await scope.snapshot.meta()
    counts = await scope.snapshot.table("actors").column_counts(("class_name", "state"), (*source, *others))
    summary: dict[str, Any] = {}
    for (class_name, state), count in counts.items():
        of_class = summary.setdefault(str(class_name), {"class_name": class_name, "state_counts": {}})
        of_class["state_counts"][str(state)] = count
    found = sum(counts.values())
    return _answer(
        {"summary": summary, "total_actors": found, "summary_by": "class"},
        {"total": meta.tables["actors"].rows, "num_after_truncation": meta.tables["actors"].rows, "num_filtered": found},
        meta,
        warned(meta, "actors"),
    )


@routes.get("/api/v0/objects/summarize")
async def summarize_objects(_request: Request, scope: DashboardScope) -> Response:
    """As the collector stored it; else nothing, and why: references lived in processes that are gone."""
    if body := await stored_answer(scope, "/api/v0/objects/summarize"):
        return answers.json_bytes(body)
    empty = {"summary": {}, "total_objects": 0, "total_size_mb": 0, "callsite_enabled": True, "summary_by": "callsite"}
    totals = {"total": 0, "num_after_truncation": 0, "num_filtered": 0}
    return _answer(empty, totals, await scope.snapshot.meta(), [NEVER_STORED.format(name="objects")])


def _answer(summary: dict[str, Any], totals: dict[str, int], meta: Meta, warnings: list[str] | None) -> Response:
    result = {
        **totals,
        "result": {"node_id_to_summary": {"cluster": summary}},
        "partial_failure_warning": partial_failure(meta),
        "warnings": warnings,
    }
    return answers.envelope("", {"result": result})
