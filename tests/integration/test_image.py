"""The Dockerfile's own instructions, in a directory of their own: its installation is complete, and its start and health commands work."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from cli.embedded_server import free_port
from tests.dockerfile import Build, Stage
from tests.servers import Child, RedisServer
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
SESSION = "default/raycluster/raycap/session_2026-11-23_19-00-40_785172_1"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return Build(ROOT / "Dockerfile", tmp_path_factory.mktemp("image"), {"ENGINE": "python"})


@contextmanager
def _container(build: Build, directory: Path, name: str, command: list[str], settings: Mapping[str, object]) -> Iterator[Child]:
    """A process as an engine starts it: the image's entry point and environment, and a command and variables of the one who runs it."""
    stage = build.stages["runtime"]
    environment = build.environment(stage) | {key: str(value) for key, value in settings.items()}
    environment["HOME"] = environment["TMPDIR"] = str(directory)
    child = Child(name, [*_program(stage, environment), *(command or stage.command)], directory, environment)
    try:
        yield child
    finally:
        child.end()


def _program(stage: Stage, environment: Mapping[str, str]) -> list[str]:
    """The entry point, found as the image's PATH finds it."""
    found = next((p for place in environment["PATH"].split(":") if (p := Path(place, stage.entrypoint[0])).exists()), None)
    assert found is not None
    return [str(found), *stage.entrypoint[1:]]


def _is_healthy(build: Build, url: str) -> bool:
    stage = build.stages["runtime"]
    environment = build.environment(stage) | {"HEALTH_URL": url}
    return subprocess.run(stage.health, env=environment, capture_output=True, check=False, timeout=30).returncode == 0


def test_what_the_image_says(build: Build) -> None:
    runtime = build.stages["runtime"]
    assert runtime.scalars == {"EXPOSE": "8080 8081 5555", "STOPSIGNAL": "SIGTERM", "USER": "10001:10001"}
    assert (runtime.entrypoint, runtime.command) == (["ray-history"], ["api"])
    assert build.last == runtime, "`docker build` without a target is the runtime"


def test_it_holds_the_lock_and_no_tests(build: Build) -> None:
    environment = build.environment(build.stages["runtime"])
    program = Path(environment["VENV"], "bin", "python")
    listed = "import importlib.metadata as m, json; print(json.dumps(sorted(d.name.lower() for d in m.distributions())))"
    installed = json.loads(subprocess.run([program, "-c", listed], env=environment, capture_output=True, text=True, check=True).stdout)
    assert "ray-history-server" in installed
    assert not {"pytest", "moto", "hatchling", "pip", "uv"} & set(installed)
    assert not list(Path(environment["VENV"]).rglob("site-packages/tests"))


def test_all_three_processes_start_answer_and_end(build: Build, recorded: Path, redis_server: RedisServer, tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("api", "worker", "flower")}
    settings: dict[str, object] = {
        "RAY_HISTORY_STORAGE": f"file://{recorded / 'bucket'}",
        "RAY_HISTORY_REDIS_URL": redis_server.url(11),
        "RAY_HISTORY_HOST": "127.0.0.1",
        "RAY_HISTORY_PORT": ports["api"],
        "RAY_HISTORY_WORKER_HOST": "127.0.0.1",
        "RAY_HISTORY_WORKER_PORT": ports["worker"],
        "RAY_HISTORY_FLOWER_HOST": "127.0.0.1",
        "RAY_HISTORY_FLOWER_PORT": ports["flower"],
        "RAY_HISTORY_FLOWER_PASSWORD": "secret",
        "RAY_HISTORY_SNAPSHOT_TTL": 600,
    }
    health = {name: f"http://127.0.0.1:{ports[name]}/{'healthcheck' if name == 'flower' else 'livez'}" for name in ports}
    commands: dict[str, list[str]] = {"api": [], "worker": ["worker", "--concurrency", "1"], "flower": ["flower"]}
    for name, command in commands.items():
        assert not _is_healthy(build, health[name])
        with _container(build, tmp_path, name, command, settings) as child:
            wait_until(lambda name=name, child=child: _is_healthy(build, health[name]) or not child.runs(), name, 60)
            assert child.runs(), child.said
    # A worker that is ended before Celery has taken over signals leaves its directory behind.
    left = set(tmp_path.glob("ray-history-metrics-*"))
    with ExitStack() as stack:
        api = stack.enter_context(_container(build, tmp_path, "api", [], settings))
        worker = stack.enter_context(_container(build, tmp_path, "worker", commands["worker"], settings))
        url = f"http://127.0.0.1:{ports['api']}"
        wait_until(lambda: _is_healthy(build, health["api"]) and _is_healthy(build, health["worker"]), "both", 60)
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            wait_until(lambda: client.get(f"/enter_cluster/{SESSION}", params={"wait": 10}).status_code == 200, "the load", 60)
            answer = client.get(f"/sessions/{SESSION}/dashboard/api/v0/tasks", params={"limit": 10_000, "exclude_driver": "false"})
            assert answer.json()["data"]["result"]["total"] == 329
        for child in (api, worker):
            child.process.terminate()
            assert child.process.wait(30) in (0, -signal.SIGTERM), child.said
    assert set(tmp_path.glob("ray-history-metrics-*")) <= left, "metrics of processes that ended in order"
