"""Opens every page and tab of the Ray dashboard of one session, and collects whatever is wrong with each."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
from playwright.sync_api import BrowserContext, Request, Response
from playwright.sync_api import Error as PlaywrightError

_QUIET = 120.0
# A log's viewer draws its lines half a second after they came.
_LOG_QUIET = 900.0
_LOG_VIEWER = "download log file"
_MOST = 60.0
_WHITE = 5.0
_TAB = 15_000
_OPENED = 120_000
# Requests of the pages that the live dashboard fails, too: (pattern of the address, why).
LIVE_FAILS = (
    (r"/api/v0/platform_events$", "not enabled: the frontend asks, and hides the page"),
    (r"/api/jobs/[0-9a-f]{8}$", "Ray's own drivers have tasks and are no jobs"),
    (r"/api/v0/logs/file\?(actor|task)_id=", "an actor that never started, a task whose worker's log names no lines"),
)
# A page that shows its navigation alone is as good as white.
_LEAST_TEXT = 30


@dataclass(frozen=True, slots=True)
class Stop:
    """One page: its hash route, and the tabs to press on it in turn."""

    name: str
    route: str
    tabs: tuple[str, ...] = ()


@dataclass(slots=True)
class Visit:
    """What was seen on one page: its text, and what went wrong."""

    stop: Stop
    text: str = ""
    troubles: list[str] = field(default_factory=list)


class Answers:
    """The session's own answers, which name what there is to open."""

    def __init__(self, base: str) -> None:
        """`base` is the dashboard's address, with a final slash."""
        self._client = httpx.Client(base_url=base, timeout=60, trust_env=False)

    def rows(self, resource: str, limit: int = 1000) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._data(f"api/v0/{resource}?detail=1&limit={limit}")["result"]["result"]
        return rows

    def jobs(self) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = self._client.get("api/jobs/").raise_for_status().json()
        return jobs

    def log_of(self, node_id: str) -> str | None:
        """The name of one of a node's log files."""
        names = self._data(f"api/v0/logs?node_id={node_id}")["result"]
        files = sorted(name for of_kind in names.values() for name in of_kind if not name.endswith("/"))
        return next((name for name in files if name.startswith("raylet")), files[0] if files else None)

    def serve(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get("api/serve/applications/").raise_for_status().json()
        return found

    def _data(self, path: str) -> dict[str, Any]:
        data: dict[str, Any] = self._client.get(path).raise_for_status().json()["data"]
        return data


def stops(answers: Answers, *, most: int = 3) -> Iterator[Stop]:
    """Every page that the frontend has a route for; of pages of one entity at most so many."""
    for name in ("overview", "jobs", "serve", "cluster", "actors", "metrics", "logs"):
        yield Stop(name, f"/{name}")
    yield Stop("cluster info", "/cluster/info")
    yield Stop("serve system", "/serve/system")
    for job in answers.jobs()[: most + 3]:
        job_id = job["job_id"] or job["submission_id"]
        yield Stop("job", f"/jobs/{job_id}")
        yield Stop("job info", f"/jobs/{job_id}/info")
        yield Stop("job actors", f"/jobs/{job_id}/actors")
    for node in _spread(answers.rows("nodes"), "state", most + 1):
        yield Stop("node", f"/cluster/nodes/{node['node_id']}", ("Raylet", "Worker", "Actor"))
        yield Stop("node logs", f"/logs/?nodeId={node['node_id']}")
        if name := answers.log_of(node["node_id"]):
            yield Stop("log viewer", f"/logs/viewer?nodeId={node['node_id']}&fileName={quote(name)}")
    for actor in _spread(answers.rows("actors"), "state", most):
        yield Stop("actor", f"/actors/{actor['actor_id']}")
        yield Stop("job actor", f"/jobs/{actor['job_id']}/actors/{actor['actor_id']}")
    for task in _spread(answers.rows("tasks", 300), "state", most):
        yield Stop("task", f"/jobs/{task['job_id']}/tasks/{task['task_id']}")
    yield from _serve_stops(answers.serve())


def _serve_stops(serve: dict[str, Any]) -> Iterator[Stop]:
    if serve.get("controller_info"):
        yield Stop("serve controller", "/serve/system/controller")
    for proxy in list(serve.get("proxies") or {})[:1]:
        yield Stop("serve proxy", f"/serve/system/proxies/{proxy}")
    for name, application in list((serve.get("applications") or {}).items())[:2]:
        yield Stop("serve application", f"/serve/applications/{quote(name)}")
        for deployment, told in list(application.get("deployments", {}).items())[:1]:
            yield Stop("serve deployment", f"/serve/applications/{quote(name)}/{quote(deployment)}")
            for replica in told.get("replicas", [])[:1]:
                yield Stop("serve replica", f"/serve/applications/{quote(name)}/{quote(deployment)}/{quote(replica['replica_id'])}")


def _spread(rows: list[dict[str, Any]], column: str, most: int) -> list[dict[str, Any]]:
    """At most so many rows, as many values of a column as possible among them."""
    first = {row[column]: row for row in reversed(rows)}
    chosen = list(first.values())
    return (chosen + [row for row in rows if row not in chosen])[: max(most, len(chosen))]


class Walker:
    """One browser page that goes from stop to stop, as a click goes; `fresh`: as a shared address opens it, in a new document."""

    def __init__(self, context: BrowserContext, base: str) -> None:
        self._base = base
        self._troubles: list[str] = []
        self._open: set[Request] = set()
        self.page = context.new_page()
        self.page.on("console", lambda said: self._note(f"console: {said.text}") if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self._note(f"exception: {error}"))
        self.page.on("request", lambda sent: self._open.add(sent))  # noqa: PLW0108 - playwright marks a handler
        self.page.on("requestfinished", lambda sent: self._open.discard(sent))  # noqa: PLW0108
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)

    def visit(self, stop: Stop, *, fresh: bool = False) -> Visit:
        self._troubles = []
        if fresh or not self.page.url.startswith(self._base):
            self._open.clear()
            self.page.goto("about:blank", timeout=_OPENED)
            self.page.goto(f"{self._base}#{stop.route}", timeout=_OPENED)
        else:
            self.page.evaluate("route => { location.hash = route }", stop.route)
        texts = [self._settled()]
        for tab in stop.tabs:
            try:
                self.page.get_by_role("tab", name=re.compile(f"^{tab}")).first.click(timeout=_TAB)
            except PlaywrightError:
                self._note(f"there is no tab {tab}")
                break
            texts.append(self._settled())
        visit = Visit(stop, "\n".join(texts), list(self._troubles))
        if any(len(text) < _LEAST_TEXT for text in texts):
            visit.troubles.append("white page")
        return visit

    def _settled(self) -> str:
        """The text of the page's main part, once nothing is asked for and nothing changes any more."""
        before: str | None = None
        deadline = time.monotonic() + _MOST
        while time.monotonic() < deadline:
            self.page.wait_for_timeout(_LOG_QUIET if _LOG_VIEWER in (before or "").lower() else _QUIET)
            now = str(self.page.evaluate("() => document.querySelector('main')?.innerText ?? ''"))
            if now == before and not self._open and "Loading..." not in now and (now or time.monotonic() > deadline - _MOST + _WHITE):
                return now
            before = now
        self._note("the page never came to rest")
        return before or ""

    def _note(self, trouble: str) -> None:
        # A failed request is noted with its address.
        if not trouble.startswith("console: Failed to load resource"):
            self._troubles.append(trouble[:300])

    def _answered(self, answer: Response) -> None:
        fails_live = answer.status == 404 and any(re.search(pattern, answer.url) for pattern, _ in LIVE_FAILS)
        if answer.status >= 400 and not fails_live:
            self._note(f"{answer.status} {answer.request.method} {answer.url}")

    def _failed(self, request: Request) -> None:
        self._open.discard(request)
        if "ERR_ABORTED" not in (request.failure or ""):
            self._note(f"{request.failure} {request.url}")
