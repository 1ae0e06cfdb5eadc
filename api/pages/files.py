"""Files that browsers get: our own pages, and a build of the Ray dashboard's frontend (`ray/dashboard/client/build` of the `ray` wheel)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
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


async def built(request: Request, directory: str, name: str, *, hashed: bool = False) -> Response:
    """One file of the build; `hashed` ones have their content's hash in the name. Raises HTTPException 404."""
    if not directory:
        raise HTTPException(404)
    response = await _files(directory).get_response(name, request.scope)
    return _sealed(response, _BUILD_POLICY, _FOR_EVER if hashed else _CHECK_FIRST)


def has_build(directory: str) -> bool:
    return bool(directory) and Path(directory, "index.html").is_file()


@lru_cache(maxsize=8)
def _files(directory: str) -> StaticFiles:
    return StaticFiles(directory=directory, check_dir=False)


def _sealed(response: Response, policy: str, caching: str) -> Response:
    response.headers["Content-Security-Policy"] = policy
    response.headers["Cache-Control"] = caching
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response
