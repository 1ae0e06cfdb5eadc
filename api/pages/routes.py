"""The pages' routes. The pages ask our own JSON routes for what they show, by relative addresses: any path prefix will do.

`request.app.state.sessions` is the sessions service.
"""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from api.pages.files import own
from api.pages.navigation import by_accept, is_navigation, record_of

router = APIRouter(include_in_schema=False)

_SESSION = "/sessions/{namespace}/{kind}/{name}/{session}"
_READ = ["GET", "HEAD"]


@router.api_route("/", methods=_READ)
async def sessions_page(request: Request) -> Response:
    return await own(request, "sessions.html")


@router.api_route("/pages/{file}", methods=_READ)
async def own_file(request: Request, file: str) -> Response:
    return await own(request, file)


@router.api_route("/favicon.ico", methods=_READ)
async def favicon(request: Request) -> Response:
    return await own(request, "favicon.svg")


@router.api_route(_SESSION + "/", methods=_READ)
async def session_page(request: Request) -> Response:
    """The loading page, for browsers; it tells of what is wrong with the session, too. Others are sent to the load status."""
    if not is_navigation(request):
        return RedirectResponse(f"../{quote(request.path_params['session'])}", 307, {"Vary": "Accept"})
    _, status = await record_of(request.app.state.sessions, request.path_params)
    return by_accept(await own(request, "session.html", status))


@router.api_route(_SESSION + "/dashboard", methods=_READ)
async def dashboard_without_slash() -> Response:
    """The frontend's addresses are relative to the one with it."""
    return RedirectResponse("dashboard/", 307)
