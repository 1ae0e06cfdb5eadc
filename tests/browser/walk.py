"""Opens every page and tab of the Ray dashboard of one session, and collects whatever is wrong with each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
from playwright.sync_api import BrowserContext, Page, Request, Response

_QUIET = 250
_MOST = 15_000
# What fails on the live dashboard, too: the question whether platform events are enabled, which are not.
LIVE_FAILS = re.compile(r"/api/v0/platform_events$")
_RESOURCE = re.compile(r"Failed to load resource")
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
    """One browser page that goes from stop to stop, each in a fresh document, as a shared address opens it."""

    def __init__(self, context: BrowserContext, base: str) -> None:
        self._base = base
        self._page = context.new_page()
        self._troubles: list[str] = []
        self._open = 0
        self._page.on("console", lambda said: self._note(f"console: {said.text}") if said.type == "error" else None)
        self._page.on("pageerror", lambda error: self._note(f"exception: {error}"))
        self._page.on("response", self._answered)
        self._page.on("requestfailed", self._failed)

    @property
    def page(self) -> Page:
        return self._page

    def visit(self, stop: Stop) -> Visit:
        self._troubles = []
        self._page.goto("about:blank")
        self._page.goto(f"{self._base}#{stop.route}")
        texts = [self._settled()]
        for tab in stop.tabs:
            self._page.get_by_role("tab", name=re.compile(f"^{tab}")).first.click()
            texts.append(self._settled())
        visit = Visit(stop, "\n".join(texts), list(self._troubles))
        if any(len(text) < _LEAST_TEXT for text in texts):
            visit.troubles.append("white page")
        return visit

    def _settled(self) -> str:
        """The text of the page's main part, once it has stopped changing."""
        self._page.wait_for_load_state("networkidle", timeout=_MOST)
        main = self._page.locator("main").first
        before, waited = "", 0
        while waited < _MOST:
            now = main.inner_text(timeout=2000) if main.count() else ""
            if now and now == before and "Loading..." not in now:
                return now
            before = now
            self._page.wait_for_timeout(_QUIET)
            waited += _QUIET
            if not now and waited > 4000:
                return ""
        return before

    def _note(self, trouble: str) -> None:
        # The request itself is noted, with its address.
        if not _RESOURCE.search(trouble):
            self._troubles.append(trouble[:300])

    def _answered(self, answer: Response) -> None:
        if answer.status >= 400 and not LIVE_FAILS.search(answer.url):
            self._troubles.append(f"{answer.status} {answer.request.method} {answer.url}")

    def _failed(self, request: Request) -> None:
        if "ERR_ABORTED" not in (request.failure or ""):
            self._troubles.append(f"{request.failure} {request.url}")
