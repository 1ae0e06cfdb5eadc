"""A worker's small HTTP server: `/metrics`, `/livez` and `/readz`, for Prometheus and probes. It runs in a process of its own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6, has_ipv6

import structlog

from shared.errors import HistoryError, SettingsError
from shared.exposition import page
from shared.settings import Settings
from shared.store.client import open_redis, redis_errors
from workers.lane_states import LaneStates

log = structlog.get_logger()

_ASK_EVERY = 2.0


class HealthServer:
    """Listens from `__init__` on, or raises SettingsError; serves in `run`."""

    def __init__(self, settings: Settings, states: LaneStates) -> None:
        self._settings = settings
        self._states = states
        self._store_missing = False
        host, port = settings.worker.worker_host, settings.worker.worker_port
        handler = type("Handler", (_Handler,), {"missing": staticmethod(self.missing)})
        kind = _Server6 if ":" in host and has_ipv6 else _Server
        try:
            self._server = kind((host, port), handler)
        except OSError as exc:
            raise SettingsError(f"RAY_HISTORY_WORKER_PORT: cannot listen on {host} port {port}: {exc.strerror}") from exc

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def run(self) -> int:
        """Until the process is ended."""
        threading.Thread(target=self._ask_store, name="ask-store", daemon=True).start()
        self._server.serve_forever()
        return 0

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def close_inherited(self) -> None:
        """In a process that was forked: the port is not its business, and must not stay taken by it."""
        self._server.socket.close()

    def missing(self) -> list[str]:
        """Why this worker cannot load sessions now; empty when it can."""
        return sorted([*self._states.missing(), *(["redis"] if self._store_missing else [])])

    def _ask_store(self) -> None:
        """The store, which may be another server than the broker."""
        while True:
            try:
                with redis_errors(), open_redis(self._settings.redis, retries=0) as client:
                    while client.ping():
                        self._store_missing = False
                        time.sleep(_ASK_EVERY)
            except HistoryError as exc:
                if not self._store_missing:
                    log.warning("store does not answer", error=str(exc))
                self._store_missing = True
            time.sleep(_ASK_EVERY)


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = AF_INET6


class _Handler(BaseHTTPRequestHandler):
    missing: Callable[[], list[str]]
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
            missing = self.missing()
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
        log.debug("health server", request=format % args)
