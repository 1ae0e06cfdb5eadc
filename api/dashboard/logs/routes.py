"""The two routes of logs, with live's answers and messages (Ray: `StateHead.list_logs`, `StateHead.get_logs`).

Live answers 500 for every log that is not there, and fails without a reason at most wrong requests: 404 and 400 here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import closing

import anyio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from api.dashboard import answers
from api.dashboard.logs.content import content
from api.dashboard.logs.names import BadGlob, categories, matching
from api.dashboard.logs.nodes import BadId, checked_node, is_node, log_names, node_of_ip
from api.dashboard.logs.options import BadOptions, log_options, whole_number
from api.dashboard.logs.resolve import LogNotFound, resolve
from api.dashboard.routing import DashboardScope, Routes
from shared.errors import ObjectNotFound

routes = Routes()


@routes.get("/api/v0/logs")
async def list_logs(request: Request, scope: DashboardScope) -> Response:
    """Names of one node's log files by component: `{component: [name]}`; directories end in `/`."""
    query = request.query_params
    node_id, node_ip = query.get("node_id"), query.get("node_ip")
    if not node_id and not node_ip:
        return answers.refused("Both node id and node ip are not provided. Please provide at least one of them.")
    if not node_id:
        node_id = await node_of_ip(scope, node_ip or "")
        if node_id is None:
            return answers.refused(f"Cannot find matching node_id for a given node ip {node_ip}", 404)
    try:
        whole_number("timeout", query.get("timeout", "30"))
        node_id = checked_node(node_id)
        found = await _matching(scope, node_id, query.get("glob", "*"))
    except (BadOptions, BadId, BadGlob) as exc:
        return answers.refused(str(exc))
    if not found and not await is_node(scope, node_id):
        return answers.refused(f"there is no node {node_id} in this session", 404)
    return answers.envelope("", {"result": categories(found)})


@routes.get("/api/v0/logs/{media_type}")
async def get_log(request: Request, scope: DashboardScope) -> Response:
    """Text of one log. `stream` ends at the end, too: nothing is written to a dead session's logs any more."""
    media_type = request.path_params["media_type"]
    try:
        options = log_options(media_type, request.query_params)
        disposition = _disposition(options.download_filename)
        file = await resolve(scope, options)
        headers = {"Content-Disposition": disposition}
        if request.method == "HEAD":
            return Response(media_type="text/plain", headers=headers)
        chunks = content(scope.storage, file, options.lines, strip_ansi=options.filter_ansi_code)
        # Whatever is wrong shows at the first chunk, while the status can still say so.
        first = await anyio.to_thread.run_sync(next, chunks, b"")
    except (BadOptions, BadId) as exc:
        return PlainTextResponse(str(exc), 400)
    except (LogNotFound, ObjectNotFound) as exc:
        return PlainTextResponse(str(exc), 404)
    return StreamingResponse(_sent(first, chunks), media_type="text/plain", headers=headers)


async def _matching(scope: DashboardScope, node_id: str, pattern: str) -> list[str]:
    names = await log_names(scope, node_id)
    return await anyio.to_thread.run_sync(matching, pattern, names)


async def _sent(first: bytes, rest: Generator[bytes]) -> AsyncIterator[bytes]:
    """All chunks; when the client goes away, what was opened is closed."""
    with closing(rest):
        chunk = first
        while chunk:
            yield chunk
            chunk = await anyio.to_thread.run_sync(next, rest, b"")


def _disposition(filename: str) -> str:
    """Live writes the name as it is given. Raises BadOptions for one that would end the header."""
    if any(character < " " or character == "\x7f" for character in filename):
        raise BadOptions("download_filename holds a control character, which no header may")
    escaped = filename.replace("\\", "\\\\").replace('"', '\\"')
    return f'attachment; filename="{escaped}"'.encode(errors="replace").decode("latin-1")
