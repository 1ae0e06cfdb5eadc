"""Web pages: the sessions, a session that is being loaded, and the Ray dashboard's own frontend. Plain files, no build step."""

from __future__ import annotations

from api.pages.frontend import Frontend
from api.pages.routes import router

__all__ = ["Frontend", "router"]
