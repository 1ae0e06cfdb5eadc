"""What it costs to find out who asks and whether they may, on an answer that is cached already: CPU time per request, on the event loop.

    python -m benchmarks.authorisation

The middleware and the check of the sessions service around an app that does nothing, less that app alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from starlette.types import Message, Receive, Scope, Send

from api.access.caller import may
from api.access.middleware import Access, AuthenticatorHolder
from api.access.modes import Anyone, Authenticator, FileTokens, KubernetesTokens, TrustedProxy
from api.access.reviewed import ReviewedCallers
from api.access.rules import RouteRules
from shared.live.reviews import Reviewed, Reviews
from shared.settings import AuthSettings

_PATH = "/sessions/team-a/raycluster/c/session_2026-11-23_19-00-40_785172_1/dashboard/api/v0/tasks"
_TOKEN = "t" * 43
_ROUNDS, _CALLS = 15, 5_000


async def _answer(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Nothing is sent: only what is in front of an answer is measured."""


async def _checked(_scope: Scope, _receive: Receive, _send: Send) -> None:
    assert await may("team-a", "see")


async def _receive() -> Message:
    return {"type": "http.request"}


async def _send(_message: Message) -> None:
    raise AssertionError("nothing is to be refused")


class _Reviews:
    """A Kubernetes that grants everything; it is asked once."""

    def who(self, _token: str) -> Reviewed:
        return Reviewed("alice")

    def may(self, _user: Reviewed, _verb: str, _namespace: str) -> bool:
        return True


async def _microseconds(app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> float:
    """The median round's mean."""
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": _PATH,
        "query_string": b"",
        "client": ("10.0.0.1", 1),
        "headers": [
            (b"host", b"history.example"),
            (b"accept", b"application/json"),
            (b"user-agent", b"benchmark"),
            (b"authorization", f"Bearer {_TOKEN}".encode()),
            (b"x-forwarded-user", b"alice"),
            (b"x-forwarded-groups", b"ml,ops"),
        ],
    }
    rounds = []
    for _ in range(_ROUNDS):
        began = time.process_time_ns()
        for _ in range(_CALLS):
            await app(scope, _receive, _send)
        rounds.append((time.process_time_ns() - began) / _CALLS / 1000)
    return statistics.median(rounds)


async def _measure(directory: Path) -> None:
    file = directory / "rights.toml"
    rights = 'rights = { team-a = ["see"] }\n'
    file.write_text(f'[tokens.a]\nsha256 = "{hashlib.sha256(_TOKEN.encode()).hexdigest()}"\n{rights}[users.alice]\n{rights}')
    modes: dict[str, Authenticator] = {
        "none": Anyone(),
        "token": FileTokens(AuthSettings(auth_file=str(file))),
        "proxy": TrustedProxy(AuthSettings(auth_proxies="10.0.0.0/8", auth_file=str(file))),
        "kubernetes": KubernetesTokens(ReviewedCallers(cast("Reviews", _Reviews()), 3600)),
    }
    bare = await _microseconds(_answer)
    for name, authenticator in modes.items():
        holder = AuthenticatorHolder()
        holder.authenticator = authenticator
        print(f"{name:<12} {await _microseconds(Access(_checked, RouteRules([]), holder)) - bare:5.1f} µs")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_measure(Path(directory)))


if __name__ == "__main__":
    main()
