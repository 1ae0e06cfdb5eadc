"""What a request carries to say who asks: a bearer token, or the cookie of a login."""

from __future__ import annotations

from functools import lru_cache
from http.cookies import CookieError, SimpleCookie

from starlette.types import Scope

TOKEN_COOKIE = "ray_history_token"  # noqa: S105 - its name
_BEARER = b"bearer "


def given_token(scope: Scope) -> str:
    """The bearer token of a request, else the one in the login's cookie, or ""."""
    bearer, cookie = bearer_and_cookie(scope)
    return bearer or cookie


def bearer_and_cookie(scope: Scope) -> tuple[str, str]:
    """The bearer token of a request, and what is in the login's cookie; "" for what there is not."""
    bearer, cookies = "", b""
    for name, value in scope["headers"]:
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            bearer = str(value[len(_BEARER) :].strip().decode("latin-1"))
        elif name == b"cookie" and TOKEN_COOKIE.encode() in value:
            cookies = value
    return bearer, _cookie(cookies) if cookies else ""


@lru_cache(maxsize=256)
def _cookie(header: bytes) -> str:
    try:
        found = SimpleCookie(header.decode("latin-1")).get(TOKEN_COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
