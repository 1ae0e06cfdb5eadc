"""What pages are told of Grafana and Prometheus, which no session has any more."""

from __future__ import annotations

import httpx
import pytest

from api.dashboard import cluster
from api.dashboard.routing import DashboardScope
from shared.sessions import Session
from tests.unit.dashboard_app import dashboard_app

SESSION = Session("default", "raycap", "session_2026-11-23_19-00-40_785172_1")


async def _asked(path: str, *, browser: bool, grafana_url: str = "") -> httpx.Response:
    told = DashboardScope(SESSION, "1", None, None, browser, grafana_url)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(dashboard_app(told, cluster.routes)), base_url="http://h") as client:
        return await client.get(path)


@pytest.mark.parametrize("browser", [True, False])
async def test_a_configured_grafana_is_told_with_the_session(browser: bool) -> None:
    data = (await _asked("/api/grafana_health", browser=browser, grafana_url="http://grafana:3000/")).json()["data"]
    assert (data["grafanaHost"], data["sessionName"]) == ("http://grafana:3000", SESSION.session)
    assert data["dashboardUids"]["default"] == "rayDefaultDashboard"
    assert (await _asked("/api/prometheus_health", browser=browser, grafana_url="http://grafana:3000")).json()["result"] is True


async def test_pages_are_told_that_grafana_is_disabled() -> None:
    """They offer no metrics then, and nothing fails."""
    health = await _asked("/api/grafana_health", browser=True)
    assert (health.status_code, health.json()["data"]) == (200, {"grafanaHost": "DISABLED"})
    prometheus = await _asked("/api/prometheus_health", browser=True)
    assert (prometheus.status_code, prometheus.json()["result"]) == (200, False)


@pytest.mark.parametrize("path", ["/api/grafana_health", "/api/prometheus_health"])
async def test_programs_are_told_that_there_is_none(path: str) -> None:
    assert (await _asked(path, browser=False)).status_code == 501
