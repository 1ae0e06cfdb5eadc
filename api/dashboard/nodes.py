"""`/nodes` and `/nodes/{id}`: rendered at load (Ray: `modules/node/node_head.py`)."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response

from api.dashboard import answers
from api.dashboard.scope import Scope

router = APIRouter()
_encode = msgspec.json.encode

# What live shows of a node that it does not know.
_UNKNOWN = _encode(
    {
        "detail": {
            "raylet": {"objectStoreUsedMemory": 0, "objectStoreAvailableMemory": 0, "stateMessage": None},
            "tpus": [],
            "actors": {},
            "workers": [],
        }
    }
)


@router.get("/nodes")
async def list_nodes(request: Request, scope: Scope) -> Response:
    view = request.query_params.get("view")
    if view == "summary":
        return answers.envelope("Node summary fetched.", await scope.snapshot.doc("nodes/summary") or b"{}")
    if view is not None and view.lower() == "hostnamelist":
        return answers.envelope("Node hostname list fetched.", await scope.snapshot.doc("nodes/hostnames") or b"{}")
    return answers.envelope(f"Unknown view {view}", {}, result=False, status=500)


@router.get("/nodes/{node_id}")
async def show_node(node_id: str, scope: Scope) -> Response:
    return answers.envelope("Node details fetched.", await scope.snapshot.doc(f"nodes/id/{node_id}") or _UNKNOWN)
