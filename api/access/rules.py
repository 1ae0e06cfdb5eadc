"""What each of our routes needs: the one list of them. A route that is not in it is closed as soon as there is a login.

`public`: anybody; `caller`: anybody who has logged in, and what is listed is what they may see; any other word is the right that is needed
in the namespace of the path, or of the cookies. The sessions service asks for it: a session that may not be seen is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

from starlette.routing import BaseRoute, Match

from api.access.caller import Action

Rule = Action | Literal["public", "caller"]

_SESSION = "/sessions/{namespace}/{kind}/{name}/{session}"
RULES: Mapping[str, Rule] = {
    "GET /livez": "public",
    "GET /readz": "public",
    # Counts and times; no label holds a name of a cluster, session or namespace.
    "GET /metrics": "public",
    "GET /login": "public",
    "POST /login": "public",
    "POST /logout": "public",
    "GET /login/start": "public",
    "GET /login/callback": "public",
    "GET /pages/{file}": "public",
    "GET /favicon.ico": "public",
    "GET /docs": "caller",
    "GET /docs/oauth2-redirect": "caller",
    "GET /openapi.json": "caller",
    "GET /docs-files": "caller",
    "GET /caller": "caller",
    "GET /": "caller",
    "GET /select_cluster": "caller",
    "GET /clusters": "caller",
    "GET /sessions": "caller",
    "GET /compare": "caller",
    "GET /jobs": "caller",
    "GET /jobs/{submission_id}": "caller",
    "GET /entered_cluster": "see",
    "GET /enter_cluster/{namespace}/{kind}/{name}": "see",
    "GET /enter_cluster/{namespace}/{kind}/{name}/{session}": "see",
    f"GET {_SESSION}": "see",
    f"GET {_SESSION}/": "see",
    f"GET {_SESSION}/events": "see",
    f"GET {_SESSION}/export": "see",
    f"GET {_SESSION}/overview": "see",
    f"POST {_SESSION}/load": "load",
    f"DELETE {_SESSION}": "evict",
    # The dashboard of a session. Its answers may need a load, or come from a live head: then those rights are asked for, too.
    f"GET {_SESSION}/dashboard": "see",
}


# Paths that are longer are none of ours: keeping what was found for each would fill the memory.
LONGEST_KEPT = 1000


def rule_of(method: str, path: str) -> Rule | None:
    """The rule of a route by its pattern; a `/` at the end of one means nothing where the same route has one without."""
    asked = "GET" if method == "HEAD" else method
    return RULES.get(f"{asked} {path}") or RULES.get(f"{asked} {path.rstrip('/')}")


class RouteRules:
    """Finds the rule of a request."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._routes = list(routes)
        self._known = lru_cache(maxsize=4096)(self._find)

    def of(self, method: str, path: str) -> Rule | None:
        """None: there is no rule for it."""
        return (self._known if len(path) <= LONGEST_KEPT else self._find)(method, path)

    def _find(self, method: str, path: str) -> Rule | None:
        """None: there is no rule for it. What is no route of ours is the dashboard's, by the cookies."""
        scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
        known = False
        for route in self._routes:
            match, _ = route.matches(scope)
            if match is Match.FULL:
                # What is mounted looks at the method itself.
                return rule_of(method if hasattr(route, "methods") else "GET", getattr(route, "path", ""))
            known = known or match is Match.PARTIAL
        # A method that a route does not have is refused by the route.
        return "caller" if known else "see"
