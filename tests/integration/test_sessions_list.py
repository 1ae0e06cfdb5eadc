"""`/clusters` and `/sessions`: filters, states, pages, and what the markers say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gated_bucket import GatedBucket
from tests.integration.conftest import SMALL, Running

SESSIONS = [f"session_2026-10-{day:02}_10-00-00_000001_1" for day in range(1, 8)]


@pytest.fixture(scope="module")
def listed(running: Running, bucket: GatedBucket) -> str:
    """A cluster of seven sessions, of which the newest is loaded, and one marker that is none."""
    for session in SESSIONS:
        bucket.mark("listed", session)
    bucket.mark("listed", "not-a-session")
    running.api.load(bucket.add("listed", SMALL))
    return "listed"


def _pages(running: Running, **query: object) -> list[list[dict[str, Any]]]:
    pages, cursor = [], ""
    while True:
        body = running.api.get("/sessions", params={**query, "cursor": cursor}).json()
        pages.append(body["sessions"])
        if body["next"] is None:
            return pages
        cursor = body["next"]


def test_rows_name_sessions_newest_first(running: Running, listed: str) -> None:
    body = running.api.get("/sessions", params={"q": "/listed/"}).json()
    assert body["total"] == 8
    assert body["next"] is None
    newest, *others = body["sessions"]
    assert newest["status"] == "loaded"
    assert {row["status"] for row in others} == {"absent"}
    assert [row["session"] for row in others] == SESSIONS[::-1]
    assert others[0] == {
        "ref": f"test/raycluster/listed/{SESSIONS[-1]}",
        "namespace": "test",
        "kind": "raycluster",
        "name": "listed",
        "cluster": "listed",
        "session": SESSIONS[-1],
        "createTime": "2026-10-07T10:00:00Z",
        "live": False,
        "status": "absent",
        "complete": None,
        "partial": False,
        "empty": False,
    }


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 9])
def test_pages_hold_every_row_once(running: Running, listed: str, limit: int) -> None:
    pages = _pages(running, q="/listed/", limit=limit)
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    whole = running.api.get("/sessions", params={"q": "/listed/"}).json()["sessions"]
    assert [row for page in pages for row in page] == whole


def test_pages_stay_right_while_sessions_come(running: Running, bucket: GatedBucket) -> None:
    for day in (1, 2, 3, 4):
        bucket.mark("growing", f"session_2026-09-0{day}_10-00-00_000001_1")
    first = running.api.get("/sessions", params={"q": "/growing/", "limit": 2}).json()
    bucket.mark("growing", "session_2026-09-09_10-00-00_000001_1")
    rest = running.api.get("/sessions", params={"q": "/growing/", "limit": 9, "cursor": first["next"]}).json()
    assert [row["session"][16:18] for row in first["sessions"] + rest["sessions"]] == ["04", "03", "02", "01"]


def test_filters(running: Running, listed: str) -> None:
    def found(**query: str) -> set[str]:
        return {row["session"] for row in running.api.get("/sessions", params=query).json()["sessions"] if row["name"] == "listed"}

    assert len(found()) == 8
    assert len(found(q="LISTED", namespace="test", kind="RayCluster")) == 8
    assert found(q="2026-10-03") == {SESSIONS[2]}
    assert found(namespace="default") == found(kind="rayjob") == found(q="nothing like it") == set()
    assert found(state="absent") == set(SESSIONS)
    assert len(found(state="Loaded")) == 1
    assert found(state="failed") == found(state="live") == set()


def test_clusters_are_kuberays_list(running: Running, listed: str) -> None:
    rows = [row for row in running.api.get("/clusters").json() if row["name"] == "listed"]
    assert rows[1] == {
        "name": "listed",
        "namespace": "test",
        "sessionName": SESSIONS[-1],
        "createTime": "2026-10-07T10:00:00Z",
        "createTimeStamp": 1791367200,
    }
    assert [row["sessionName"] for row in rows[1:]] == SESSIONS[::-1]
