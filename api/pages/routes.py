"""The pages' routes. The pages ask our own JSON routes for what they show, by relative addresses: any path prefix will do.

`request.app.state` gives `settings` (Settings) and `sessions`, whose `await status(ref)` is the load status record of contract.md.
"""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from api.pages.files import built, has_build, own
from shared.errors import HistoryError, InvalidReference, SessionNotFound
from shared.sessions import SessionRef
from shared.settings import Settings

router = APIRouter(include_in_schema=False)

_SESSION = "/sessions/{namespace}/{kind}/{name}/{session}"
_ENTERABLE = ("loaded", "live")


@router.get("/")
async def sessions_page(request: Request) -> Response:
    return await own(request, "sessions.html")


@router.get("/pages/{name}")
async def own_file(request: Request, name: str) -> Response:
    return await own(request, name)


@router.get("/favicon.ico")
async def favicon(request: Request) -> Response:
    return await own(request, "favicon.svg")


@router.get(_SESSION + "/")
async def session_page(request: Request, namespace: str, kind: str, name: str, session: str) -> Response:
    """The loading page, for browsers; it tells of what is wrong with the session, too. Others are sent to the load status."""
    if not _is_navigation(request):
        return RedirectResponse(f"../{quote(session)}", 307, {"Vary": "Accept"})
    _, problem = await _record(request, namespace, kind, name, session)
    return _by_accept(await own(request, "session.html", problem))


@router.get(_SESSION + "/dashboard/")
async def dashboard_page(request: Request, namespace: str, kind: str, name: str, session: str) -> Response:
    """The Ray dashboard's frontend, or what to do without one. A browser waits for the load on the loading page."""
    if _is_navigation(request):
        record, _ = await _record(request, namespace, kind, name, session)
        if record.get("state") not in _ENTERABLE:
            return RedirectResponse("../", 303, {"Vary": "Accept", "Cache-Control": "no-store"})
    directory = _build_directory(request)
    page = await built(request, directory, "index.html") if has_build(directory) else await own(request, "no-dashboard.html")
    return _by_accept(page)


@router.get(_SESSION + "/dashboard/favicon.ico")
async def dashboard_favicon(request: Request) -> Response:
    directory = _build_directory(request)
    return await built(request, directory, "favicon.ico") if has_build(directory) else await own(request, "favicon.svg")


@router.get(_SESSION + "/dashboard/static/{path:path}")
async def dashboard_asset(request: Request, path: str) -> Response:
    return await built(request, _build_directory(request), f"static/{path}", hashed=True)


@router.get(_SESSION + "/dashboard/speedscope-{path:path}")
async def dashboard_flame_graph(request: Request, path: str) -> Response:
    """The viewer of CPU profiles that Ray's build brings along."""
    return await built(request, _build_directory(request), f"speedscope-{path}")


async def _record(request: Request, namespace: str, kind: str, name: str, session: str) -> tuple[dict[str, Any], int]:
    """The load status, and the HTTP status of a page about it: the page asks for details itself."""
    try:
        ref = SessionRef.of(namespace, kind, name, session)
        return cast("dict[str, Any]", await request.app.state.sessions.status(ref)), 200
    except InvalidReference:
        return {}, 400
    except SessionNotFound:
        return {}, 404
    except HistoryError:
        return {}, 503


def _is_navigation(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _build_directory(request: Request) -> str:
    return cast("Settings", request.app.state.settings).api.dashboard_dir


def _by_accept(response: Response) -> Response:
    response.headers["Vary"] = "Accept"
    return response
