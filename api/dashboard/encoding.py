"""A route's response in the encoding that the client accepts: a whole body as a value that may be kept, a stream as it passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

import anyio
from starlette.responses import Response, StreamingResponse

from api import compression
from api.dashboard.answers import Pieces

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


async def encoded(response: Response, tag: bytes, encoding: str) -> Answer:
    """A whole body in `encoding` ("" for as it is), with the headers that belong to it."""
    body = response.pieces if isinstance(response, Pieces) else [bytes(response.body)]
    headers, size = response.raw_headers, sum(map(len, body))
    if encoding and size >= compression.SMALLEST and _packs(headers):
        if size <= _PACKED_HERE:
            # Whole: isal packs a short body worse after a very short first piece.
            body = [compression.pack(b"".join(body), encoding)]
        else:
            body = [await anyio.to_thread.run_sync(compression.pack_pieces, body, encoding)]
        headers = [*_packed(headers, encoding), (b"content-length", str(len(body[0])).encode())]
    return Answer(response.status_code, tagged(headers, tag) if response.status_code == 200 else headers, body)


async def encode_stream(response: StreamingResponse, tag: bytes, encoding: str, *, head: bool) -> StreamingResponse:
    """The same response, to be sent, with its first chunk made: what goes wrong until then is raised while nothing has been sent."""
    chunks = cast("AsyncIterator[bytes]", aiter(response.body_iterator))
    first = await anext(chunks, b"")
    packer = None
    if encoding and not head and _packs(response.raw_headers):
        packer = compression.packer(encoding)
        response.raw_headers = _packed(response.raw_headers, encoding)
    response.body_iterator = _nothing() if head else _sent(first, chunks, packer)
    if response.status_code == 200:
        response.raw_headers = tagged(response.raw_headers, tag)
    return response


async def _sent(first: bytes, rest: AsyncIterator[bytes], packer: compression.Packer | None) -> AsyncIterator[bytes]:
    if packer is None:
        yield first
        async for chunk in rest:
            yield chunk
        return
    yield packer.compress(first)
    async for chunk in rest:
        yield packer.compress(chunk)
    yield packer.flush()


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


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
