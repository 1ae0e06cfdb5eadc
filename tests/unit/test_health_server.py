"""A worker's own small server, and what its probes say."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from shared.errors import SettingsError
from shared.settings import WorkerSettings
from workers import own_server
from workers.own_server import OwnServer, WorkerState


@pytest.fixture
def served() -> Iterator[tuple[WorkerState, str]]:
    state = WorkerState()
    server = OwnServer(WorkerSettings(worker_port=0), state)
    server.start()
    yield state, f"http://127.0.0.1:{server.port}"
    server.close()


def test_ready_while_it_takes_tasks(served: tuple[WorkerState, str], monkeypatch: pytest.MonkeyPatch) -> None:
    state, url = served

    def missing() -> tuple[int, list[str]]:
        answer = httpx.get(f"{url}/readz")
        return answer.status_code, answer.json()["missing"]

    assert missing() == (503, ["starting"])
    state.ready()
    assert missing() == (200, [])
    with monkeypatch.context() as later:
        later.setattr(own_server, "_HEARTBEAT_AGE", -1.0)
        assert missing() == (503, ["broker"])
    state.ending()
    assert missing() == (503, ["ending"])
    assert httpx.get(f"{url}/livez").status_code == 200


def test_metrics_and_unknown_paths(served: tuple[WorkerState, str]) -> None:
    _, url = served
    answer = httpx.get(f"{url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "# HELP ray_history_loads_total Loads that ended" in answer.text
    assert httpx.get(f"{url}/other").status_code == 404
    assert httpx.post(f"{url}/metrics").status_code == 501


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"RAY_HISTORY_WORKER_PORT: cannot listen on 127.0.0.1 port {port}"):
            OwnServer(WorkerSettings(worker_port=port), WorkerState())
