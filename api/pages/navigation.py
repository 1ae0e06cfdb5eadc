"""Who asks for a page, and how the session that it is about stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from shared.errors import HistoryError, InvalidReference, SessionNotFound
from shared.sessions import SessionRef


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


def by_accept(response: Response) -> Response:
    """An answer that caches keep apart by who asked."""
    response.headers["Vary"] = "Accept"
    return response
