"""Every recorded request for logs, asked again of a running server: the answers are those of the live dashboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.running import load, running

SESSIONS = {
    "default/raycluster/raycap/session_2026-11-23_19-00-40_785172_1": "raycap",
    "default/raycluster/raycap/session_2026-11-23_19-05-06_598956_1": "raycap",
    "default/raycluster/raycap/session_2026-11-23_19-07-13_553337_1": "raycap",
    "batch/rayjob/rj-demo/session_2026-11-23_19-08-07_927634_1": "rj-demo-x7k2p",
}
RICH = next(iter(SESSIONS))
# Directories that were empty: an object store keeps none.
EMPTY = {"nsight/", "old/", "profiles/", "rocprof_sys/"}
# What live could not answer: its agent was gone, or, for a submission without a node, a fault of Ray.
LIVE_COULD_NOT = re.compile(r"500 Internal|Agent for node id|A file is not found|Could not find a log file")
# Written to after the capture, too: the recorded text is the beginning of what was stored, or lines from its midst.
GROWN = re.compile(r"raylet|gcs_server|dashboard|monitor|debug_state|events/")


@pytest.fixture(scope="module")
def server(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(recorded / "bucket", tmp_path_factory.mktemp("up")) as address:
        for ref in SESSIONS:
            load(address, ref)
        yield address


@pytest.fixture
def client(server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server, timeout=30) as client:
        yield client


def _answers(recorded: Path, ref: str, *tags: str) -> list[dict[str, Any]]:
    directory = recorded / "live" / SESSIONS[ref] / ref.rsplit("/", maxsplit=1)[-1]
    answers = [json.loads(path.read_text()) for path in sorted(directory.glob("[0-9]*.json"))]
    found = [answer for answer in answers if answer["tag"] in tags]
    assert found
    return found


def _names(text: str) -> set[tuple[str, str]]:
    return {(component, name) for component, names in json.loads(text)["data"]["result"].items() for name in names}


@pytest.mark.parametrize("ref", SESSIONS)
def test_listings_are_those_of_live(client: httpx.Client, recorded: Path, ref: str) -> None:
    for answer in _answers(recorded, ref, "logs-list"):
        served = client.get(f"/sessions/{ref}/dashboard{answer['url']}")
        assert served.status_code == 200, answer["url"]
        if answer["status"] == 200:
            differ = _names(answer["body"]) ^ _names(served.text)
            assert {name for _, name in differ} <= EMPTY, answer["url"]


@pytest.mark.parametrize("ref", SESSIONS)
@pytest.mark.parametrize("tag", ["log-file", "log-driver", "log-submission", "log-task", "log-actor", "log-pid"])
def test_logs_are_those_of_live(client: httpx.Client, recorded: Path, ref: str, tag: str) -> None:
    for answer in _answers(recorded, ref, tag):
        served = client.get(f"/sessions/{ref}/dashboard{answer['url']}")
        if answer["status"] != 200:
            found = LIVE_COULD_NOT.match(answer["body"]) and "missing node" not in answer["body"]
            assert served.status_code == (200 if found else 404), (answer["url"], served.text)
            continue
        assert served.status_code == 200, (answer["url"], served.text)
        assert served.headers["content-disposition"] == answer["headers"]["Content-Disposition"]
        if served.text != answer["body"]:
            assert GROWN.search(answer["url"]) or "still-running" in answer["url"], answer["url"]
            tail = re.search(r"lines=(0|1|3|5|7|1000)\b", answer["url"]) or "lines=" not in answer["url"]
            if not tail and "debug_state" not in answer["url"]:
                assert served.text.startswith(answer["body"]), answer["url"]


@pytest.mark.parametrize("ref", SESSIONS)
def test_wrong_requests_are_refused_as_by_live_or_with_the_reason(client: httpx.Client, recorded: Path, ref: str) -> None:
    for answer in _answers(recorded, ref, "log-err", "logs-list-err"):
        served = client.get(f"/sessions/{ref}/dashboard{answer['url']}")
        # Live's handlers fail at most of them.
        assert served.status_code in ((400, 404) if answer["status"] == 500 else (answer["status"],)), (answer["url"], served.text)
        if answer["headers"]["Content-Type"].startswith("application/json"):
            assert served.json() == json.loads(answer["body"])


def test_by_cookie_the_answers_are_the_same(client: httpx.Client, recorded: Path) -> None:
    assert client.get(f"/enter_cluster/{RICH}").status_code == 200
    for answer in _answers(recorded, RICH, "log-task")[::10] + _answers(recorded, RICH, "logs-list")[::7]:
        by_cookie, by_path = client.get(answer["url"]), client.get(f"/sessions/{RICH}/dashboard{answer['url']}")
        assert (by_cookie.status_code, by_cookie.content) == (by_path.status_code, by_path.content)


def test_a_killed_node_still_has_its_logs(client: httpx.Client) -> None:
    """Live could not reach it any more."""
    prefix = f"/sessions/{RICH}/dashboard/api/v0/logs"
    killed = "c04793e0711c4a3b748fdacd2407e9d0e6aaf52e50f058241e141750"
    assert ("raylet", "raylet.out") in _names(client.get(f"{prefix}?node_id={killed}").text)
    of_task = client.get(f"{prefix}/file?task_id=45efae1e94df359fffffffffffffffffffffffff05000000")
    assert of_task.text == f"mover 0 {killed}\n"


@pytest.mark.parametrize("job", ["tasks-job", "stopped-job"])
def test_a_job_s_log_is_followed_to_its_end(client: httpx.Client, server: str, job: str) -> None:
    """As `ray job logs --follow` does it."""
    path = f"/sessions/{RICH}/dashboard/api/jobs/{job}/logs"
    with connect(f"{server.replace('http', 'ws')}{path}/tail", open_timeout=30) as websocket:
        followed = "".join(str(message) for message in websocket)
    assert f"Running entrypoint for job {job}" in followed
    assert followed == client.get(path).json()["logs"]
    assert followed == client.get(f"{path}/tail").text
    assert websocket.close_code == 1000


def test_a_job_that_is_not_there_refuses_to_be_followed(server: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{server.replace('http', 'ws')}/sessions/{RICH}/dashboard/api/jobs/nope/logs/tail", open_timeout=30)
    assert (refused.value.response.status_code, refused.value.response.body) == (404, b"Job nope does not exist")
