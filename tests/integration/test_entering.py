"""Entering sessions KubeRay's way, and the dashboard's routes of a session that is not loaded: what browsers, scripts and `ray` are told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.gated_bucket import GatedBucket
from tests.integration.conftest import SMALL, Running
from tests.servers import Api
from tests.waiting import wait_until

BROWSER = {"Accept": "text/html,*/*;q=0.8"}
# A Ray dashboard with --proxy-server-url passes its browser's request on so.
BY_RAY = BROWSER | {"Content-Type": "application/json"}
OVERVIEW = "/#/overview"
NAMES = ("cluster_name", "cluster_namespace", "session_name", "owner_kind", "owner_name")


@pytest.fixture(scope="module")
def loaded(running: Running, bucket: GatedBucket) -> str:
    ref = bucket.add("entered", SMALL)
    running.api.load(ref)
    return ref


@pytest.fixture
def gated(bucket: GatedBucket, cluster: str) -> Iterator[str]:
    """A session whose load does not end."""
    ref = bucket.add(cluster, SMALL)
    with bucket.closed(ref):
        yield ref


def _cookies(answer: httpx.Response) -> dict[str, str]:
    return {name: value for cookie in answer.headers.get_list("set-cookie") for name, value in [cookie.split(";")[0].split("=", 1)]}


def _enter(api: Api, path: str, **options: Any) -> httpx.Response:
    return httpx.get(f"{api.url}/enter_cluster/{path}", trust_env=False, timeout=30, **options)


def test_entering_redirects_with_the_cookies(running: Running, loaded: str) -> None:
    answer = _enter(running.api, f"{loaded}?redirect={quote(OVERVIEW)}")
    assert (answer.status_code, answer.headers["location"]) == (302, OVERVIEW)
    assert set(_cookies(answer)) == set(NAMES)
    assert _cookies(answer)["session_name"] == loaded.split("/")[3]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_page_or_link_gets_no_cookies(running: Running, loaded: str, site: str) -> None:
    """They would change the session that the visitor's other tabs show; the session's own path needs none."""
    headers = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    entered = _enter(running.api, loaded, headers=headers)
    assert (entered.status_code, _cookies(entered)) == (200, {})
    sent_on = _enter(running.api, f"{loaded}?redirect={quote(OVERVIEW)}", headers=headers)
    assert (sent_on.status_code, _cookies(sent_on)) == (302, {})
    assert sent_on.headers["location"] == f"/sessions/{loaded}/dashboard{OVERVIEW}"
    own_page = _enter(running.api, f"{loaded}?redirect=/select_cluster", headers=headers)
    assert own_page.headers["location"] == "/select_cluster"


def test_an_image_of_another_site_loads_nothing(running: Running, gated: str) -> None:
    answer = _enter(running.api, gated, headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
    assert running.api.state(gated) == "absent"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_rebound_name_reaches_no_session(running: Running, loaded: str, method: str) -> None:
    answer = httpx.request(method, f"{running.api.url}/sessions/{loaded}", headers={"host": "evil.example"}, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (421, "unknown_host")
    assert running.api.state(loaded) == "loaded"


def test_a_ray_dashboard_in_front_gets_a_page_that_goes_on(running: Running, loaded: str) -> None:
    """It follows redirects itself, without the cookies."""
    answer = _enter(running.api, f"{loaded}?redirect={quote(OVERVIEW)}", headers=BY_RAY)
    assert answer.status_code == 200
    assert f'href="{OVERVIEW}"' in answer.text
    assert set(_cookies(answer)) == set(NAMES)


def test_a_ray_dashboard_in_front_can_unpack_what_it_gets(running: Running, loaded: str) -> None:
    """What it cannot, it answers from its own cluster, silently."""
    accepted = {"Accept-Encoding": "gzip, deflate, br, zstd"}
    for headers, encoding in ((accepted, "zstd"), (accepted | {"Content-Type": "application/json"}, "gzip")):
        answer = running.api.get(f"/sessions/{loaded}/dashboard/api/v0/tasks?detail=1", headers=headers)
        assert answer.headers["content-encoding"] == encoding


def test_a_ray_dashboard_in_front_is_not_sent_to_its_own_cluster(running: Running, loaded: str) -> None:
    """Once a session is entered: it takes 404 for that. What is no route of ours it may answer."""
    cookies = _cookies(_enter(running.api, loaded))
    gone = cookies | {"session_name": "session_2020-01-01_00-00-00_000000_1"}
    for path, entered, direct, proxied in (
        ("/api/jobs/ffffff00", cookies, 404, 410),
        ("/nodes/unknown", cookies, 404, 410),
        ("/api/v0/tasks", gone, 404, 410),
        ("/api/v0/platform_events", cookies, 404, 404),
        ("/static/js/main.js", cookies, 404, 404),
        ("/api/v0/tasks", {}, 404, 404),
    ):
        asked = [httpx.get(running.api.url + path, cookies=entered, headers=headers, trust_env=False) for headers in ({}, BY_RAY)]
        assert [answer.status_code for answer in asked] == [direct, proxied], path


def test_a_browser_waits_on_the_loading_page_and_a_script_is_told(running: Running, gated: str) -> None:
    path = f"{gated}?redirect={quote(OVERVIEW, safe='')}"
    browser = _enter(running.api, path, headers=BROWSER)
    assert (browser.status_code, browser.headers["location"]) == (303, f"/sessions/{gated}/?redirect=%2F%23%2Foverview")
    assert set(_cookies(browser)) == set(NAMES)
    script = _enter(running.api, path)
    assert (script.status_code, script.json()["result"]) == (202, "loading")


@pytest.mark.parametrize("session", ["{session}", "latest"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_older_form_names_no_kind(running: Running, loaded: str, session: str, slash: str) -> None:
    namespace, _, cluster, real = loaded.split("/")
    answer = _enter(running.api, f"{namespace}/{cluster}/{session.format(session=real)}{slash}")
    assert answer.status_code == 200
    assert answer.json() == {"result": "success", "name": cluster, "namespace": namespace, "session": real}


@pytest.mark.parametrize("path", ["clusters/", "sessions/", "enter_cluster/{ref}/"])
def test_a_slash_at_the_end_means_nothing(running: Running, loaded: str, path: str) -> None:
    assert running.api.get("/" + path.format(ref=loaded)).status_code == 200


@pytest.mark.parametrize("path", ["events/", "timezone/", "nodes/", "nodes", "api/jobs", "api/jobs/", "api/v0/tasks/", "logical/actors/"])
def test_nor_at_the_dashboard_s_routes(running: Running, loaded: str, path: str) -> None:
    entered = _enter(running.api, loaded)
    for prefix in (f"/sessions/{loaded}/dashboard/", "/"):
        answer = httpx.get(running.api.url + prefix + path, cookies=_cookies(entered), trust_env=False)
        assert answer.status_code == 200, answer.text


def test_what_is_entered_can_be_asked_for(running: Running, loaded: str) -> None:
    answer = httpx.get(f"{running.api.url}/entered_cluster", cookies=_cookies(_enter(running.api, loaded)), trust_env=False)
    assert answer.json()["ref"] == loaded


def test_files_of_another_frontend_are_not_ours_whatever_is_entered(running: Running, gated: str) -> None:
    """And not worth waiting for a load."""
    cookies = _cookies(_enter(running.api, gated))
    began = time.monotonic()
    for path in ("/static/js/main.js", "/speedscope-1.5.3/index.html", "/any/thing"):
        assert httpx.get(running.api.url + path, cookies=cookies, trust_env=False).status_code == 404
    assert time.monotonic() - began < 3


def test_ray_s_clients_read_why_there_is_no_answer(running: Running, gated: str) -> None:
    """`ray list` reads `result` and `msg`, and waits for its `timeout`; less than the 10 s that others wait."""
    began = time.monotonic()
    answer = running.api.get(f"/sessions/{gated}/dashboard/api/v0/tasks?timeout=1&limit=100")
    assert time.monotonic() - began < 5
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    body = answer.json()
    assert (body["result"], body["data"], body["code"]) == (False, {"result": None}, "loading")
    assert body["msg"] == body["detail"] == f"session {gated} is being loaded: ask again in a moment"
    unknown = running.api.get("/sessions/default/raycluster/nobody/latest/dashboard/api/v0/tasks")
    assert unknown.status_code == 404
    assert unknown.json()["result"] is False
    assert "default/raycluster/nobody/latest" in unknown.json()["msg"]


def test_ray_s_jobs_client_comes_to_the_question_whose_answer_it_shows(running: Running, loaded: str, gated: str) -> None:
    """`ray job list` reads only the version of `/api/version`, of no answer but 200; of `/api/jobs/` it shows whatever it gets."""
    ray = {"User-Agent": "python-requests/2.32.5"}
    nobody = "default/raycluster/nobody/latest"
    for ref, status, reason in ((gated, 503, "is being loaded"), (nobody, 404, nobody), ("default/raypod/x/latest", 400, "raypod")):
        dashboard = f"/sessions/{ref}/dashboard"
        began = time.monotonic()
        version = running.api.get(f"{dashboard}/api/version", headers=ray)
        assert (version.status_code, version.headers["cache-control"]) == (200, "no-store")
        assert version.json()["ray_version"] >= "2.0"
        assert time.monotonic() - began < 5, "the next question waits for the load"
        jobs = running.api.get(f"{dashboard}/api/jobs/", headers=ray)
        assert jobs.status_code == status
        assert reason in jobs.json()["detail"]
    version = running.api.get(f"/sessions/{loaded}/dashboard/api/version", headers=ray).json()
    assert version["session_name"] == loaded.split("/")[3]
    chosen = running.api.get("/api/version", headers=ray)
    assert chosen.status_code == 200
    assert running.api.get("/api/jobs/", headers=ray).json()["code"] == "no_session_chosen"


def test_others_are_told_by_the_status_that_a_session_is_not_there(running: Running) -> None:
    assert running.api.get("/sessions/default/raycluster/nobody/latest/dashboard/api/version").status_code == 410


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "api/jobs/"),
        ("POST", "api/jobs/03000000/stop"),
        ("DELETE", "api/jobs/03000000"),
        ("PUT", "api/packages/gcs/x"),
        ("PUT", "api/serve/applications/"),
        ("DELETE", "api/serve/applications/"),
        ("POST", "any/thing"),
    ],
)
def test_whatever_would_change_a_session_that_has_ended_is_told_so(running: Running, loaded: str, method: str, path: str) -> None:
    answer = httpx.request(method, f"{running.api.url}/sessions/{loaded}/dashboard/{path}", trust_env=False)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.json()["code"] == "session_ended"
    assert "has ended" in answer.json()["msg"]


def test_that_needs_no_load(running: Running, gated: str) -> None:
    answer = httpx.post(f"{running.api.url}/sessions/{gated}/dashboard/api/jobs/", trust_env=False)
    assert answer.json()["code"] == "session_ended"


def test_a_list_and_a_status_say_what_is_wrong_with_a_loaded_session(running: Running, bucket: GatedBucket, cluster: str) -> None:
    """Whole, partial, without event files, and nothing but a marker."""
    names = {word: f"{cluster}-{word}" for word in ("whole", "partial", "empty", "marker")}
    refs = {
        "whole": bucket.add(names["whole"], SMALL),
        "partial": bucket.add(names["partial"], "19-08-07", changed=lambda key, data: data[:-20] if key.endswith(".gz") else data),
        "empty": bucket.add(names["empty"], SMALL, changed=lambda key, data: None if "_events/" in key else data),
        "marker": bucket.mark(names["marker"], "session_2026-10-01_10-00-00_000000_1"),
    }
    for ref in refs.values():
        running.api.load(ref)
    rows = {row["ref"]: row for row in running.api.get(f"/sessions?q={cluster}-").json()["sessions"]}
    found = {word: (rows[ref]["status"], rows[ref]["complete"], rows[ref]["partial"], rows[ref]["empty"]) for word, ref in refs.items()}
    assert found == {
        "whole": ("loaded", True, False, False),
        "partial": ("loaded", False, True, found["partial"][3]),
        "empty": ("loaded", True, False, True),
        "marker": ("loaded", True, False, True),
    }
    for word, ref in refs.items():
        record = running.api.get(f"/sessions/{ref}").json()
        assert (record["complete"], record["partial"], record["empty"]) == found[word][1:]
    for state, words in {"partial": {"partial"}, "empty": {"empty", "marker"}}.items():
        listed = {row["ref"] for row in running.api.get(f"/sessions?q={cluster}-&state={state}").json()["sessions"]}
        assert {refs[word] for word in words} <= listed
        assert refs["whole"] not in listed


def test_a_script_that_knows_only_kuberay_s_answer_is_held(own: tuple[Any, Api], bucket: GatedBucket, cluster: str) -> None:
    """RAY_HISTORY_ENTER_WAIT."""
    deployment, _ = own
    api = deployment.api(enter_wait=2)
    ref = bucket.add(cluster, SMALL)
    with bucket.closed(ref):
        deployment.a_worker()
        held = _enter(api, ref)
        assert (held.status_code, held.json()["code"]) == (503, "loading")
        assert _enter(api, f"{ref}?wait=0").status_code == 202, "who says how long it waits knows our answers"
    wait_until(lambda: _enter(api, ref).status_code == 200, "the answer that is held until the session is loaded", 60)
