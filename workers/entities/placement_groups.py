"""Placement groups: rows of the State API, from the dashboard answer that the collector stored and, should they come, from events.

No Ray up to 2.60 emits PLACEMENT_GROUP_* events, though its proto has them; they would be newer than the stored answer. Which columns a
stored row has differs between versions (`label_domain_*` in 2.56, `topology_*` later): all of them are shown, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workers.bad_data import BAD_DATA
from workers.entities.fields import amounts, decoded_object, hex_id, number, part, parts, text
from workers.entities.histories import Histories, History, Malformed, each

ENDPOINT = "/api/v0/placement_groups"
# How the proto of the statistics calls what the events' enum can't call the same.
_SCHEDULING_STATES = {"SCHEDULING_REMOVED": "REMOVED"}


def placement_group_rows(endpoints: dict[str, bytes], found: Histories, malformed: Malformed) -> list[dict[str, Any]]:
    rows = {row["placement_group_id"]: row for row in _stored_rows(endpoints, malformed)}
    for row in each(found.values(), _row, malformed):
        rows[row["placement_group_id"]] = _newer(rows.get(row["placement_group_id"], {}), row)
    return list(rows.values())


def _stored_rows(endpoints: dict[str, bytes], malformed: Malformed) -> Iterable[dict[str, Any]]:
    """Of several stored answers to the same question the one with most rows and columns."""
    best: list[dict[str, Any]] = []
    for path, body in endpoints.items():
        if path.partition("?")[0] != ENDPOINT:
            continue
        try:
            answer = part(part(decoded_object(body), "data"), "result")
        except BAD_DATA as exc:
            malformed(path, exc)
            continue
        found = [row for row in parts(answer, "result") if isinstance(row.get("placement_group_id"), str)]
        # Ray 2.56's page fails on a row without bundles.
        rows = [row | {"bundles": row.get("bundles") or []} for row in found]
        best = max(best, rows, key=lambda candidate: sum(map(len, candidate)))
    return best


def _row(history: History) -> dict[str, Any]:
    definition = history.definition
    last = history.transitions[-1].fields if history.transitions else {}
    nodes: dict[int, str] = {}
    for step in history.transitions:
        placed = {number(place, "bundleIndex"): hex_id(place, "nodeId") for place in parts(step.fields, "bundlePlacements")}
        nodes = {} if step.state == "RESCHEDULING" else placed or nodes
    requested = number(definition, "creationRequestReceivedNs")
    created = history.first("CREATED")
    scheduling = text(last, "schedulingState") or "QUEUED"
    return {
        "placement_group_id": history.id,
        "name": text(definition, "name"),
        "creator_job_id": hex_id(definition, "creatorJobId"),
        "state": history.state or "PENDING",
        "bundles": [
            {
                "bundle_id": {"placement_group_id": history.id, "bundle_index": number(bundle, "bundleIndex")},
                "unit_resources": amounts(bundle, "unitResources"),
                "node_id": nodes.get(number(bundle, "bundleIndex"), ""),
                "label_selector": part(bundle, "labelSelector"),
            }
            for bundle in parts(definition, "bundles")
        ],
        "is_detached": bool(definition.get("isDetached")),
        "stats": {
            "creation_request_received_ns": str(requested),
            "scheduling_started_time_ns": "0",
            "scheduling_latency_us": "0",
            "end_to_end_creation_latency_us": str((created.ns - requested) // 1000 if created and requested else 0),
            "scheduling_attempt": number(last, "schedulingAttempt"),
            "scheduling_state": _SCHEDULING_STATES.get(scheduling, scheduling),
            "highest_retry_delay_ms": float(number(last, "highestRetryDelayMs")),
        },
        "topology_strategy": {},
        "topology_assignments": {},
    }


def _newer(stored: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Events win, except where they know nothing: statistics that only the stored answer has, or a definition that was lost."""
    if not stored:
        return row
    known = {name: value for name, value in row.items() if value not in ("", [], {})}
    stats = {name: value for name, value in row["stats"].items() if value not in ("0", 0, 0.0)}
    return {**stored, **known, "stats": {**part(stored, "stats"), **stats}}
