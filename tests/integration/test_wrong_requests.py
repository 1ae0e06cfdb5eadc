"""Malformed requests of every route: the contract's error, in the contract's shape, and never a defect of ours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import quote, urlsplit

import pytest
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from api import health
from api.dashboard import actors, cluster, entity_summaries, events, jobs, nodes, state, stored, summaries, timeline
from api.dashboard.logs import routes as logs
from api.sessions import routes as sessions
from tests.gated_bucket import GatedBucket
from tests.integration.conftest import SMALL, Running

UNKNOWN = "session_2020-01-01_00-00-00_000000_1"
_DASHBOARD = (state, summaries, timeline, entity_summaries, nodes, actors, jobs, events, cluster, logs, stored)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture(scope="module")
def ref(running: Running, bucket: GatedBucket) -> str:
    stored_ref = bucket.add("wrong-requests", SMALL)
    running.api.load(stored_ref)
    return stored_ref


def _ask(running: Running, method: str, path: str, headers: dict[str, str] | None = None) -> Answer:
    """The path goes out as it is written."""
    connection = HTTPConnection(urlsplit(running.api.url).netloc, timeout=30)
    try:
        connection.putrequest(method, path)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


OWN = [
    ("GET", "/enter_cluster/default/raypod/x", 400, "invalid_reference"),
    ("GET", "/enter_cluster/Default/raycluster/x", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/x_y", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/-x", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/" + "x" * 300, 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/a..b", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/%00", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/%ff%fe", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/x/session_of_yesterday", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/x/session_2026-13-45_00-00-00_000000", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/x/" + quote("session_٢٠٢٦-01-01_00-00-00_000000"), 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/..%2f..%2fetc%2fpasswd", 400, "invalid_reference"),
    ("GET", "/enter_cluster/../raycluster/x", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/x/../../../etc/passwd", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/absent", 404, "session_not_found"),
    ("GET", f"/enter_cluster/default/raycluster/absent/{UNKNOWN}", 404, "session_not_found"),
    ("GET", "/enter_cluster/default/raycluster/absent/live", 404, "session_not_found"),
    ("GET", "/enter_cluster/default", 404, "not_found"),
    ("GET", "/enter_cluster/", 404, "not_found"),
    ("POST", "/enter_cluster/default/raycluster/x", 405, "method_not_allowed"),
    ("GET", "/sessions?limit=0", 400, "invalid_request"),
    ("GET", "/sessions?limit=1001", 400, "invalid_request"),
    ("GET", "/sessions?limit=ten", 400, "invalid_request"),
    ("GET", "/sessions?kind=pod", 400, "invalid_reference"),
    ("GET", "/sessions?state=dead", 400, "invalid_reference"),
    ("GET", "/sessions?cursor=x", 400, "invalid_reference"),
    ("GET", "/sessions?cursor=%00%ff", 400, "invalid_reference"),
    ("GET", "/sessions?cursor=" + "A" * 5000, 400, "invalid_reference"),
    ("GET", "/sessions/default", 404, "not_found"),
    ("GET", "/sessions/default/raycluster/x/latest/nothing", 404, "not_found"),
    ("GET", "/sessions/default/raypod/x/latest", 400, "invalid_reference"),
    ("GET", "/sessions/default/raycluster/absent/latest", 404, "session_not_found"),
    ("GET", "/sessions/default/raycluster/absent/latest/events", 404, "session_not_found"),
    ("DELETE", "/sessions/default/raycluster/absent/latest", 404, "session_not_found"),
    ("DELETE", "/sessions/default/raycluster/x/oops", 400, "invalid_reference"),
    ("POST", "/sessions/default/raycluster/absent/latest/load", 404, "session_not_found"),
    ("POST", "/sessions/default/raycluster/x/oops/load", 400, "invalid_reference"),
    ("PUT", "/sessions/default/raycluster/x/latest", 405, "method_not_allowed"),
    ("GET", "/sessions/default/raypod/x/latest/dashboard/api/v0/tasks", 400, "invalid_reference"),
    ("GET", "/sessions/default/raycluster/absent/latest/dashboard/api/v0/tasks", 404, "session_not_found"),
    ("GET", "/sessions/%2e%2e/raycluster/x/latest/dashboard/api/v0/tasks", 400, "invalid_reference"),
    ("POST", "/clusters", 405, "method_not_allowed"),
    ("GET", "/clusters/x", 404, "not_found"),
    ("GET", "/api/v0/tasks", 404, "no_session_chosen"),
    ("GET", "/nodes?view=summary", 404, "no_session_chosen"),
    ("GET", "/static/js/main.js", 404, "no_session_chosen"),
    ("GET", "/entered_cluster", 404, "no_session_chosen"),
    ("GET", "/any/thing", 404, "no_session_chosen"),
    ("POST", "/api/jobs/", 404, "no_session_chosen"),
    ("GET", "/sessions/default/raycluster/absent/latest/dashboard/api/version", 410, "session_not_found"),
    ("GET", "/enter_cluster/default/absent/latest", 404, "session_not_found"),
    ("GET", f"/enter_cluster/default/absent/{UNKNOWN}", 404, "session_not_found"),
    ("GET", "/enter_cluster/default/raycluster/x?redirect=https://elsewhere.example/", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/x?redirect=//elsewhere.example", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/x?redirect=/%5Celsewhere.example", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/x?redirect=/%09/elsewhere.example", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/x?redirect=%2F%0d%0aX:%20y", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/x?redirect=javascript:alert(1)", 400, "invalid_reference"),
    ("GET", "/enter_cluster/default/raycluster/x?redirect=overview", 400, "invalid_reference"),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), OWN)
def test_wrong_requests_of_our_own_routes(running: Running, method: str, path: str, status: int, code: str) -> None:
    _is_problem(_ask(running, method, path), status, code)


def _is_problem(answer: Answer, status: int, code: str) -> None:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert {"type", "title", "status", "detail", "code"} <= problem.keys()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["detail"]
    if status == 405:
        assert "allow" in answer.headers


@pytest.mark.parametrize("wait", ["x", "-1", "nan", "inf", "1e999", "", "%00", "1.2.3"])
def test_a_wait_that_is_no_time(running: Running, ref: str, wait: str) -> None:
    _is_problem(_ask(running, "GET", f"/enter_cluster/{ref}?wait={wait}"), 400, "invalid_reference")


def test_preferences_that_mean_nothing_are_ignored(running: Running, ref: str) -> None:
    for preference in ("wait", "wait=", "wait=soon", "return=minimal", ";;,=", "x" * 1000):
        assert _ask(running, "GET", f"/enter_cluster/{ref}", {"Prefer": preference}).status == 200


def test_force_is_yes_or_no(running: Running, ref: str) -> None:
    _is_problem(_ask(running, "POST", f"/sessions/{ref}/load?force=perhaps"), 400, "invalid_request")


@pytest.mark.parametrize(
    ("cookies", "status", "code"),
    [
        ("", 404, "no_session_chosen"),
        ("a=b; =; ;;; c", 404, "no_session_chosen"),
        ("cluster_name=x; cluster_namespace=default; session_name=../../etc", 400, "invalid_reference"),
        ("cluster_name=../x; cluster_namespace=default; session_name=latest", 400, "invalid_reference"),
        ("cluster_name=x; session_name=latest", 400, "invalid_reference"),
        ("cluster_name=x; cluster_namespace=default; session_name=latest; owner_kind=rayjob", 400, "invalid_reference"),
        ("cluster_name=x; cluster_namespace=default; session_name=latest; owner_kind=pod; owner_name=x", 400, "invalid_reference"),
        (f"cluster_name=x; cluster_namespace=default; session_name={UNKNOWN}", 404, "session_not_found"),
        ("session_name=" + "x" * 5000, 400, "invalid_reference"),
    ],
)
def test_cookies_are_trusted_for_nothing(running: Running, cookies: str, status: int, code: str) -> None:
    _is_problem(_ask(running, "GET", "/api/v0/tasks", {"Cookie": cookies}), status, code)


def test_paths_that_live_does_not_know_get_its_answer(running: Running, ref: str) -> None:
    for path in ("nothing", "api/v0/nothing", "api/nothing/at/all", "logical/nothing", "//", "../../../../etc/passwd", "%2e%2e/x"):
        answer = _ask(running, "GET", f"/sessions/{ref}/dashboard/{path}")
        assert (answer.status, answer.body) in ((404, b"404: Not Found"), (400, answer.body)), path
        if answer.status == 400:
            _is_problem(answer, 400, "invalid_reference")


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_nasty = st.sampled_from(
    [
        "",
        "0",
        "-1",
        "1e9",
        "9" * 5000,
        "nan",
        "true",
        "\x00",
        "..",
        "../..",
        "%",
        "*",
        "**",
        "[",
        "{",
        "\n",
        "\r\nX: y",
        "ffff",
        "f" * 48,
        "é",
        "💥",
    ]
)
_known = st.sampled_from(
    [
        "03000000",
        "01000000\n",
        "ab cd",
        "job_id",
        "state",
        "FAILED",
        "=",
        "!=",
        "<",
        "file",
        "stream",
        "out",
        "err",
        "1",
        "lineage",
        "summary",
    ]
)
_value = st.one_of(_nasty, _known, _text)
_names = st.sampled_from(
    [
        "limit", "timeout", "detail", "exclude_driver", "filter_keys", "filter_predicates", "filter_values", "summary_by", "job_id", "download",
        "node_id", "node_ip", "filename", "task_id", "actor_id", "pid", "suffix", "lines", "interval", "attempt_number", "submission_id", "glob",
        "filter_ansi_code", "download_filename", "view", "format", "wait", "cursor", "q", "kind", "state", "namespace", "force", "x",
    ]
)  # fmt: skip
_query = st.lists(st.tuples(_names, _value), max_size=4)
_routes = [
    (route.path, "dashboard")
    for module in _DASHBOARD
    for route in module.routes
    if isinstance(route, Route)
] + [(route.path, "own") for module in (health, sessions) for route in module.router.routes if isinstance(route, APIRoute)]  # fmt: skip
_methods = st.sampled_from(["GET"] * 12 + ["HEAD", "HEAD", "POST", "DELETE", "PUT", "OPTIONS"])


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(route=st.sampled_from(_routes), values=st.lists(_value, min_size=5, max_size=5), query=_query, method=_methods, cookie=st.booleans())
def test_no_request_finds_a_defect(
    running: Running, ref: str, route: tuple[str, str], values: list[str], query: list[tuple[str, str]], method: str, cookie: bool
) -> None:
    path, kind = route
    for name in ("namespace", "kind", "name", "session") if kind == "own" and method == "GET" else ():
        path = path.replace(f"{{{name}}}", dict(zip(("namespace", "kind", "name", "session"), ref.split("/"), strict=True))[name], 1)
    while "{" in path:
        start, end = path.index("{"), path.index("}")
        path = path[:start] + quote(values.pop(), safe="/" if ":path" in path[start:end] else "") + path[end + 1 :]
    path += "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query)
    if kind == "dashboard" and not cookie:
        path = f"/sessions/{ref}/dashboard{path}"
    if path.split("?")[0].endswith("/events") and kind == "own":
        return
    names = ("cluster_namespace", "owner_kind", "cluster_name", "session_name")
    chosen = "; ".join(f"{name}={value}" for name, value in zip(names, ref.split("/"), strict=True) if name != "owner_kind")
    answer = _ask(running, method, path, {"Cookie": chosen} if cookie else {})
    assert b"internal_error" not in answer.body, path
    assert answer.status != 500, (path, answer)
    assert "x" not in answer.headers, "a header of the request's own making"
    assert '"event":"defect"' not in running.api.child.said, path
