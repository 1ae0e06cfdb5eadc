"""`/logical/actors`: the dashboard's own view of actors, from chunks rendered at load (Ray: `modules/node/node_head.py`)."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.dashboard import answers
from api.dashboard.routing import DashboardScope, Routes
from shared.ray.proto_json import google_style

routes = Routes()
_encode = msgspec.json.encode
_decode_starts = msgspec.json.Decoder(list[str]).decode
_decode_chunk = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NULL = msgspec.Raw(b"null")


@routes.get("/logical/actors")
async def list_actors(request: Request, scope: DashboardScope) -> Response:
    """All actors, or those of `ids` (comma-separated; null for one that is not known)."""
    ids = request.query_params.get("ids")
    if ids is not None:
        chosen = await _chosen(scope, ids.split(","))
        return answers.envelope("All actors fetched.", b'{"actors":%b}' % _encode(chosen))
    chunks = [await _chunk(scope, number) for number in range(len(await _starts(scope)))]
    inside = b",".join(chunk.strip()[1:-1] for chunk in chunks)
    return answers.envelope("All actors fetched.", b'{"actors":{%b}}' % inside)


@routes.get("/logical/actors/{actor_id}")
async def show_actor(request: Request, scope: DashboardScope) -> Response:
    """Live converts the keys of one actor's answer, but not those of the list."""
    actor_id = request.path_params["actor_id"]
    found: Any = msgspec.json.decode((await _chosen(scope, [actor_id]))[actor_id])
    return answers.envelope("Actor details fetched.", {"detail": google_style(found)})


async def _chosen(scope: DashboardScope, ids: list[str]) -> dict[str, msgspec.Raw]:
    starts = await _starts(scope)
    known: dict[int, dict[str, msgspec.Raw]] = {}
    chosen = {}
    for actor_id in ids:
        number = bisect_right(starts, actor_id) - 1
        if number >= 0 and number not in known:
            known[number] = _decode_chunk(await _chunk(scope, number))
        chosen[actor_id] = known.get(number, {}).get(actor_id, _NULL)
    return chosen


async def _starts(scope: DashboardScope) -> list[str]:
    """The first actor id of each chunk."""
    return _decode_starts(await scope.snapshot.doc("logical_actors/index") or b"[]")


async def _chunk(scope: DashboardScope, number: int) -> bytes:
    return await scope.snapshot.doc(f"logical_actors/{number}") or b"{}"
