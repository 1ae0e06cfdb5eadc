"""Every row of docs/live-clusters.md, "Dead or live": through the API's resolver and through the worker's check, on real sockets."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from shared.errors import HistoryError, KubernetesUnavailable, SessionIsLive
from shared.live.factory import open_live
from shared.live.resolver import LiveResolver, ensure_dead
from shared.sessions import Session, SessionRef
from shared.settings import LiveSettings
from tests.live_kubernetes.objects import token_secret
from tests.live_kubernetes.world import FORMER, RUNNING, World, world
from tests.waiting import wait_until

DOCS = Path(__file__).parents[2] / "docs" / "live-clusters.md"
TOKEN_AUTH = {"mode": "token", "secretName": "raycap-token"}


@dataclass(frozen=True)
class Row:
    """`expected`: dead, live, or unknown; `says`: part of the reason; `asks`: is the head asked?"""

    prepare: Callable[[World], Any]
    expected: str
    says: str = ""
    session: str = RUNNING
    asks: bool = True
    settings: dict[str, Any] = field(default_factory=dict)


def _suspending(w: World) -> None:
    body = w.add_cluster(suspended=True)
    body["status"]["state"] = "ready"
    body["status"]["conditions"] = [{"type": "RayClusterSuspending", "status": "True"}, {"type": "RayClusterSuspended", "status": "False"}]
    w.api.put(body)


def _hanging(w: World) -> None:
    w.add_cluster()
    w.head.hang = True


def _failing(w: World) -> None:
    w.add_cluster()
    w.head.fail_with = 500


def _starting(w: World) -> None:
    w.add_cluster()
    w.head.session = None


def _not_a_dashboard(w: World) -> None:
    w.add_cluster()
    w.head.routes["/api/version"] = lambda _: PlainTextResponse("<html>It works!</html>")


def _token(w: World, *, in_secret: str | None, at_head: str = "secret", options: dict[str, Any] | None = None) -> None:
    w.add_cluster(auth=TOKEN_AUTH if options is None else options)
    w.head.token = at_head
    if in_secret:
        w.api.put(token_secret("raycap-token", in_secret))


def _replaced(w: World) -> None:
    """The Secret changes after the first refusal, as when the operator has just made a new one."""
    _token(w, in_secret="old", at_head="new")

    def replace() -> None:
        wait_until(lambda: w.head.seen, "the head is asked")
        w.api.put(token_secret("raycap-token", "new"))

    threading.Thread(target=replace, daemon=True).start()


def _back(w: World) -> None:
    """The first two questions fail, as while a restarting head's service has a listener that is not ready."""
    w.add_cluster()
    w.head.first_fail = 2


def _down(w: World) -> None:
    w.add_cluster()
    w.api.fail_with = 503


def _forbidden(w: World) -> None:
    w.add_cluster()
    w.api.allowed = set()


def _no_endpoints(w: World) -> None:
    w.add_cluster()
    w.api.services.clear()


ROWS = {
    "no-kubernetes": Row(lambda w: w.add_cluster(), "dead", "no Kubernetes", asks=False, settings={"kubernetes": "none"}),
    "absent": Row(lambda w: w.add_cluster("another"), "dead", "gone", asks=False),
    "namespace-not-watched": Row(lambda w: w.add_cluster(), "dead", asks=False, settings={"kubernetes_namespaces": "batch,ml"}),
    "suspended": Row(lambda w: w.add_cluster(suspended=True), "dead", "suspended", asks=False),
    "suspending": Row(_suspending, "live"),
    "older-than-cluster": Row(lambda w: w.add_cluster(created="2026-11-25T00:00:00Z"), "dead", "older", asks=False),
    "fault-tolerant-older": Row(lambda w: w.add_cluster(created="2026-11-25T00:00:00Z", fault_tolerant=True), "live"),
    "no-head-service": Row(lambda w: w.add_cluster(service=None), "unknown", "no head service", asks=False),
    "no-head-service-older": Row(
        lambda w: w.add_cluster(service=None, created="2026-11-23T20:00:00Z"), "dead", "has had no head yet", asks=False
    ),
    "same-session": Row(lambda w: w.add_cluster(), "live"),
    "other-session": Row(lambda w: w.add_cluster(), "dead", RUNNING, session=FORMER),
    "head-down": Row(lambda w: w.cluster_without_listener(), "unknown", "did not answer", asks=False),
    "head-back": Row(_back, "live"),
    "head-hangs": Row(_hanging, "unknown", "did not answer"),
    "head-fails": Row(_failing, "unknown", "500"),
    "head-starting": Row(_starting, "unknown", "does not say its session"),
    "not-a-dashboard": Row(_not_a_dashboard, "unknown", "does not say its session"),
    "token-accepted": Row(lambda w: _token(w, in_secret="secret"), "live"),
    "token-refused": Row(lambda w: _token(w, in_secret="wrong"), "unknown", "403.*Secret default/raycap-token"),
    "token-replaced": Row(_replaced, "live", settings={"live_check_timeout": 4.0}),
    "secret-missing": Row(lambda w: _token(w, in_secret=None), "unknown", "Secret default/raycap-token.*missing", asks=False),
    "no-token-known": Row(lambda w: _token(w, in_secret=None, options={}), "unknown", "401.*authOptions"),
    "kubernetes-down": Row(_down, "unknown", "503", asks=False),
    "kubernetes-forbids": Row(_forbidden, "unknown", "rayclusters.*403.*RBAC", asks=False),
    "api-server-no-endpoints": Row(_no_endpoints, "unknown", "no endpoints", asks=False, settings={"dashboard_access": "apiserver"}),
}


def test_every_documented_row_is_tested() -> None:
    section = DOCS.read_text().split("## Dead or live")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE) == list(ROWS)


@pytest.fixture(params=ROWS)
def prepared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Row, World, LiveSettings]]:
    row = ROWS[request.param]
    with world(tmp_path) as w:
        row.prepare(w)
        yield row, w, w.settings(**row.settings)


async def test_the_api_sees_it_so(prepared: tuple[Row, World, LiveSettings]) -> None:
    row, w, settings = prepared
    directory, heads = open_live(settings)
    try:
        async with heads.client() as client:
            resolver = LiveResolver(directory, heads, settings, client)
            outcome, reason = "dead", ""
            try:
                cluster = await resolver.live_cluster(SessionRef("default", "raycluster", "raycap", row.session))
                outcome = "live" if cluster else "dead"
            except KubernetesUnavailable as exc:
                outcome, reason = "unknown", str(exc)
    finally:
        directory.close()
    assert outcome == row.expected
    if outcome == "unknown":
        assert re.search(row.says, reason), reason
    assert bool(w.head.seen) == row.asks


def test_the_worker_sees_it_so(prepared: tuple[Row, World, LiveSettings]) -> None:
    row, w, settings = prepared
    directory, heads = open_live(settings)
    error: HistoryError | None = None
    reason = ""
    try:
        reason = ensure_dead(Session("default", "raycap", row.session), directory, heads, settings).reason
    except (SessionIsLive, KubernetesUnavailable) as exc:
        error, reason = exc, str(exc)
    finally:
        directory.close()
    kinds = {"dead": None, "live": SessionIsLive, "unknown": KubernetesUnavailable}
    assert (type(error) if error else None) is kinds[row.expected]
    if row.expected != "live" and settings.namespaces == ():
        assert re.search(row.says, reason), reason
    assert bool(w.head.seen) == row.asks
    assert w.api.asked("list") == w.api.asked("watch") == 0
