"""A browser at a Ray dashboard that proxies to us: a session is chosen, loaded, and shown by that dashboard's own pages.

Here it is played; `real_behind_ray.py` starts a real one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
from playwright.sync_api import Browser, expect

from tests.browser.test_pages import REF, SESSION, STEP, TASKS_JOB, browser, bucket, build, playwright, server  # noqa: F401
from tests.ray_dashboard import ray_dashboard

# Each request takes three processes here.
_PATIENCE = 3 * STEP
# Nothing was ever stored of these.
_NOT_OURS = ("/static/", "/speedscope", "/favicon.ico", "/logo", "/api/v0/platform_events", "/usage_stats_enabled")


# Live fails these, too: there is no Kubernetes, Grafana or Prometheus.
_EXCUSED = ("platform_events", "grafana_health", "prometheus_health")


def chosen_and_seen(chrome: Browser, address: str, at_the_list: Callable[[], None] = lambda: None) -> list[tuple[int, str]]:
    """From the dashboard in front to a session's tasks; the requests that failed. `at_the_list` is called before a session is chosen."""
    context = chrome.new_context(base_url=address)
    context.set_default_timeout(_PATIENCE)
    failed: list[tuple[int, str]] = []
    context.on("response", lambda answer: failed.append((answer.status, answer.url)) if answer.status >= 400 else None)
    page = context.new_page()
    page.goto("/")
    expect(page).to_have_title("Overview | Ray Dashboard", timeout=_PATIENCE)
    page.goto("/select_cluster")
    at_the_list()
    page.get_by_role("row").filter(has_text=SESSION).get_by_role("link").click()
    page.wait_for_url(f"{address}/#/overview")
    expect(page.get_by_text("stopped-job").first).to_be_visible(timeout=_PATIENCE)
    page.goto(f"/#/jobs/{TASKS_JOB}")
    expect(page.get_by_text("Task Table").first).to_be_visible(timeout=_PATIENCE)
    context.close()
    return [one for one in failed if not one[1].split("?")[0].endswith(_EXCUSED)]


def test_a_session_is_chosen_and_seen_in_the_dashboard_in_front(browser: Browser, server: str, build: Path) -> None:  # noqa: F811
    httpx.delete(f"{server}/sessions/{REF}").raise_for_status()
    with ray_dashboard(server, build) as (address, app):
        assert chosen_and_seen(browser, address, app.fell_back.clear) == []
    assert [path for path in app.fell_back if path != "/" and not path.startswith(_NOT_OURS)] == [], "the session's, not its own cluster's"
