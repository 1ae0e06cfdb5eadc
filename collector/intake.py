"""The HTTP server that Ray's aggregator agent posts to: `POST /v1/events`, answered 200 when the events are on disk.

Ray gives up on an answer after 3 s and sends the batch again, for ever. Anything but 200 makes it wait and send again, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import httptools
import msgspec
import structlog

from collector.batches import Batch, NotEvents
from collector.journal import Full, Journal

log = structlog.get_logger()

EVENTS = b"/v1/events"
STATUS = b"/status"
LIVE = b"/livez"
_LARGEST_BODY = 256 << 20
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
    """What came in, for `status` and `--check`; and where it goes."""

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

    def take(self, body: bytes, answer: Callable[[int, str], None]) -> None:
        """`answer` is called once, maybe from another thread."""
        try:
            batch = self.read(body)
        except NotEvents as exc:
            log.warning("not events", error=str(exc), beginning=body[:200])
            self._refuse("not events")
            answer(400, f"not a JSON array of events: {exc}")
            return
        try:
            self.seen(batch)
            new = self.journal.append(batch, lambda reason: self._done(reason, answer))
        except Full as exc:
            self._refuse("buffer full")
            answer(503, str(exc))
            return
        except OSError as exc:
            self._refuse("disk")
            answer(503, f"cannot be written: {exc.strerror or exc}")
            return
        self.batches += 1
        self.events += new

    def _done(self, reason: str, answer: Callable[[int, str], None]) -> None:
        if reason:
            self._refuse("disk")
        answer(503 if reason else 200, reason)

    def _refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1


class Connection(asyncio.Protocol):
    """One connection of HTTP/1.1. A request is answered before the next one of its connection is read."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._body: list[bytes] = []
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        self._transport = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._answer(400, "no upgrades", close=True)
        except httptools.HttpParserError as exc:
            self._answer(400, f"bad request: {exc}", close=True)

    def on_message_begin(self) -> None:
        self._begin()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"expect" and value.lower() == b"100-continue" and self._transport:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > _LARGEST_BODY:
            self._body.clear()
            self._answer(413, "too large", close=True)
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        path = self._url.partition(b"?")[0]
        keep = self._parser.should_keep_alive()
        method = self._parser.get_method()
        if path == EVENTS:
            if method != b"POST":
                self._answer(405, "POST only", close=not keep)
                return
            if self._transport:
                self._transport.pause_reading()
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._body = []
            self._intake.take(body, partial(self._answer_from_anywhere, close=not keep))
        elif path == STATUS:
            self._answer(200, msgspec.json.encode(self._intake.status()).decode(), close=not keep)
        elif path == LIVE:
            self._answer(200, "ok", close=not keep)
        else:
            self._answer(404, "POST events to /v1/events", close=not keep)

    def _answer_from_anywhere(self, status: int, text: str, *, close: bool) -> None:
        self._loop.call_soon_threadsafe(self._answer_and_go_on, status, text, close)

    def _answer_and_go_on(self, status: int, text: str, close: bool) -> None:
        self._answer(status, text, close=close)
        if self._transport and not self._transport.is_closing():
            self._transport.resume_reading()

    def _answer(self, status: int, text: str, *, close: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        content = text.encode()
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Length: {len(content)}\r\n" + ("Connection: close\r\n" if close else "")
        self._transport.write(head.encode() + b"\r\n" + content)
        if close:
            self._transport.close()
