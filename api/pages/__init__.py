"""Web pages: the sessions, a session that is being loaded, and the Ray dashboard's own frontend. Plain files, no build step."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from api.pages.frontend import Frontend
    from api.pages.routes import router

__all__ = ["Frontend", "router"]
_MODULES = {"Frontend": "api.pages.frontend", "router": "api.pages.routes"}


def __getattr__(name: str) -> Any:
    """Imported when asked for: `builds` is read by processes that serve no HTTP, too."""
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(import_module(_MODULES[name]), name)
