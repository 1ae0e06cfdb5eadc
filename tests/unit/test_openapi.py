"""The OpenAPI document is true to what is sent, and no request, however odd, finds a defect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

import api.app
from tests.in_process import SESSION, InProcess, add_session, in_process

PREFIX = f"/sessions/team-a/raycluster/seen/{SESSION}/dashboard"
PARTS = {
    "namespace": ["team-a", "nowhere", "Team_A", ".."],
    "kind": ["raycluster", "RayJob", "pod"],
    "name": ["seen", "gone", "-"],
    "session": [SESSION, "latest", "live", "session_2020-01-01_00-00-00_0_1", "yesterday"],
    "submission_id": ["load-a", "nowhere", "%"],
}
ODD = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=20)
EXAMPLES = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# The session is not loaded here, and nobody loads it: that is said.
MAY_BE_503 = ("loading",)


@pytest_asyncio.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InProcess]:
    add_session(tmp_path, "team-a", "seen")
    async with in_process(tmp_path, monkeypatch, loads_per_minute=0, lists_per_minute=0) as made:
        # Nothing is held until it is loaded, however long a request would wait.
        made.app.state.draining.until = 0.0
        yield made


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method.upper(), path, operation) for path, operations in document["paths"].items() for method, operation in operations.items()]


def _is_documented(answer: httpx.Response, responses: dict[str, Any]) -> bool:
    found = responses.get(str(answer.status_code)) or responses["default"]
    kinds = found.get("content", {})
    sent = answer.headers.get("content-type", "").partition(";")[0]
    return sent in kinds if kinds else not answer.content


def _is_no_defect(answer: httpx.Response) -> bool:
    return answer.status_code < 500 or (answer.status_code == 503 and answer.json()["code"] in MAY_BE_503)


@EXAMPLES
@given(data=st.data())
async def test_answers_are_as_documented(server: InProcess, data: st.DataObject) -> None:
    document = server.app.openapi()
    operations = [(m, p, o) for m, p, o in _operations(document) if not p.endswith("/events")]
    method, path, operation = data.draw(st.sampled_from(sorted(operations, key=lambda one: one[:2])))
    for part, likely in PARTS.items():
        path = path.replace("{" + part + "}", quote(data.draw(st.sampled_from(likely) | ODD.filter(bool), label=part), safe=""))
    names = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
    values = ODD | st.integers().map(str) | st.sampled_from(["1", "true", "/", "live", "raycluster", "2026-11-01"])
    query = data.draw(st.dictionaries(st.sampled_from([*names, "other"]), values, max_size=4), label="query")
    query.pop("wait", None)
    answer = await server.client.request(method, path, params=query)
    assert _is_no_defect(answer), (method, path, query, answer.text)
    assert _is_documented(answer, operation["responses"]) or answer.status_code in (404, 405), (method, path, query, answer.status_code)


@EXAMPLES
@given(data=st.data())
async def test_odd_requests_of_the_dashboard_find_no_defect(server: InProcess, data: st.DataObject) -> None:
    patterns = sorted({route.path for module in api.app._DASHBOARD for route in module.routes if isinstance(route, Route)})
    path = data.draw(st.sampled_from(patterns) | ODD.map(lambda text: "/" + quote(text)))
    while "{" in path:
        before, _, rest = path.partition("{")
        path = before + quote(data.draw(ODD), safe="") + rest.partition("}")[2]
    prefix = data.draw(st.sampled_from(["", PREFIX]))
    cookies = data.draw(
        st.dictionaries(st.sampled_from(["cluster_name", "cluster_namespace", "session_name", "owner_kind"]), ODD.map(quote))
    )
    headers = data.draw(
        st.dictionaries(st.sampled_from(["accept", "if-none-match", "range", "origin", "prefer"]), ODD.map(quote), max_size=3)
    )
    method = data.draw(st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PATCH"]))
    query = data.draw(st.dictionaries(ODD, ODD, max_size=3))
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    answer = await server.client.request(method, prefix + path, params=query, headers={**headers, "cookie": cookie})
    assert answer.status_code < 500 or answer.status_code == 503, (method, prefix + path, query, answer.text)
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_health_and_streams_are_no_json(server: InProcess) -> None:
    paths = server.app.openapi()["paths"]
    assert list(paths["/livez"]["get"]["responses"]["200"]["content"]) == ["text/plain"]
    assert (await server.client.get("/livez")).headers["content-type"].startswith("text/plain")
    events = next(path for path in paths if path.endswith("/events"))
    assert list(paths[events]["get"]["responses"]["200"]["content"]) == ["text/event-stream"]
    assert "422" not in {status for _, _, operation in _operations({"paths": paths}) for status in operation["responses"]}


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "PATCH", "TRACE"])
async def test_methods_that_a_route_has_not_are_405_and_named(server: InProcess, method: str) -> None:
    for _, pattern, _ in _operations(server.app.openapi()):
        path = pattern.format(**{part: likely[0] for part, likely in PARTS.items()})
        answer = await server.client.request(method, path)
        assert (path, answer.status_code, answer.json()["code"]) == (path, 405, "method_not_allowed")
        documented = {one.upper() for one in server.app.openapi()["paths"][pattern]}
        assert set(answer.headers["allow"].split(", ")) - {"HEAD"} == documented
