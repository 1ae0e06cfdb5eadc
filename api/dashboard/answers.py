"""Bodies of dashboard routes in live's shapes (Ray: `dashboard/optional_utils.rest_response`)."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Response

_encode = msgspec.json.Encoder().encode


def json_bytes(body: bytes, status: int = 200) -> Response:
    """JSON that is text already."""
    return Response(body, status, media_type="application/json")


def envelope(msg: str, data: bytes | dict[str, Any], *, result: bool = True, status: int = 200) -> Response:
    """`{"result", "msg", "data"}`; `data` is an object or its JSON text."""
    text = data if isinstance(data, bytes) else _encode(data)
    return json_bytes(b'{"result":%b,"msg":%b,"data":%b}' % (_encode(result), _encode(msg), text), status)


def server_trouble() -> Response:
    """What aiohttp, live's web server, answers when a handler fails."""
    return Response("500 Internal Server Error\n\nServer got itself in trouble", 500, media_type="text/plain")


def not_found() -> Response:
    """What aiohttp answers for a path that it has no route for."""
    return Response("404: Not Found", 404, media_type="text/plain")
