"""Every layout that KubeRay has written, and data without a marker: listed, loaded, and answered for like the layout of today."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from shared.sessions import Session
from tests.layouts import write_layouts
from tests.running import load, running

SESSION = Session("batch", "rj-demo-x7k2p", "session_2026-11-23_19-08-07_927634_1", "rayjob", "rj-demo")
LISTS = ("tasks", "actors", "nodes", "workers", "jobs", "placement_groups", "cluster_events")
PATHS = [
    *(f"/api/v0/{name}?detail=1&limit=10000" for name in LISTS),
    "/nodes?view=summary",
    "/logical/actors",
    "/events",
    "/api/jobs/",
    "/api/v0/tasks/summarize",
    "/api/v0/tasks/timeline",
    "/api/v0/cluster_metadata",
    "/api/version",
    "/timezone",
    "/api/cluster_status?format=1",
    "/api/serve/applications/",
]


@pytest.fixture(scope="module")
def served(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """The server's address, and references by layout."""
    target = tmp_path_factory.mktemp("layouts")
    refs = write_layouts(recorded / "bucket", SESSION, target)
    with running(target, tmp_path_factory.mktemp("up")) as address:
        yield address, refs


def _answers(address: str, ref: str) -> dict[str, str]:
    load(address, ref)
    with httpx.Client(base_url=f"{address}/sessions/{ref}/dashboard", timeout=30) as client:
        bodies = {path: client.get(path) for path in PATHS}
        nodes = [node["node_id"] for node in bodies["/api/v0/nodes?detail=1&limit=10000"].json()["data"]["result"]["result"]]
        task = next(
            row["task_id"]
            for row in bodies["/api/v0/tasks?detail=1&limit=10000"].json()["data"]["result"]["result"]
            if (row["task_log_info"] or {}).get("stdout_end")
        )
        more = [f"/api/v0/logs?node_id={node}&glob=**" for node in nodes]
        more += [f"/api/v0/logs/file?node_id={node}&filename=raylet.out&lines=50" for node in nodes]
        more += [f"/api/v0/logs/file?task_id={task}&lines=-1", "/api/jobs/rj-demo-kx2vp/logs"]
        bodies |= {path: client.get(path) for path in more}
    assert all(answer.status_code == 200 for path, answer in bodies.items() if "/api/jobs/rj" not in path)
    return {path: hashlib.md5(answer.content).hexdigest() for path, answer in bodies.items()}


def test_every_layout_gives_the_same_answers(served: tuple[str, dict[str, str]]) -> None:
    address, refs = served
    right = _answers(address, refs["today"])
    for layout in ("bare", "july", "v16", "oldbare"):
        found = _answers(address, refs[layout])
        assert {path for path in right if found[path] != right[path]} == set(), layout


def test_both_references_to_a_session_in_two_places_lead_to_the_whole(served: tuple[str, dict[str, str]]) -> None:
    address, refs = served
    whole = _answers(address, refs["whole"])
    assert _answers(address, refs["owned"]) == whole
    assert _answers(address, refs["halves"]) == whole
    listed = httpx.get(f"{address}/sessions", params={"namespace": "halves"}, timeout=30).json()["sessions"]
    assert [row["ref"] for row in listed] == [refs["owned"]]


def test_all_of_them_are_listed(served: tuple[str, dict[str, str]]) -> None:
    address, refs = served
    clusters = json.loads(httpx.get(f"{address}/clusters", timeout=30).content)
    assert {row["namespace"] for row in clusters} == {ref.partition("/")[0] for ref in refs.values()}
    assert {row["sessionName"] for row in clusters} == {SESSION.session}
