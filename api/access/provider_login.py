"""Logging in at an OpenID Connect provider: the browser is sent there, comes back with a code, and gets a cookie for its login."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

import msgspec
import structlog
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import HTTPException
from fastapi.responses import RedirectResponse

from api.access.login import by_tls, next_target, set_login_cookie
from api.access.middleware import AuthenticatorHolder
from api.audit import audit
from shared.errors import LoginRefused, LoginUnavailable
from shared.settings import Settings

if TYPE_CHECKING:
    from api.access.openid_logins import LoginAttempt, OpenIdLogins

log = structlog.get_logger()
router = APIRouter(include_in_schema=False)

# Binds an attempt to the browser that began it: nobody can finish another one's, or be made to finish theirs.
_ATTEMPT_COOKIE = "ray_history_login"
_ATTEMPT_AGE = 600
_LONGEST_TARGET = 1000
_UNKEPT = {"Cache-Control": "no-store"}


@router.get("/login/start")
async def start(request: Request) -> Response:
    """`next`: where the browser wanted to go."""
    logins = _logins(request)
    target = next_target(request.query_params.get("next", "/"))
    try:
        address, attempt = await logins.begin(_callback(request), target if len(target) <= _LONGEST_TARGET else "/")
    except LoginUnavailable as exc:
        log.warning("login not begun", error=str(exc))
        return _back("unavailable", target)
    answer = RedirectResponse(address, 303, _UNKEPT)
    kept = base64.urlsafe_b64encode(msgspec.json.encode(attempt)).decode()
    answer.set_cookie(_ATTEMPT_COOKIE, kept, max_age=_ATTEMPT_AGE, httponly=True, samesite="lax", secure=by_tls(request))
    return answer


@router.get("/login/callback")
async def callback(request: Request) -> Response:
    """Where the provider sends the browser back to, with `code` and `state`, or with `error`."""
    logins = _logins(request)
    attempt, state = _attempt(request), request.query_params.get("state", "")
    if attempt is None or not hmac.compare_digest(attempt.state.encode(), state.encode()):
        return _back("expired")
    try:
        secret, name = await logins.finish(attempt, request.query_params.get("code", ""), _callback(request))
    except LoginRefused as exc:
        log.warning("login refused", error=str(exc))
        answer = _back("refused")
    except LoginUnavailable as exc:
        log.warning("login not finished", error=str(exc))
        answer = _back("unavailable")
    else:
        audit("logged in", "", caller=name)
        answer = RedirectResponse(next_target(attempt.target), 303, _UNKEPT)
        set_login_cookie(request, answer, secret)
    answer.delete_cookie(_ATTEMPT_COOKIE, httponly=True, samesite="lax", secure=by_tls(request))
    return answer


def _logins(request: Request) -> OpenIdLogins:
    """Raises HTTPException 404 in other modes."""
    authenticator = cast("AuthenticatorHolder", request.app.state.access).authenticator
    if not authenticator.provider:
        raise HTTPException(404)
    return cast("OpenIdLogins", authenticator)


def _attempt(request: Request) -> LoginAttempt | None:
    from api.access.openid_logins import LoginAttempt  # noqa: PLC0415 - only where this mode is on

    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(request.cookies.get(_ATTEMPT_COOKIE, "")), type=LoginAttempt)
    except ValueError:
        return None


def _callback(request: Request) -> str:
    """The address of `callback`, as browsers reach it: the provider knows it, and sends them nowhere else."""
    settings = cast("Settings", request.app.state.settings).auth
    scheme = "https" if by_tls(request) else "http"
    return settings.oidc_redirect_url or f"{scheme}://{request.headers.get('host', '')}/login/callback"


def _back(trouble: str, target: str = "/") -> Response:
    return RedirectResponse(f"../login?trouble={trouble}&next={quote(target, safe='')}", 303, _UNKEPT)
