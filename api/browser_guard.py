"""What pages of other sites may not do to us through a visitor's browser.

For changes the rules are those of Go's `http.CrossOriginProtection`, for the rest a resource isolation policy (https://web.dev/fetch-metadata).
Programs send neither `Sec-Fetch-Site` nor `Origin`, and nothing changes for them.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem
from api.host_names import HostNames
from api.websocket import WEBSOCKET

_READS = ("GET", "HEAD", "OPTIONS")
_OURS = (b"same-origin", b"none")
# Orchestrators ask these by whatever name they like; they tell nothing of what is stored.
_PROBES = ("/livez", "/readz")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
Headers = list[tuple[bytes, bytes]]


class BrowserGuard:
    """ASGI middleware: refuses foreign `Host` names and other sites' requests, and forbids browsers to guess content types."""

    def __init__(self, app: ASGIApp, names: HostNames) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: Headers = message.get("headers", [])
                if all(name != _NOSNIFF[0] for name, _ in headers):
                    message = {**message, "headers": [*headers, _NOSNIFF]}
            await send(message)

        headers: Headers = scope["headers"]
        if scope["path"] not in _PROBES and not all(self._names.allowed(value) for name, value in headers if name == b"host"):
            detail = "this server does not go by that name: RAY_HISTORY_HOST_NAMES lists the names that it goes by"
            await problem(421, "unknown_host", detail)(scope, receive, sending)
            return
        if scope["method"] not in _READS or WEBSOCKET in scope:
            if not self._may_change(headers):
                detail = f"a page of another site may not {'open a websocket' if WEBSOCKET in scope else 'change anything'} here"
                await problem(403, "cross_site", detail)(scope, receive, sending)
                return
        elif _is_embedded_elsewhere(headers):
            await problem(403, "cross_site", "a page of another site may link here, but not load this into itself")(scope, receive, sending)
            return
        await self._app(scope, receive, sending)

    def _may_change(self, headers: Headers) -> bool:
        """Only our own pages, and programs. Browsers ask before they send a token for another site's page, and we never agree."""
        found = dict(headers)
        if found.get(b"authorization", b"").lower().startswith(b"bearer "):
            return True
        site = found.get(b"sec-fetch-site")
        if site is not None:
            return site in _OURS
        origin = found.get(b"origin")
        if origin is None:
            return True
        host = origin.partition(b"://")[2]
        # A reverse proxy may have changed `Host`; no page can set `X-Forwarded-Host` without asking first.
        ours = (found.get(b"host", b""), found.get(b"x-forwarded-host", b""))
        return bool(host) and (host in ours or self._names.names(host))


def is_cross_site(headers: Headers) -> bool:
    """Does a page of another origin send this, be it by a link?"""
    return any(name == b"sec-fetch-site" and value not in _OURS for name, value in headers)


def _is_embedded_elsewhere(headers: Headers) -> bool:
    """An image, a frame, a script or a fetch of another site's page. A link that is followed is none."""
    found = dict(headers)
    if found.get(b"sec-fetch-site") != b"cross-site" or b"sec-fetch-mode" not in found:
        return False
    return found[b"sec-fetch-mode"] != b"navigate" or found.get(b"sec-fetch-dest", b"document") != b"document"
