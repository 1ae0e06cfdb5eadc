"""Who asks for a page, how the session that it is about stands, and how to send a browser on."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.routing import passed_on_by_ray
from shared.errors import HistoryError, InvalidReference, SessionNotFound
from shared.sessions import SessionRef

_OWN_PATHS = ("/sessions", "/clusters", "/enter_cluster", "/entered_cluster", "/select_cluster", "/jobs", "/compare", "/pages/", "/docs")
_SAFE = "/:?#[]@!$&'()*+,;=%-._~"
_GO_ON = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Ray History Server</title><script type="module" src="{root}pages/go-on.js"></script></head>
<body><p><a id="on" href="{address}">Go on</a></p></body>
</html>
"""
_GO_ON_POLICY = "default-src 'none'; script-src 'self'; base-uri 'none'; frame-ancestors 'none'"


class LoadStatuses(Protocol):
    """What pages need of the sessions service."""

    async def status(self, ref: SessionRef) -> dict[str, Any]:
        """The load status record of contract.md. Raises HistoryError."""


async def record_of(sessions: LoadStatuses, parts: Mapping[str, str]) -> tuple[dict[str, Any], int]:
    """The load status ({} when there is none), and the HTTP status of a page about it: the page asks for details itself."""
    try:
        ref = SessionRef.of(parts["namespace"], parts["kind"], parts["name"], parts["session"])
        return await sessions.status(ref), 200
    except InvalidReference:
        return {}, 400
    except SessionNotFound:
        return {}, 404
    except HistoryError:
        return {}, 503


def is_navigation(request: Request) -> bool:
    """A browser that goes to an address, not a program that fetches it."""
    return "text/html" in request.headers.get("accept", "")


def by_ray_dashboard(request: Request) -> bool:
    """It serves its own pages where ours are 404, and follows redirects by itself, which loses their cookies."""
    return passed_on_by_ray(request.scope["headers"])


def by_accept(response: Response) -> Response:
    """An answer that caches keep apart by who asked."""
    response.headers["Vary"] = "Accept"
    return response


def send_on(request: Request, address: str, status: int = 303) -> Response:
    """A redirect; for the browser of a Ray dashboard in front, a page that goes on."""
    headers = {"Vary": "Accept, Content-Type", "Cache-Control": "no-store"}
    if not (by_ray_dashboard(request) and is_navigation(request)):
        return RedirectResponse(address, status, headers)
    root = "../" * (request.scope["path"].count("/") - 1)
    page = _GO_ON.format(address=html.escape(quote(address, safe=_SAFE)), root=root)
    return Response(page, 200, {**headers, "Content-Security-Policy": _GO_ON_POLICY}, "text/html")


def dashboard_path(ref: SessionRef, path: str) -> str:
    """A page of the dashboard at the root, by the path of its session; our own pages are where they are."""
    return path if path.startswith(_OWN_PATHS) else f"/sessions/{ref}/dashboard{path}"


def same_site(path: str) -> str:
    """A path of this site to send a browser on to. Raises InvalidReference for what a browser could take for another site."""
    if not path.startswith("/") or path.startswith("//") or "\\" in path or any(c <= " " or c == "\x7f" for c in path):
        raise InvalidReference(f"redirect={path[:80]!r} is no path of this site")
    return path
