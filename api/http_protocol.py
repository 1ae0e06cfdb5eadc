"""uvicorn's HTTP protocol with bounds on what precedes a request: the size and the time of its head, and how many connections wait.

uvicorn itself bounds only the size, and that with h11 alone, the slower of its parsers.
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, cast

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.errors import problem
from shared.settings import ApiSettings

# `: ` and a line end.
_PUNCTUATION = 4
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """`size`: bytes of request line and headers; `seconds`: from their first byte to their last; `idle`: connections without a request."""

    size: int
    seconds: float
    idle: int


class LimitedHttp(HttpToolsProtocol):
    """One connection, or request after request on it."""

    # Connections of this process without a request under way, the one that waits longest first.
    _waiting: ClassVar[dict[LimitedHttp, None]] = {}

    def __init__(self, *args: Any, limits: HeadLimits, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits = limits
        self._deadline: TimerHandle | None = None
        # The connection is a websocket's from now on.
        self._upgraded = False
        # Bytes that the parser took and that no body was made of.
        self._unread = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        # Load balancers and browsers open connections ahead: one that says nothing may wait as long as one between two requests.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_deadline()
        self._waiting.pop(self, None)

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        super().data_received(data)
        if self.transport.is_closing() or self._upgraded:
            return
        if self._unread > self._limits.size:
            self._refuse(_TOO_LARGE)
        elif self._deadline is None and self.timeout_keep_alive_task is None and self._between_requests():
            # Line ends before a request, or the rest of a body that nobody reads.
            self._start_deadline()

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True
        self._stop_deadline()
        self._waiting.pop(self, None)
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unread = 0
        self._stop_deadline()
        self._start_deadline()

    def on_headers_complete(self) -> None:
        self._stop_deadline()
        self._unread = 0
        self._waiting.pop(self, None)
        app = self.app
        if len(self.url) + sum(len(name) + len(value) + _PUNCTUATION for name, value in self.headers) > self._limits.size:
            self.app = _too_large
        try:
            super().on_headers_complete()
        finally:
            self.app = app

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._between_requests() and not self.transport.is_closing():
            self._wait()

    def _between_requests(self) -> bool:
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete)

    def _wait(self) -> None:
        """Of too many connections without a request the one that waits longest is closed: whoever comes to ask is let in."""
        self._waiting[self] = None
        if len(self._waiting) > self._limits.idle:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.transport.abort()

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(self._limits.seconds, self._refuse, _TOO_LATE)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, answer: bytes) -> None:
        """Ends the connection; an answer that is under way is not mixed with another one."""
        if self._between_requests():
            self.transport.write(answer)
        self.transport.close()


async def _too_large(scope: Scope, receive: Receive, send: Send) -> None:
    answer = problem(431, "head_too_large", "the request's headers are too large (RAY_HISTORY_HEAD_BYTES)")
    answer.headers.update({"Connection": "close", "X-Content-Type-Options": "nosniff"})
    await answer(scope, receive, send)


def http_protocol(settings: ApiSettings) -> type[HttpToolsProtocol]:
    """What `uvicorn.run(http=...)` makes connections of. It can be pickled, as uvicorn does for processes that share a port."""
    limits = HeadLimits(settings.head_bytes, settings.head_timeout, settings.idle_connections)
    return cast("type[HttpToolsProtocol]", partial(LimitedHttp, limits=limits))
