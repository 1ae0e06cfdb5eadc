"""What a dashboard route answers from: one published generation of one session."""

from __future__ import annotations

from dataclasses import dataclass

from shared.sessions import Session
from shared.snapshots.reader import SnapshotReader
from shared.storage.port import Storage

# Ray: `dashboard/optional_utils.is_browser_request`.
_BROWSER_HEADERS = frozenset(
    {
        b"referer",
        b"origin",
        b"sec-fetch-mode",
        b"sec-fetch-dest",
        b"sec-fetch-site",
        b"sec-fetch-user",
        b"access-control-request-method",
        b"access-control-request-headers",
    }
)


@dataclass(frozen=True, slots=True)
class DashboardScope:
    """`browser`: values of `env_vars` must not be shown (Ray: `should_redact_runtime_env`). `grafana_url`: "" for none."""

    session: Session
    generation: str
    snapshot: SnapshotReader
    storage: Storage
    browser: bool
    grafana_url: str = ""


def passed_on_by_ray(headers: list[tuple[bytes, bytes]]) -> bool:
    """Does a Ray dashboard pass on this GET (`ray start --head --proxy-server-url`)?

    It gives every request a content type, which no client gives a GET (Ray: `HttpServerDashboardHead.proxy_server_middleware`).
    """
    return (b"content-type", b"application/json") in headers


def is_browser(headers: list[tuple[bytes, bytes]]) -> bool:
    """Ray's guess whether a request came from a browser; names are lower-case."""
    return any(name in _BROWSER_HEADERS or (name == b"user-agent" and value.startswith(b"Mozilla")) for name, value in headers)
