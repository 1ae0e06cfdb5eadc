"""The pages' routes. The pages ask our own JSON routes for what they show, by relative addresses: any path prefix will do.

`request.app.state.sessions` is the sessions service.
"""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import HTTPException
from fastapi.responses import RedirectResponse

from api.pages.files import own
from api.pages.navigation import by_accept, by_ray_dashboard, is_navigation, record_of, send_on
from shared.sessions import LATEST

router = APIRouter(include_in_schema=False)

_SESSION = "/sessions/{namespace}/{kind}/{name}/{session}"
_READ = ["GET", "HEAD"]


@router.api_route("/", methods=_READ)
async def first_page(request: Request) -> Response:
    """The jobs. A Ray dashboard that proxies to us has a page of its own there, and serves it where we have none."""
    if by_ray_dashboard(request):
        raise HTTPException(404)
    if "state" in request.query_params:
        # The list of sessions was here, and only it has states.
        return send_on(request, f"sessions?{request.url.query}")
    return await own(request, "jobs.html")


async def sessions_page(request: Request) -> Response:
    """`/sessions` for a browser."""
    query = f"?{request.url.query}" if request.url.query else ""
    if by_ray_dashboard(request):
        # What is chosen there opens in the dashboard in front.
        return send_on(request, f"select_cluster{query}")
    return send_on(request, f"../sessions{query}") if request.url.path.endswith("/") else by_accept(await own(request, "sessions.html"))


@router.api_route("/select_cluster", methods=_READ)
async def select_cluster(request: Request) -> Response:
    """The list of sessions under KubeRay's name: what is chosen there opens at `/#/overview`."""
    return await own(request, "sessions.html")


@router.api_route("/pages/{file}", methods=_READ)
async def own_file(request: Request, file: str) -> Response:
    return await own(request, file)


@router.api_route("/favicon.ico", methods=_READ)
async def favicon(request: Request) -> Response:
    if by_ray_dashboard(request):
        raise HTTPException(404)
    return await own(request, "favicon.svg")


@router.api_route(_SESSION + "/", methods=_READ)
async def session_page(request: Request) -> Response:
    """The loading page, for browsers; it tells of what is wrong with the session, too. Others are sent to the load status."""
    if not is_navigation(request):
        return RedirectResponse(f"../{quote(request.path_params['session'])}", 307, {"Vary": "Accept"})
    record, status = await record_of(request.app.state.sessions, request.path_params)
    if status == 200 and request.path_params["session"] == LATEST:
        # A shared address must not change its meaning.
        query = f"?{request.url.query}" if request.url.query else ""
        return send_on(request, f"../{quote(record['session']['session'])}/{query}")
    return by_accept(await own(request, "session.html", status))


@router.api_route(_SESSION + "/dashboard", methods=_READ)
async def dashboard_without_slash(request: Request) -> Response:
    """The frontend's addresses are relative to the one with it."""
    return send_on(request, "dashboard/", 307)
