"""A reverse proxy on loopback that breaks the answers of the object store behind it, as a test says."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Fault = Literal["500", "503", "reset", "stall", "truncate", "halve"]
FAULTS: tuple[Fault, ...] = ("500", "503", "reset", "stall", "truncate", "halve")
Rule = Callable[[str, str], "Fault | tuple[int, str] | None"]
"""(method, path with query) to a fault, to an answer (status, S3 error code) of the proxy's own, or to None: pass it on.

500, 503: an error of the store (503 with S3's SlowDown); reset: the connection is reset before the answer; stall: the answer stops
half-way and the connection stays open; truncate: it ends half-way, against its Content-Length; halve: half of the body as if it were all.
"""


class FaultProxy:
    """`endpoint` stands for the store's; `rule` may change at any time; `seen` counts faults by name, and "passed"."""

    def __init__(self, upstream: str, endpoint: str) -> None:
        self.upstream = urlsplit(upstream)
        self.endpoint = endpoint
        self.rule: Rule = lambda _method, _path: None
        self.seen: Counter[str] = Counter()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bytes_passed = 0
        self.headers: dict[str, str] = {}
        self.ended = threading.Event()


@contextmanager
def fault_proxy(upstream: str, tls: ssl.SSLContext | None = None) -> Iterator[FaultProxy]:
    """A proxy before the store at `upstream` (`http://host:port[/path]`); serves HTTPS with `tls`."""
    server = _Server(("127.0.0.1", 0), _Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "https" if tls else "http"
    proxy = FaultProxy(upstream, f"{scheme}://127.0.0.1:{server.server_address[1]}{urlsplit(upstream).path}")
    server.proxy = proxy
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: FaultProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Silent."""

    def _answer(self) -> None:
        proxy = self.server.proxy
        proxy.requests.append((self.command, self.path, dict(self.headers)))
        fault = proxy.rule(self.command, self.path)
        proxy.seen[fault if isinstance(fault, str) else "answered" if fault else "passed"] += 1
        if fault == "reset":
            # A lingering time of zero makes close() send RST.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if isinstance(fault, tuple) or fault in ("500", "503"):
            status, code = fault if isinstance(fault, tuple) else (int(fault), "SlowDown" if fault == "503" else "InternalError")
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
            self._send(status, {"Content-Type": "application/xml", **proxy.headers}, b"" if self.command == "HEAD" else body, len(body))
            return
        status, headers, body = self._ask(proxy)
        length = int(headers.pop("Content-Length", len(body)))
        proxy.bytes_passed += len(body)
        if not body or fault is None:
            self._send(status, headers, body, length)
        elif fault == "halve":
            self._send(status, headers, body[: len(body) // 2], len(body) // 2)
        else:
            self._send(status, headers, body[: len(body) // 2], length)
            if fault == "stall":
                proxy.ended.wait(60)
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = _answer  # noqa: N815

    def _ask(self, proxy: FaultProxy) -> tuple[int, dict[str, str], bytes]:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = HTTPConnection(proxy.upstream.hostname or "", proxy.upstream.port, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection", "content-length")}
            connection.request(self.command, self.path, sent or None, {**headers, "Host": proxy.upstream.netloc})
            answer = connection.getresponse()
            kept = {k.title(): v for k, v in answer.getheaders() if k.lower() not in ("connection", "transfer-encoding")}
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def _send(self, status: int, headers: dict[str, str], body: bytes, length: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
