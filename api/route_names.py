"""What a request is called in metrics: the pattern of its route, never its path, of which there are endlessly many."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from starlette.routing import BaseRoute

_IN_SESSION = re.compile(r"/sessions/[^/]+/[^/]+/[^/]+/[^/]+/dashboard(/.*)?")
_PAGES = re.compile(r"/(static/.*|speedscope-.*|favicon\.\w+)")
OTHER = "other"


class RouteNames:
    """`ours`: the outer app's routes; `dashboard`: the dashboard's, which are there at the root and below each session."""

    def __init__(self, ours: Iterable[BaseRoute], dashboard: Iterable[BaseRoute]) -> None:
        self._ours = _patterns(ours)
        self._dashboard = _patterns(dashboard)
        self._known: Callable[[str], str] = lru_cache(maxsize=4096)(self._find)

    def name(self, path: str) -> str:
        return self._known(path)

    def _find(self, path: str) -> str:
        inside = _IN_SESSION.fullmatch(path)
        if inside:
            path = inside[1] or "/"
            if path == "/" or _PAGES.fullmatch(path):
                return "dashboard pages"
        for pattern, name in [] if inside else self._ours:
            if pattern.fullmatch(path):
                return name
        for pattern, name in self._dashboard:
            if pattern.fullmatch(path.rstrip("/")):
                return name
        return OTHER


def _patterns(routes: Iterable[BaseRoute]) -> list[tuple[re.Pattern[str], str]]:
    """The named routes in the order in which they are tried."""
    found = []
    for route in routes:
        pattern, name = getattr(route, "path_regex", None), getattr(route, "path", None)
        if pattern is not None and isinstance(name, str):
            found.append((pattern, name))
    return found
