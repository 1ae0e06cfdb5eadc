"""`ray-history up` as users run it: a real command with its real children, on the recorded sessions."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.waiting import wait_until

SESSION = "session_2026-11-23_19-00-40_785172_1"
REF = f"default/raycluster/raycap/{SESSION}"
STARTED = 120.0
STARTED_LINES = ("Ray History Server is ready at", "Sessions open on plain pages")
ENDED = 60.0


@pytest.fixture(scope="module")
def bucket(recorded: Path) -> Path:
    return recorded / "bucket"


def _environment(home: Path) -> dict[str, str]:
    """Ours without settings, so that a developer's own do not count."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("RAY_HISTORY_")}, "HOME": str(home)}


def _command(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments], env=_environment(home), capture_output=True, text=True, check=False, timeout=STARTED
    )


@dataclass
class Up:
    """A running `ray-history up`."""

    process: subprocess.Popen[str]
    output: Path
    data_dir: Path
    home: Path

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def url(self) -> str:
        match = re.search(r"ready at (http://\S+)", self.said)
        assert match, self.said
        return match[1]

    def until_ready(self) -> Up:
        wait_until(lambda: "ready at" in self.said or self.process.poll() is not None, "up", STARTED)
        assert self.process.poll() is None, self.said
        return self

    def ended(self) -> int:
        return self.process.wait(ENDED)

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return _command(*arguments, "--server", self.url, home=self.home)


@contextmanager
def _up(bucket: Path, tmp_path: Path, *options: str) -> Iterator[Up]:
    output = tmp_path / "output"
    data_dir = tmp_path / "data"
    command = [
        sys.executable,
        "-m",
        "cli",
        "up",
        "--storage",
        str(bucket),
        "--data-dir",
        str(data_dir),
        "--port",
        "0",
        "--workers",
        "1",
        *options,
    ]
    with output.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=_environment(tmp_path), text=True)
    try:
        yield Up(process, output, data_dir, tmp_path)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(ENDED)
            finally:
                process.kill()


def _descendants(pid: int) -> list[psutil.Process]:
    """Every process that came from `pid`, the first started first."""
    return sorted(psutil.Process(pid).children(recursive=True), key=lambda child: child.create_time())


def _left(children: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; zombies have ended, whoever adopted them has only not looked yet."""
    return [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def _all_gone(children: list[psutil.Process], timeout: float = 10) -> None:
    wait_until(lambda: not _left(children), f"the end of {children}", timeout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_one_signal_ends_everything(bucket: Path, tmp_path: Path, number: signal.Signals) -> None:
    with _up(bucket, tmp_path) as up:
        up.until_ready()
        children = _descendants(up.process.pid)
        assert len(children) >= 3, children
        assert httpx.get(f"{up.url}/readz").status_code == 200
        up.process.send_signal(number)
        assert up.ended() == 0, up.said
        _all_gone(children)
        assert len(up.said.splitlines()) == len(STARTED_LINES), up.said


def test_a_recorded_session_is_loaded_and_kept_for_the_next_start(bucket: Path, tmp_path: Path) -> None:
    with _up(bucket, tmp_path) as up:
        up.until_ready()
        listed = up.ask("sessions")
        assert listed.returncode == 0, listed.stderr
        assert sum("session_2026-11-23" in line for line in listed.stdout.splitlines()) == 4
        loaded = up.ask("load", REF, "--wait")
        assert loaded.returncode == 0, loaded.stderr
        assert loaded.stdout == f"{REF} is loaded\n"
        tasks = httpx.get(
            f"{up.url}/sessions/{REF}/dashboard/api/v0/tasks", params={"detail": "1", "limit": "10000", "exclude_driver": "false"}
        )
        assert tasks.json()["data"]["result"]["total"] == 329
        counted = httpx.get(f"{up.url}/metrics").text
        assert re.search(r'^ray_history_request_seconds_count\{.*route="/readz".*\} [1-9]', counted, re.MULTILINE), counted
        # The worker, forked from the same process, counts for itself.
        assert "ray_history_loads_total{" not in counted
        up.process.send_signal(signal.SIGINT)
        assert up.ended() == 0, up.said
    with _up(bucket, tmp_path) as up:
        up.until_ready()
        assert _state(up) == "loaded"
        evicted = up.ask("evict", REF)
        assert evicted.returncode == 0, evicted.stderr
        assert _state(up) == "absent"


def _state(up: Up) -> str:
    said = up.ask("status", REF).stdout
    found = re.search(r"^state: +(\w+)$", said, re.MULTILINE)
    assert found, said
    return found[1]


def test_a_child_that_dies_is_started_again(bucket: Path, tmp_path: Path) -> None:
    with _up(bucket, tmp_path) as up:
        up.until_ready()
        assert up.ask("load", REF, "--wait").returncode == 0
        for name, pattern in (("redis", "valkey-server"), ("worker", "cli worker"), ("api", "cli api")):
            child = next(child for child in psutil.Process(up.process.pid).children() if pattern in " ".join(child.cmdline()))
            child.kill()
            wait_until(lambda name=name: f"ray-history: {name} was killed by SIGKILL" in up.said, f"{name} to be missed")
        wait_until(lambda: _ready(up.url), "all to be ready again", STARTED)
        assert up.ask("evict", REF).returncode == 0
        assert up.ask("load", REF, "--wait").stdout == f"{REF} is loaded\n"
        assert up.process.poll() is None
        assert len(up.said.splitlines()) == len(STARTED_LINES) + 3, up.said


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readz").status_code == 200
    except httpx.TransportError:
        return False


def test_nothing_is_left_when_up_itself_is_killed(bucket: Path, tmp_path: Path) -> None:
    with _up(bucket, tmp_path) as up:
        up.until_ready()
        children = _descendants(up.process.pid)
        up.process.kill()
        up.ended()
        _all_gone(children, ENDED)


def _fails_before_anything_starts(tmp_path: Path, expected: str, *options: str) -> None:
    result = _command("up", *options, home=tmp_path)
    assert result.returncode == 1, result
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert re.search(expected, result.stderr), result.stderr
    assert not (tmp_path / "data" / "logs").exists()


def test_a_busy_port_is_one_line(bucket: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        options = ("--storage", str(bucket), "--data-dir", str(tmp_path / "data"), "--port", port)
        _fails_before_anything_starts(tmp_path, f"^ray-history: port {port} on 127.0.0.1 is in use", *options)


def test_an_unwritable_data_directory_is_one_line(bucket: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = ("--storage", str(bucket), "--data-dir", str(tmp_path / "file" / "data"), "--port", "0")
    _fails_before_anything_starts(tmp_path, "^ray-history: cannot write to the data directory ", *options)


def test_a_missing_storage_path_is_one_line(tmp_path: Path) -> None:
    options = ("--storage", str(tmp_path / "absent"), "--data-dir", str(tmp_path / "data"), "--port", "0")
    _fails_before_anything_starts(tmp_path, "^ray-history: .*absent", *options)


def test_no_storage_at_all_is_one_line(tmp_path: Path) -> None:
    _fails_before_anything_starts(tmp_path, "^ray-history: .*RAY_HISTORY_STORAGE", "--data-dir", str(tmp_path / "data"), "--port", "0")


def test_a_redis_that_does_not_answer_is_one_line(bucket: Path, tmp_path: Path) -> None:
    options = ("--storage", str(bucket), "--data-dir", str(tmp_path / "data"), "--port", "0", "--redis-url", "redis://127.0.0.1:1/0")
    _fails_before_anything_starts(tmp_path, "^ray-history: .*127.0.0.1:1", *options)
