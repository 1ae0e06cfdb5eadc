"""Routes of the dashboard as an ASGI app, answering from a scope of the test's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from api.dashboard.routing import DashboardRoutes, Routes, is_browser


def dashboard_app(dashboard: Any, *modules: Routes, by_headers: bool = False) -> ASGIApp:
    """`dashboard` is a DashboardScope, or has what the routes use of one. `by_headers`: whether a browser asks is told by each request, not by `dashboard`."""
    routes = DashboardRoutes(modules)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        made = replace(dashboard, browser=is_browser(scope["headers"])) if by_headers else dashboard
        response = await routes.respond(scope, receive, made)
        await response(scope, receive, send)

    return app
