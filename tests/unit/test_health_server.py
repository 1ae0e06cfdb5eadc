"""A worker's health server, and what its probes say."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from cli.embedded_server import free_port
from shared.errors import SettingsError
from shared.settings import RedisSettings, Settings, WorkerSettings
from tests.waiting import wait_until
from workers import health_server, lane_states
from workers.health_server import HealthServer
from workers.lane_states import BROKER, ENDING, POOL, STUCK, TAKING, LaneStates


def _settings(port: int) -> Settings:
    settings = Settings.from_environment()
    nowhere = RedisSettings(redis_url="redis://127.0.0.1:1/0", redis_timeout=0.5)  # type: ignore[arg-type]
    return Settings(settings.storage, nowhere, settings.load, settings.api, settings.log, worker=WorkerSettings(worker_port=port))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LaneStates, str]]:
    states = LaneStates(["general", "light"])
    monkeypatch.setattr(HealthServer, "_ask_store", lambda _self: None)
    server = HealthServer(_settings(free_port()), states)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield states, f"http://127.0.0.1:{server.port}"
    server.close()
    thread.join()


def _missing(url: str) -> tuple[int, list[str]]:
    answer = httpx.get(f"{url}/readz")
    return answer.status_code, answer.json()["missing"]


def test_ready_while_all_lanes_take_tasks(served: tuple[LaneStates, str], monkeypatch: pytest.MonkeyPatch) -> None:
    states, url = served
    assert _missing(url) == (503, ["starting"])
    states.say("general", TAKING)
    assert _missing(url) == (503, ["starting"])
    states.say("light", TAKING)
    assert _missing(url) == (200, [])
    for word in (BROKER, STUCK, POOL, ENDING):
        states.say("light", word)
        assert _missing(url) == (503, [word])
    states.say("light", TAKING)
    with monkeypatch.context() as later:
        later.setattr(lane_states, "_SILENT", -1.0)
        assert _missing(url) == (503, ["stuck"])
    assert httpx.get(f"{url}/livez").status_code == 200


def test_not_ready_without_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    states = LaneStates(["general"])
    states.say("general", TAKING)
    monkeypatch.setattr(health_server, "_ASK_EVERY", 0.05)
    server = HealthServer(_settings(free_port()), states)
    assert server.missing() == []
    threading.Thread(target=server._ask_store, daemon=True).start()
    wait_until(lambda: server.missing() == ["redis"], "the outage to be seen")


def test_metrics_and_unknown_paths(served: tuple[LaneStates, str]) -> None:
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
            HealthServer(_settings(port), LaneStates(["general"]))
