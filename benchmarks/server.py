"""The whole server for benchmarks: embedded Valkey, worker processes and an API process, as `ray-history up` runs them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from pydantic import SecretStr

from benchmarks.http_client import Connection
from cli.embedded_server import EmbeddedServer, free_port
from cli.processes import Processes
from shared.sessions import Session
from shared.settings import RedisSettings, StorageSettings
from shared.store.client import SyncRedis, open_redis
from shared.store.keys import Keyspace, fingerprint

_READY = 60.0
_GRACE = 15.0
_SETTLED = 10.0
_CLI = [sys.executable, "-m", "cli"]


class Server:
    """Parts can be started anew one by one: an API process with cold caches, workers of another number."""

    def __init__(self, storage: StorageSettings, directory: Path) -> None:
        for name in [name for name in os.environ if name.startswith("RAY_HISTORY_")]:
            del os.environ[name]
        self.port = 0
        self._directory = directory
        self._storage = storage
        self.keyspace = Keyspace(storage=fingerprint(storage))
        self._parts: dict[str, Processes] = {}
        self._pids: dict[str, int] = {}
        self._embedded = EmbeddedServer(directory / "redis", free_port())
        self._embedded.directory.mkdir(parents=True)

    def start(self, workers: int) -> None:
        redis = self._part("redis", self._embedded.command(), stdin=self._embedded.configuration())
        redis.wait_until(self._embedded.answers, "redis", _READY)
        self.redis: SyncRedis = open_redis(self.redis_settings)
        self.start_workers(workers)
        self.start_api()

    @property
    def redis_settings(self) -> RedisSettings:
        return RedisSettings(redis_url=SecretStr(self._embedded.url), redis_timeout=30)

    def start_workers(self, count: int, engine: str = "auto") -> None:
        """Instead of those that run, if any. `engine` is RAY_HISTORY_ENGINE."""
        self._end("worker")
        ready = self._directory / "worker-ready"
        ready.unlink(missing_ok=True)
        part = self._part("worker", [*_CLI, "worker", "--concurrency", str(count), "--ready-file", str(ready)], engine=engine)
        part.wait_until(ready.exists, "worker", _READY)

    def end_workers(self) -> None:
        """What is asked for from now on waits."""
        self._end("worker")

    def start_api(self) -> None:
        """Instead of the one that runs, if any."""
        self._end("api")
        self.port = free_port()
        self._part("api", [*_CLI, "api", "--port", str(self.port)]).wait_until(self._is_ready, "api", _READY)

    def stop(self) -> None:
        for name in ("api", "worker", "redis"):
            self._end(name)

    def connect(self) -> Connection:
        return Connection(self.port)

    def worker_processes(self) -> list[psutil.Process]:
        """Those that run tasks: children of the worker."""
        return [process for process in self._process("worker").children(recursive=True) if process.is_running()]

    def api_process(self) -> psutil.Process:
        return self._process("api")

    def measured_up(self, workers: int, directory: Path, measure: Callable[[list[psutil.Process]], float]) -> float:
        """`ray-history up` on the same storage and a data directory of its own, while worker and API of this server do not run."""
        self._end("worker")
        self._end("api")
        directory.mkdir()
        port, log, children = free_port(), directory / "up.log", Processes()
        command = [*_CLI, "up", "--workers", str(workers), "--port", str(port), "--data-dir", str(directory / "data")]

        def is_ready() -> bool:
            return " is ready at " in log.read_text()

        with _environ(_environment(self._storage)):
            up = children.start("up", command, grace=2 * _GRACE, log=log).process.pid
        try:
            children.wait_until(is_ready, "up", _READY)
            # What it does at first is done: the index of jobs looks at the bucket.
            time.sleep(_SETTLED)
            parts = psutil.Process(up)
            return measure([parts, *parts.children(recursive=True)])
        finally:
            children.end()

    def processes(self) -> dict[str, list[psutil.Process]]:
        """All processes of each part."""
        parts = {name: self._process(name) for name in ("api", "worker")}
        return {name: [part, *part.children(recursive=True)] for name, part in parts.items()}

    def evict(self, session: Session) -> None:
        with self.connect() as connection:
            connection.request("DELETE", f"/sessions/{session.ref}")

    def answer(self, session: Session, path: str) -> Any:
        """JSON of a dashboard route. Raises AssertionError for anything but 200."""
        with self.connect() as connection:
            answer = connection.get(route(session, path))
        assert answer.status == 200, (path, answer.status, answer.body[:500])
        return json.loads(answer.body)

    def _part(self, name: str, command: list[str], stdin: bytes | None = None, engine: str = "auto") -> Processes:
        environment = {
            **_environment(self._storage),
            "RAY_HISTORY_REDIS_URL": self._embedded.url,
            "RAY_HISTORY_ENGINE": engine,
            # Nothing is listed while something else is measured, but once at the start.
            "RAY_HISTORY_JOB_INDEX_INTERVAL": "86400",
        }
        part = self._parts[name] = Processes()
        # Children read our environment, as those of `up` do.
        with _environ(environment):
            self._pids[name] = part.start(name, command, grace=_GRACE, log=self._directory / f"{name}.log", stdin=stdin).process.pid
        return part

    def _end(self, name: str) -> None:
        if name in self._parts:
            self._parts.pop(name).end()

    def _is_ready(self) -> bool:
        try:
            with self.connect() as connection:
                return connection.get("/readz").status == 200
        except OSError:
            return False

    def _process(self, name: str) -> psutil.Process:
        return psutil.Process(self._pids[name])


def _environment(storage: StorageSettings) -> dict[str, str]:
    """Variables that say the same."""
    given = {name: getattr(storage, name) for name in storage.model_fields_set}
    texts = {name: value.get_secret_value() if isinstance(value, SecretStr) else str(value) for name, value in given.items()}
    return {f"RAY_HISTORY_{name.upper()}": text for name, text in texts.items()}


@contextmanager
def _environ(variables: dict[str, str]) -> Iterator[None]:
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def route(session: Session, path: str) -> str:
    """A dashboard route of one session, by path."""
    return f"/sessions/{session.ref}/dashboard/{path}"


@contextmanager
def running(storage: StorageSettings, directory: Path, workers: int) -> Iterator[Server]:
    """`directory` must be empty: the server's data and logs lie in it."""
    server = Server(storage, directory)
    try:
        server.start(workers)
        yield server
    finally:
        server.stop()


def now_ms() -> float:
    """On the clock that the load status is written by, too."""
    return time.time() * 1000
