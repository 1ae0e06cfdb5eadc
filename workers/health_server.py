"""A worker's small HTTP server: `/metrics`, `/livez` and `/readz`, for Prometheus and probes. It runs in the worker's first process."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6, has_ipv6

import structlog

from shared.errors import SettingsError
from shared.exposition import page
from shared.settings import WorkerSettings

log = structlog.get_logger()

# Celery's consumer says every 2 s that it is there, as long as it has its broker.
_HEARTBEAT_AGE = 30.0


class WorkerState:
    """What the probes ask. Written by the worker's signals."""

    def __init__(self) -> None:
        self._taking = False
        self._ending = False
        self._seen = 0.0

    def ready(self) -> None:
        self._taking = True
        self.beat()

    def ending(self) -> None:
        self._ending = True

    def beat(self) -> None:
        self._seen = time.monotonic()

    def missing(self) -> list[str]:
        """Why no tasks are taken now; empty when they are."""
        if self._ending:
            return ["ending"]
        if not self._taking:
            return ["starting"]
        return ["broker"] if time.monotonic() - self._seen > _HEARTBEAT_AGE else []


class OwnServer:
    """Listens from `__init__` on, or raises SettingsError; serves from `start` on, in a thread."""

    def __init__(self, settings: WorkerSettings, state: WorkerState) -> None:
        handler = type("Handler", (_Handler,), {"state": state})
        kind = _Server6 if ":" in settings.worker_host and has_ipv6 else _Server
        try:
            self._server = kind((settings.worker_host, settings.worker_port), handler)
        except OSError as exc:
            raise SettingsError(
                f"RAY_HISTORY_WORKER_PORT: cannot listen on {settings.worker_host} port {settings.worker_port}: {exc.strerror}"
            ) from exc

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, name="own-server", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def close_inherited(self) -> None:
        """In a process that was forked: the port is not its business, and must not stay taken by it."""
        self._server.socket.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = AF_INET6


class _Handler(BaseHTTPRequestHandler):
    state: WorkerState
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            body, content_type = page()
            self._answer(200, body, content_type)
        elif path == "/livez":
            self._answer(200, b"ok", "text/plain")
        elif path == "/readz":
            missing = self.state.missing()
            body = json.dumps({"status": "not ready" if missing else "ready", "missing": missing}).encode()
            self._answer(503 if missing else 200, body, "application/json")
        else:
            self._answer(404, b"404: Not Found", "text/plain")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the parent's name
        log.debug("own server", request=format % args)
