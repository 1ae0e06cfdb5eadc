"""`/nodes` and `/nodes/{id}`: rendered at load (Ray: `modules/node/node_head.py`); and which nodes left logs, for our own script."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from api.dashboard import answers
from api.dashboard.routing import DashboardScope, Routes

routes = Routes()


@routes.get("/nodes")
async def list_nodes(request: Request, scope: DashboardScope) -> Response:
    """`view=summary`, also when no view is asked for (as KubeRay's server), or `view=hostnamelist`."""
    view = request.query_params.get("view", "summary")
    if view == "summary":
        return answers.envelope("Node summary fetched.", await scope.snapshot.doc("nodes/summary") or b"{}")
    if view.lower() == "hostnamelist":
        return answers.envelope("Node hostname list fetched.", await scope.snapshot.doc("nodes/hostnames") or b"{}")
    return answers.envelope(f"Unknown view {view}", {}, result=False, status=400)


@routes.get("/nodes/{node_id}")
async def show_node(request: Request, scope: DashboardScope) -> Response:
    node_id = request.path_params["node_id"]
    detail = await scope.snapshot.doc(f"nodes/id/{node_id}")
    if detail is None:
        return answers.refused(f"there is no node {node_id} in this session", 404)
    return answers.envelope("Node details fetched.", detail)


@routes.get("/ray_history/nodes_with_logs")
async def list_nodes_with_logs(_request: Request, scope: DashboardScope) -> Response:
    """`[{node_id, ip, hostname, state}]`: every node that left log files, dead ones too (`api/pages/static/dashboard-marks.js` asks)."""
    return answers.json_bytes(await scope.snapshot.doc("session/nodes_with_logs") or b"[]")
