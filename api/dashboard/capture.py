"""What a route answers, taken before it is sent: a whole body is packed and given back, a stream is packed as it passes."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from starlette.types import Message, Send

from api import compression
from api.dashboard import answers

Headers = list[tuple[bytes, bytes]]
# Packing more than this leaves the event loop.
_PACKED_HERE = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer in one encoding. Pieces of its body may be cached blocks, which are then not kept twice."""

    status: int
    headers: Headers
    body: list[bytes]

    @property
    def size(self) -> int:
        return sum(map(len, self.body))


class Capture:
    """Takes a route's messages: a body of one message is packed and given back as a whole, a stream is packed as it passes."""

    def __init__(self, send: Send, tag: bytes, encoding: str, *, head: bool) -> None:
        self._send = send
        self._tag = tag
        self._encoding = encoding
        self.head = head
        self._start: Message = {}
        self._whole: list[bytes] | None = None
        self._packer: compression.Packer | None = None
        self.streaming = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if not self.streaming and not more:
            self._whole = message.get(answers.PIECES) or [body]
            return
        if not self.streaming:
            self.streaming = True
            await self._begin_stream()
        if self.head:
            body = b""
        elif self._packer is not None:
            body = self._packer.compress(body) + (b"" if more else self._packer.flush())
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _begin_stream(self) -> None:
        headers: Headers = list(self._start.get("headers", []))
        if self._encoding and not self.head and _packs(headers):
            self._packer = compression.packer(self._encoding)
            headers = _packed(headers, self._encoding)
        await self._send({**self._start, "headers": tagged(headers, self._tag) if self._start["status"] == 200 else headers})

    async def finish(self) -> Answer | None:
        """The answer, if it was no stream."""
        if self._whole is None:
            return None
        body, status = self._whole, int(self._start["status"])
        headers: Headers = list(self._start.get("headers", []))
        size = sum(map(len, body))
        if self._encoding and size >= compression.SMALLEST and _packs(headers):
            if size <= _PACKED_HERE:
                # Whole: isal packs a short body worse after a very short first piece.
                body = [compression.pack(b"".join(body), self._encoding)]
            else:
                body = [await anyio.to_thread.run_sync(compression.pack_pieces, body, self._encoding)]
            headers = _packed(headers, self._encoding)
            headers.append((b"content-length", str(len(body[0])).encode()))
        return Answer(status, tagged(headers, self._tag) if status == 200 else headers, body)


def _packs(headers: Headers) -> bool:
    found = dict(headers)
    return compression.packable(found.get(b"content-type", b"")) and b"content-encoding" not in found


def _packed(headers: Headers, encoding: str) -> Headers:
    return [(n, v) for n, v in headers if n != b"content-length"] + [(b"content-encoding", encoding.encode())]


def tagged(headers: Headers, tag: bytes) -> Headers:
    """With what caches must know of an answer that may be asked for again."""
    known = {name for name, _ in headers}
    added = {b"etag": tag, b"cache-control": b"private, no-cache", b"vary": b"Accept-Encoding, Authorization, Cookie, User-Agent"}
    return headers + [(name, value) for name, value in added.items() if name not in known]
