"""Files that browsers get: our own pages, and a build of the Ray dashboard's frontend (`ray/dashboard/client/build` of the `ray` wheel)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

_OWN = Path(__file__).with_name("static")

# Ours load nothing from elsewhere and hold no inline script or style.
_OWN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
# Ray's build puts style elements into the page, and embeds pages of its own origin.
_BUILD_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_CHECK_FIRST = "no-cache"
_NEVER = "no-store"
_FOR_EVER = "public, max-age=31536000, immutable"


async def own(request: Request, name: str, status: int = 200) -> Response:
    """One of our files; a page that tells of an error bears its status. Raises HTTPException 404."""
    if status == 200:
        return _sealed(await _files(str(_OWN)).get_response(name, request.scope), _OWN_POLICY, _CHECK_FIRST)
    response = await _files(str(_OWN)).get_response(name, {**request.scope, "headers": []})
    response.status_code = status
    return _sealed(response, _OWN_POLICY, _NEVER)


async def built(request: Request, build: Path, name: str, *, hashed: bool = False) -> Response:
    """One file of a build; `hashed` ones have their content's hash in the name. Raises HTTPException 404."""
    response = await _files(str(build)).get_response(name, request.scope)
    return _sealed(response, _BUILD_POLICY, _FOR_EVER if hashed else _CHECK_FIRST)


def read_page(build: Path | None) -> str:
    """The text of a build's page, or of ours that stands in for it when there is no build."""
    return (build / "index.html" if build else _OWN / "no-dashboard.html").read_text("utf-8")


def page(text: str, grafana_url: str | None) -> Response:
    """A page that was made for this request: a build's, which may embed panels of that Grafana (if not ""), or ours (None)."""
    policy = _OWN_POLICY if grafana_url is None else _BUILD_POLICY
    if grafana_url:
        parts = urlsplit(grafana_url)
        policy += f"; frame-src 'self' {parts.scheme}://{parts.netloc}"
    return _sealed(HTMLResponse(text), policy, _CHECK_FIRST)


@lru_cache(maxsize=64)
def _files(directory: str) -> StaticFiles:
    return StaticFiles(directory=directory, check_dir=False)


def _sealed(response: Response, policy: str, caching: str) -> Response:
    response.headers["Content-Security-Policy"] = policy
    response.headers["Cache-Control"] = caching
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response
