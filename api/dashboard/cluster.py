"""What describes the cluster as a whole: status, metadata, version, time zone; and what a dead session can't have."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.dashboard import answers
from api.dashboard.routing import DashboardScope, Routes

routes = Routes()
_encode = msgspec.json.encode
_NO_METRICS = "The session has ended: its metrics were never stored."
# Of the Grafana dashboards that Ray generates, unless they were given other ids (Ray: `modules/metrics/metrics_head.py`).
_METRICS: dict[str, Any] = {
    "grafanaOrgId": "1",
    "grafanaClusterFilter": None,
    "dashboardUids": {
        "default": "rayDefaultDashboard",
        "serve": "rayServeDashboard",
        "serveDeployment": "rayServeDeploymentDashboard",
        "serveLlm": "rayServeLlmDashboard",
        "data": "rayDataDashboard",
    },
    "dashboardDatasource": "Prometheus",
}
# Live's defaults, which the frontend asks for before it offers to profile anything.
_PROFILING: dict[str, Any] = {
    "profilingEnabled": False,
    "profilingDefaults": {
        "native": False,
        "subprocesses": False,
        "idle": False,
        "leaks": False,
        "tracePythonAllocators": False,
        "cpuDuration": 5,
        "memoryDuration": 10,
        "maxDuration": 60,
        "cpuFormat": "flamegraph",
        "memoryFormat": "flamegraph",
        "pyspyNativeSupported": True,
    },
}


@routes.get("/api/version")
@routes.get("/api/ray/version")
async def show_version(_request: Request, scope: DashboardScope) -> Response:
    return answers.json_bytes(await scope.snapshot.doc("version") or b"{}")


@routes.get("/api/v0/cluster_metadata")
async def show_cluster_metadata(_request: Request, scope: DashboardScope) -> Response:
    return answers.json_bytes(await scope.snapshot.doc("cluster_metadata") or b"{}")


@routes.get("/timezone")
async def show_timezone(_request: Request, scope: DashboardScope) -> Response:
    return answers.json_bytes(await scope.snapshot.doc("timezone") or b"{}")


@routes.get("/api/cluster_status")
async def show_cluster_status(request: Request, scope: DashboardScope) -> Response:
    """The report as text; its structured form was only in the GCS's memory."""
    if request.query_params.get("format", "0") == "1":
        status = await scope.snapshot.doc("cluster_status") or b'""'
        return answers.envelope("Got formatted cluster status.", b'{"clusterStatus":%b}' % status)
    return answers.envelope("Got cluster status.", {"autoscalingStatus": None, "autoscalingError": None, "clusterStatus": None})


@routes.get("/api/grafana_health")
async def show_grafana_health(_request: Request, scope: DashboardScope) -> Response:
    """Browsers are told that Grafana is disabled, where Ray's pages then offer no metrics instead of asking to set Grafana up."""
    if scope.grafana_url:
        metrics = _METRICS | {"grafanaHost": scope.grafana_url.rstrip("/"), "sessionName": scope.session.session}
        return answers.envelope("Grafana running", metrics)
    if scope.browser:
        return answers.envelope("Grafana disabled", {"grafanaHost": "DISABLED"})
    return answers.envelope("Grafana healthcheck failed", {"exception": _NO_METRICS}, result=False, status=501)


@routes.get("/api/prometheus_health")
async def show_prometheus_health(_request: Request, scope: DashboardScope) -> Response:
    """What Ray's pages ask before they show panels; Grafana knows where its metrics are."""
    if scope.grafana_url:
        return answers.envelope("prometheus running", {})
    return answers.envelope("prometheus healthcheck failed.", {"reason": _NO_METRICS}, result=False, status=200 if scope.browser else 501)


@routes.get("/api/authentication_mode")
async def show_authentication_mode(_request: Request, _scope: DashboardScope) -> Response:
    """Who may read a dead session is not Ray's business any more."""
    return answers.json_bytes(b'{"authentication_mode":"disabled"}')


@routes.post("/api/authenticate")
async def authenticate(_request: Request, _scope: DashboardScope) -> Response:
    return Response("Unauthorized: Token authentication is not enabled", 401, media_type="text/plain")


@routes.get("/api/profiling_enabled")
async def show_profiling_enabled(_request: Request, _scope: DashboardScope) -> Response:
    return answers.envelope("", _PROFILING)


@routes.get("/api/v0/runtime_env_redaction")
async def show_runtime_env_redaction(_request: Request, _scope: DashboardScope) -> Response:
    return answers.envelope("", {"redactionEnabled": True})


@routes.get("/usage_stats_enabled")
async def show_usage_stats_enabled(_request: Request, _scope: DashboardScope) -> Response:
    return answers.envelope("Fetched usage stats enabled", {"usageStatsEnabled": False, "usageStatsPromptEnabled": False})


@routes.get("/api/v0/platform_events")
async def show_platform_events(_request: Request, _scope: DashboardScope) -> Response:
    """Not enabled: the frontend then hides the page."""
    return answers.not_found()
