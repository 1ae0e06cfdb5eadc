"""A real Ray, collected and shown, as a new user would: `make ray` installs one and runs this. Not part of `make test`: it takes minutes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from cli.embedded_server import free_port
from tests.waiting import wait_until

RAY = os.environ.get("RAY_PROGRAM", "")
_ROOT = Path(__file__).parent.parent
_LONG = 300.0
_JOB = """
import ray
ray.init()

@ray.remote
def work(number):
    print("working on", number)
    return number

assert sum(ray.get([work.remote(number) for number in range(40)])) == 780
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short: Ray's sockets lie below it."""
    made = Path(tempfile.mkdtemp(prefix="rhs-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def ports() -> dict[str, int]:
    """A Ray beside others on the same machine."""
    names = (
        "port",
        "dashboard-port",
        "ray-client-server-port",
        "dashboard-agent-listen-port",
        "dashboard-agent-grpc-port",
        "metrics-export-port",
    )
    return {name: free_port() for name in names}


def readme_commands() -> list[str]:
    """The block that begins to collect from nothing, without its comments. docs/collector.md says the same."""
    said = []
    for page in ("README.md", "docs/collector.md"):
        blocks = re.findall(r"(?:^    .*\n)+", (_ROOT / page).read_text(), re.MULTILINE)
        (block,) = [block for block in blocks if "up --collect" in block]
        said.append([line.partition("#")[0].strip() for line in block.splitlines()])
    assert said[0] == said[1]
    return said[0]


def test_from_nothing_to_a_session_on_the_page_in_four_commands(directory: Path) -> None:
    assert RAY, "RAY_PROGRAM names no ray: `make ray`"
    install, up_collect, start, run_and_stop = readme_commands()
    assert install == "pip install ."  # done: this is the environment that it makes
    run, stop = run_and_stop.split("; ")
    assert stop == "ray stop"
    chosen = ports()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "PATH": f"{Path(RAY).parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(directory),
        "RAY_USAGE_STATS_ENABLED": "0",
        # On a busy machine Ray's own patience is too short.
        "RAY_raylet_start_wait_time_s": "300",
        "RAY_HISTORY_PORT": "0",
        "RAY_HISTORY_COLLECT_PORT": str(free_port()),
        "RAY_HISTORY_COLLECT_RAY_DIR": str(directory / "ray"),
        "RAY_HISTORY_COLLECT_DASHBOARD": f"http://127.0.0.1:{chosen['dashboard-port']}",
        "RAY_HISTORY_COLLECT_ROTATION": "2",
        "RAY_HISTORY_COLLECT_POLL": "3",
    }
    options = " ".join(f"--{name}={port}" for name, port in chosen.items())
    (directory / "my_job.py").write_text(_JOB)
    with (directory / "output").open("w") as output:
        up = subprocess.Popen(up_collect.split(), stdout=output, stderr=output, env=environment)
    try:
        wait_until(lambda: "ready at" in (directory / "output").read_text() or up.poll() is not None, "up is ready", _LONG)
        found = re.search(r"ready at (http://\S+)", (directory / "output").read_text())
        assert found, (directory / "output").read_text()
        with httpx.Client(base_url=found[1], timeout=60, trust_env=False) as client:
            flags = f"--temp-dir={directory / 'ray'} --num-cpus=2 --object-store-memory=80000000 --min-worker-port=0 --max-worker-port=0"
            assert start.endswith("ray start --head")
            shell(f"{start} {flags} {options}", environment)
            wait_until(lambda: [row["sessionName"] for row in client.get("/clusters").json()][:1] == ["live"], "the cluster is live", _LONG)
            live = client.get("/sessions/default/raycluster/ray/live/dashboard/api/version")
            assert live.status_code == 200, live.text
            session = live.json()["session_name"]

            # As in the terminal in which Ray was started: a driver sends its events only if it has that environment, too.
            there = f"cd {directory}; export RAY_ADDRESS=127.0.0.1:{chosen['port']}"
            shell(f"{there}; {start.partition('; ')[0]}; {run}", environment)
            assert "MISSING" not in shell("ray-history collect --check", environment)
            end_ray(directory, signal.SIGTERM)

            wait_until(lambda: client.get("/clusters").json()[0]["sessionName"] == session, "the session has ended", _LONG)
            ref = f"default/raycluster/ray/{session}"
            wait_until(lambda: '"ended": "' in next(directory.rglob("history/**/collector.json")).read_text(), "all is uploaded", _LONG)
            wait_until(lambda: client.get(f"/enter_cluster/{ref}", params={"wait": 10}).status_code == 200, "it is loaded", _LONG)
            record = client.get(f"/sessions/{ref}").json()
            assert record["complete"] is True, record
            dashboard = f"/sessions/{ref}/dashboard/api/v0"
            tasks = client.get(f"{dashboard}/tasks", params={"detail": 1, "limit": 10_000}).json()["data"]["result"]["result"]
            finished = [task for task in tasks if task["name"] == "work" and task["state"] == "FINISHED"]
            assert len(finished) == 40
            parameters = {"task_id": finished[0]["task_id"], "lines": -1}
            assert "working on" in client.get(f"{dashboard}/logs/file", params=parameters).text
            nodes = client.get(f"{dashboard}/nodes").json()["data"]["result"]["result"]
            assert [node["is_head_node"] for node in nodes] == [True]
    finally:
        up.terminate()
        up.wait(60)
        end_ray(directory, signal.SIGKILL)


def end_ray(directory: Path, number: signal.Signals) -> None:
    """As `ray stop` does, but of the Ray in that directory only: other clusters of the machine are none of our business."""
    processes = [
        process for process in psutil.process_iter(["cmdline"]) if str(directory / "ray") in " ".join(process.info["cmdline"] or ())
    ]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    psutil.wait_procs(processes, 60)


def shell(command: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run(["bash", "-c", command], env=dict(environment), capture_output=True, text=True, timeout=_LONG, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
