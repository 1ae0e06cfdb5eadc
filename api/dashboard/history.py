"""What our own script asks beside Ray's routes (`api/pages/static/dashboard-marks.js`)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from api.dashboard import answers
from api.dashboard.routing import DashboardScope, Routes

routes = Routes()


@routes.get("/ray_history/nodes_with_logs")
async def list_nodes_with_logs(_request: Request, scope: DashboardScope) -> Response:
    """`[{node_id, ip, hostname, state}]`: every node that left log files, dead ones too."""
    return answers.json_bytes(await scope.snapshot.doc("session/nodes_with_logs") or b"[]")
