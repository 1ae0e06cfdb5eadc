"""`/nodes` and `/nodes/{id}`: rendered at load (Ray: `modules/node/node_head.py`)."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.dashboard import answers
from api.dashboard.routing import Routes
from api.dashboard.scope import DashboardScope

routes = Routes()
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


@routes.get("/nodes")
async def list_nodes(request: Request, scope: DashboardScope) -> Response:
    view = request.query_params.get("view")
    if view == "summary":
        return answers.envelope("Node summary fetched.", await scope.snapshot.doc("nodes/summary") or b"{}")
    if view is not None and view.lower() == "hostnamelist":
        return answers.envelope("Node hostname list fetched.", await scope.snapshot.doc("nodes/hostnames") or b"{}")
    return answers.envelope(f"Unknown view {view}", {}, result=False, status=500)


@routes.get("/nodes/{node_id}")
async def show_node(request: Request, scope: DashboardScope) -> Response:
    node_id = request.path_params["node_id"]
    return answers.envelope("Node details fetched.", await scope.snapshot.doc(f"nodes/id/{node_id}") or _UNKNOWN)
