"""The HTTP server that Ray's aggregator agent posts to: `POST /v1/events`, answered 200 when the events are on disk.

Ray gives up on an answer after 3 s and sends the batch again, for ever. Anything but 200 makes it wait and send again, too. It has few
connections, each with large requests: a thread for each, which sleeps until a whole body is there, costs less than an event loop.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import httptools
import msgspec
import structlog

from collector.batches import Batch, NotEvents
from collector.journal import Full, Journal, NotDurable

log = structlog.get_logger()

EVENTS = b"/v1/events"
STATUS = b"/status"
LIVE = b"/livez"
_LARGEST_BODY = 256 << 20
_READ = 64 << 10
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    503: "Service Unavailable",
}


@dataclass(slots=True)
class Intake:
    """What came in, for `status` and `--check`; and where it goes. Thread-safe."""

    journal: Journal
    read: Callable[[bytes], Batch]
    """Raises NotEvents."""
    seen: Callable[[Batch], None]
    """Told of every batch before it is kept: a session's marker comes first. May raise OSError: the batch is not taken."""
    status: Callable[[], dict[str, object]]
    batches: int = 0
    events: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """Batches that were not taken, by reason."""
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: bytes) -> tuple[int, str]:
        """Status and text of the answer. Returns when the events are durable, or refused."""
        try:
            batch = self.read(body)
        except NotEvents as exc:
            log.warning("not events", error=str(exc), beginning=body[:200])
            return self._refuse("not events", 400, f"not a JSON array of events: {exc}")
        try:
            self.seen(batch)
            new = self.journal.append(batch)
        except Full as exc:
            return self._refuse("buffer full", 503, str(exc))
        except NotDurable as exc:
            return self._refuse("disk", 503, str(exc))
        except OSError as exc:
            return self._refuse("disk", 503, f"cannot be written: {exc.strerror or exc}")
        with self._counting:
            self.batches += 1
            self.events += new
        return 200, ""

    def _refuse(self, reason: str, status: int, text: str) -> tuple[int, str]:
        with self._counting:
            self.refused[reason] = self.refused.get(reason, 0) + 1
        return status, text


class IntakeServer(ThreadingTCPServer):
    """Listens as soon as it is made. Raises OSError when it cannot."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, intake: Intake) -> None:
        self.intake = intake
        self.address_family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        super().__init__((host, port), _Connection)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        problem = sys.exc_info()[1]
        if isinstance(problem, OSError):
            log.debug("connection broken off", error=str(problem))
        else:
            log.error("unexpected fault in a request", exc_info=problem)


class _Connection(BaseRequestHandler):
    """One connection of HTTP/1.1; httptools calls the `on_` methods. A request is answered before the next one is read."""

    server: IntakeServer
    request: socket.socket

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open = True
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_begin()
        while self._open and (data := self.request.recv(_READ)):
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade:
                self._answer(400, "no upgrades", close=True)
            except httptools.HttpParserCallbackError as exc:  # raised by one of ours
                raise exc.__context__ or exc from None
            except httptools.HttpParserError as exc:
                self._answer(400, f"bad request: {exc}", close=True)
            if self._open and self._size < self._length:
                self._read_rest(self._length - self._size)

    def _read_rest(self, missing: int) -> None:
        """The rest of a body of known length: there is nothing in it to parse."""
        rest = self.request.recv(missing, socket.MSG_WAITALL)
        self._body.append(rest)
        if len(rest) < missing:
            self._open = False
            return
        self.on_message_complete()
        self._parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self._url = b""
        self._declared = self._length = self._size = 0
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-length":
            self._declared = int(value)
        elif name == b"expect" and value.lower() == b"100-continue":
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_headers_complete(self) -> None:
        self._length = self._declared
        self._bound(self._length)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        self._bound(self._size)
        self._body.append(body)

    def _bound(self, size: int) -> None:
        if size > _LARGEST_BODY and self._open:
            self._answer(413, "too large", close=True)

    def on_message_complete(self) -> None:
        if not self._open:
            return
        path = self._url.partition(b"?")[0]
        close = not self._parser.should_keep_alive()
        self._length = 0
        if path == EVENTS:
            if self._parser.get_method() == b"POST":
                body, self._body = b"".join(self._body), []
                self._answer(*self.server.intake.take(body), close=close)
            else:
                self._answer(405, "POST only", close=close)
        elif path == STATUS:
            self._answer(200, msgspec.json.encode(self.server.intake.status()).decode(), close=close)
        elif path == LIVE:
            self._answer(200, "ok", close=close)
        else:
            self._answer(404, "POST events to /v1/events", close=close)

    def _answer(self, status: int, text: str, *, close: bool) -> None:
        content = text.encode()
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Length: {len(content)}\r\n" + ("Connection: close\r\n" if close else "")
        self.request.sendall(head.encode() + b"\r\n" + content)
        self._open = not close
