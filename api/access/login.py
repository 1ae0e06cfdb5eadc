"""Logging in from a browser, where callers have tokens: the token goes into a cookie that scripts cannot read.

The cookie holds the token itself, so that it ends when the token does, on every replica, and there is no key to share. Where a provider
says who callers are, it holds the secret of a login in Redis (`api/access/openid_logins.py`).
"""

from __future__ import annotations

import html
from typing import cast
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse, RedirectResponse

from api.access.caller import current_caller
from api.access.credentials import TOKEN_COOKIE
from api.access.middleware import AuthenticatorHolder
from api.access.modes import Authenticator
from api.pages.files import page
from api.pages.navigation import same_site
from shared.errors import InvalidReference
from shared.settings import Settings

router = APIRouter(include_in_schema=False)

_LONGEST_FORM = 16_384
_FORM = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Log in - Ray History Server</title>
  <link rel="icon" href="pages/favicon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="pages/style.css">
</head>
<body>
  <header><img src="pages/favicon.svg" alt=""><a href="./">Ray History Server</a></header>
  <main>
    <h1>Log in</h1>
    {said}
    {form}
    {logout}
  </main>
</body>
</html>
"""
_BEARER_FORM = """\
<form class="search" method="post" action="login">
      <label>Token
        <input type="password" name="token" autocomplete="current-password" spellcheck="false" required autofocus>
      </label>
      <input type="hidden" name="next" value="{next}">
      <button>Log in</button>
    </form>"""
# A link: the page's policy lets no form lead to another site.
_PROVIDER = '<p class="actions"><a href="login/start?next={next}">Log in with your account</a></p>'
_LOGOUT = '<form method="post" action="logout"><p>You are logged in as {name}.</p><p class="actions"><button>Log out</button></p></form>'
_TROUBLE = '<p class="trouble" role="alert">{said}</p>'
_UNKNOWN = "This token is not known, or not any more."
# How a login at a provider can end, by the word of `?trouble=`: what is said, and the status.
_ENDS = {
    "refused": ("The login was refused.", 401),
    "expired": ("The login was begun too long ago, or in another browser. Try again.", 401),
    "unavailable": ("The login provider can't be asked now. Try again in a moment.", 503),
}


@router.api_route("/login", methods=["GET", "HEAD"])
async def login_page(request: Request) -> Response:
    """`next`: where the browser wanted to go; `trouble`: how its last login at a provider ended."""
    authenticator = _authenticator(request)
    caller = await authenticator.caller(request.scope)
    said, status = _ENDS.get(request.query_params.get("trouble", ""), ("", 200))
    logout = _LOGOUT.format(name=html.escape(caller.name)) if caller else ""
    return _form(authenticator, next_target(request.query_params.get("next", "/")), said, status, logout)


@router.post("/login")
async def log_in(request: Request) -> Response:
    authenticator = _authenticator(request)
    if authenticator.provider:
        return RedirectResponse("login/start", 303, {"Cache-Control": "no-store"})
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            raise HTTPException(413)
    given = parse_qs(body.decode("latin-1"))
    token, target = given.get("token", [""])[0].strip(), next_target(given.get("next", ["/"])[0])
    if not token or await authenticator.of_token(token) is None:
        return _form(authenticator, target, _UNKNOWN, 401)
    answer = RedirectResponse(target, 303, {"Cache-Control": "no-store"})
    set_login_cookie(request, answer, token)
    return answer


@router.post("/logout")
async def log_out(request: Request) -> Response:
    await _authenticator(request).end(request.scope)
    answer = RedirectResponse("login", 303, {"Cache-Control": "no-store"})
    answer.delete_cookie(TOKEN_COOKIE, httponly=True, samesite="lax", secure=by_tls(request))
    return answer


@router.api_route("/caller", methods=["GET", "HEAD"])
async def show_caller(request: Request) -> Response:
    """`{name, auth}`: as whom the server knows the sender of this request."""
    auth = cast("Settings", request.app.state.settings).auth.auth
    return JSONResponse({"name": current_caller().name, "auth": auth}, headers={"Cache-Control": "no-store"})


def _authenticator(request: Request) -> Authenticator:
    """Raises HTTPException 404 where callers have no tokens."""
    authenticator = cast("AuthenticatorHolder", request.app.state.access).authenticator
    if not authenticator.tokens:
        raise HTTPException(404)
    return authenticator


def _form(authenticator: Authenticator, target: str, said: str = "", status: int = 200, logout: str = "") -> Response:
    form = _PROVIDER.format(next=quote(target, safe="")) if authenticator.provider else _BEARER_FORM.format(next=html.escape(target))
    answer = page(_FORM.format(said=_TROUBLE.format(said=said) if said else "", form=form, logout=logout), None)
    answer.headers["Cache-Control"] = "no-store"
    answer.status_code = status
    return answer


def set_login_cookie(request: Request, answer: Response, value: str) -> None:
    """Scripts cannot read it, and pages of other sites cannot send it with what they fetch."""
    age = cast("Settings", request.app.state.settings).auth.login_age
    answer.set_cookie(TOKEN_COOKIE, value, max_age=age, httponly=True, samesite="lax", secure=by_tls(request))


def next_target(path: str) -> str:
    """A path of this site to go on to after a login."""
    try:
        return same_site(path)
    except InvalidReference:
        return "/"


def by_tls(request: Request) -> bool:
    """Does the browser reach us by TLS?"""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))
