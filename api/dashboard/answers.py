"""Bodies of dashboard routes in live's shapes (Ray: `dashboard/optional_utils.rest_response`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from fastapi import Response
from starlette.types import Receive, Scope, Send

_encode = msgspec.json.Encoder().encode
NOT_FOUND = b"404: Not Found"


class Pieces(Response):
    """JSON in pieces, which may be large, or cached blocks that need not be copied together."""

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(media_type="application/json", headers={"content-length": str(sum(map(len, pieces)))})
        self.pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - an ASGI app
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


def json_bytes(body: bytes, status: int = 200) -> Response:
    """JSON that is text already."""
    return Response(body, status, media_type="application/json")


def envelope(msg: str, data: bytes | dict[str, Any], *, result: bool = True, status: int = 200) -> Response:
    """`{"result", "msg", "data"}`; `data` is an object or its JSON text."""
    text = data if isinstance(data, bytes) else _encode(data)
    return json_bytes(b'{"result":%b,"msg":%b,"data":%b}' % (_encode(result), _encode(msg), text), status)


def refused(reason: str, status: int = 400) -> Response:
    """A wrong request, in the shape in which live refuses one.

    Live's handlers fail at many of them: "500 Server got itself in trouble". Ours say what is wrong.
    """
    return envelope(reason, {"result": None}, result=False, status=status)


def not_found() -> Response:
    """What aiohttp answers for a path that it has no route for."""
    return Response(NOT_FOUND, 404, media_type="text/plain")


def wrong_method(allowed: Iterable[str]) -> Response:
    """What aiohttp answers for a method that a path has no route for."""
    return Response(b"405: Method Not Allowed", 405, {"Allow": ", ".join(sorted(allowed))}, media_type="text/plain")
