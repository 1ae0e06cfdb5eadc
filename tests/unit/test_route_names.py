"""Requests are called by their route in metrics: the same at the root and below a session, and never by what a user wrote."""

from __future__ import annotations

import tracemalloc

import pytest
from fastapi import APIRouter

from api.access.rules import RouteRules
from api.request_log import OTHER, RouteNames


def _names() -> RouteNames:
    ours, dashboard = APIRouter(), APIRouter()
    session = "/sessions/{namespace}/{kind}/{name}/{session}"
    for path in ("/livez", "/sessions", session, f"{session}/events"):
        ours.get(path)(lambda: None)
    for path in ("/nodes/{node_id}", "/events", "/api/v0/tasks"):
        dashboard.get(path)(lambda: None)
    return RouteNames(ours.routes, dashboard.routes)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/livez", "/livez"),
        ("/sessions", "/sessions"),
        ("/sessions/a/raycluster/b/session_1", "/sessions/{namespace}/{kind}/{name}/{session}"),
        ("/sessions/a/raycluster/b/session_1/events", "/sessions/{namespace}/{kind}/{name}/{session}/events"),
        ("/sessions/a/raycluster/b/session_1/dashboard/events", "/events"),
        ("/sessions/a/raycluster/b/session_1/dashboard/nodes/0af", "/nodes/{node_id}"),
        ("/nodes/0af", "/nodes/{node_id}"),
        ("/api/v0/tasks", "/api/v0/tasks"),
        ("/sessions/a/raycluster/b/session_1/dashboard", "dashboard pages"),
        ("/sessions/a/raycluster/b/session_1/dashboard/", "dashboard pages"),
        ("/sessions/a/raycluster/b/session_1/dashboard/static/js/main.1234.js", "dashboard pages"),
        ("/sessions/a/raycluster/b/session_1/dashboard/livez", OTHER),
        ("/wp-login.php", OTHER),
        ("/livez/", OTHER),
    ],
)
def test_name(path: str, name: str) -> None:
    assert _names().name(path) == name


def test_long_paths_are_not_kept() -> None:
    """A path may be as long as a request's head: thousands of them would fill the memory."""
    names, rules = _names(), RouteRules(APIRouter().routes)
    tracemalloc.start()
    for number in range(500):
        assert names.name(f"/{number}/" + "x" * 60_000) == OTHER
        assert rules.of("GET", f"/{number}/" + "x" * 60_000) == "see"
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2_000_000
