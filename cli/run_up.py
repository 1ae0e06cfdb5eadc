"""What `ray-history up` goes on as: the processes of all its parts."""

from __future__ import annotations

import http.client
import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

from api.pages.builds import Builds
from cli import allocator, preflight
from cli.data_directory import default_builds_dir
from cli.embedded_server import EmbeddedServer, free_port
from cli.forked_parts import ForkedParts
from cli.processes import Processes

_READY_TIMEOUT = 90.0
_ASK_TIMEOUT = 5.0
# Longer than a child's own orderly end, which it knows better.
_GRACE = {"collector": 30.0, "redis": 10.0, "worker": 15.0, "api": 10.0}


def run(
    data_dir: str,
    host: str,
    port: int,
    workers: int,
    *,
    redis: tuple[str, str] | None,
    collecting: str,
    logs: bool,
    pages: str,
    fetch_pages: bool,
) -> int:
    """Until a signal asks to end. Raises Failed.

    `redis`: the program of an embedded server, and for what its data is good; None: RAY_HISTORY_REDIS_URL names one.
    `collecting`: what to say of Ray when it is collected, too.
    """
    allocator.forget_worker()
    with preflight.data_directory(Path(data_dir)) as directory:
        log_dir = directory / "logs"
        log_dir.mkdir(exist_ok=True)
        parts = _Parts(directory, None if logs else log_dir)
        with parts.children.signals():
            try:
                if parts.started(host, port, workers, redis=redis, collect=bool(collecting)):
                    print(f"Ray History Server is ready at http://{reachable(host)}:{port} (Ctrl-C ends it)", flush=True)
                    if collecting:
                        print(collecting, flush=True)
                    parts.offer_pages(Path(pages), fetch=fetch_pages)
                    parts.children.look_after(lambda said: print(f"ray-history: {said}", file=sys.stderr, flush=True))
            finally:
                parts.end()
    return 0


class _Parts:
    """The processes, on one data directory. `log_dir`: None shows their logs."""

    def __init__(self, directory: Path, log_dir: Path | None) -> None:
        self.children = Processes()
        self._directory = directory
        self._log_dir = log_dir
        self._forked: ForkedParts | None = None
        self._worker_ready = directory / "worker-ready"
        self._worker_ready.unlink(missing_ok=True)

    def started(self, host: str, port: int, workers: int, *, redis: tuple[str, str] | None, collect: bool) -> bool:
        """All are ready; False when a signal asked to stop first. Raises Failed."""
        if collect:
            # First, and ended last: it is there when Ray sends, and loses nothing when another part fails to start.
            self._start("collector", [sys.executable, "-m", "collector"])
        server = None
        if redis:
            program, made_for = redis
            server = EmbeddedServer(preflight.keep_for(self._directory / "redis", made_for), free_port(), program)
            self._start("redis", server.command(), stdin=server.configuration())
            # Children read the same environment.
            os.environ["RAY_HISTORY_REDIS_URL"] = server.url
        # While Redis reads its data.
        self._forked = ForkedParts()
        if server and not self.children.wait_until(server.answers, "redis", _READY_TIMEOUT):
            return False
        self._forked.check()
        self._start("worker", _ourselves("worker"), work=partial(self._forked.worker, workers, self._worker_ready))
        self._start("api", _ourselves("api"), work=self._forked.api)
        return self.children.wait_until(self._worker_ready.exists, "worker", _READY_TIMEOUT) and self.children.wait_until(
            lambda: _is_ready(reachable(host), port), "api", _READY_TIMEOUT
        )

    def offer_pages(self, pages: Path, *, fetch: bool) -> None:
        """The Ray dashboard's own pages, where they are not there yet."""
        command = ["dashboard", "fetch", *([] if pages == default_builds_dir() else ["--directory", str(pages)])]
        if fetch:
            self.children.start("fetch", _ourselves(*command), grace=1.0, errand=True)
        elif not Builds(str(pages)).of(None):
            said = f"ray-history {shlex.join(command)}"
            print(f"Sessions open on plain pages. For the Ray dashboard's own, also while this runs: {said}", flush=True)

    def end(self) -> None:
        self.children.end()
        if self._forked:
            self._forked.close()
        self._worker_ready.unlink(missing_ok=True)

    def _start(self, name: str, command: list[str], **how: Any) -> None:
        log = self._log_dir / f"{name}.log" if self._log_dir else None
        self.children.start(name, command, grace=_GRACE[name], log=log, **how)


def _ourselves(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cli", *arguments]


def _is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host.strip("[]"), port, timeout=_ASK_TIMEOUT)
    try:
        connection.request("GET", "/readz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def reachable(host: str) -> str:
    """The host to write in a URL: a wildcard address listens everywhere but is no place to go to."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host
