"""The Ray dashboard's pages for sessions that have ended: whole, true, and still."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, Request, expect

from tests.browser.conftest import BUILDS, Use
from tests.browser.walk import Answers, Walker, stops
from tests.conformance.sessions import SESSIONS

RICH, KILLED, STOPPED = (str(SESSIONS[name][1]) for name in ("rich", "killed", "stopped"))
# The pages poll every 4 or 5 seconds.
POLL = 5_500
Loaded = Callable[[str], str]


@pytest.fixture(params=BUILDS)
def build(request: pytest.FixtureRequest, use_build: Use) -> str:
    version = str(request.param)
    use_build(version)
    return version


@pytest.mark.parametrize("ref", [RICH], ids=["rich"])
@pytest.mark.usefixtures("build")
def test_every_page_opens_whole(tab: BrowserContext, loaded: Loaded, ref: str) -> None:
    base = loaded(ref)
    walker = Walker(tab, base)
    visits = [walker.visit(stop) for stop in stops(Answers(base), most=1)]
    assert len(visits) > 25
    assert [f"{visit.stop.name} {visit.stop.route}: {trouble}" for visit in visits for trouble in visit.troubles] == []


@pytest.mark.usefixtures("build")
def test_time_stands_still_and_nothing_is_polled(tab: BrowserContext, loaded: Loaded) -> None:
    page = tab.new_page()
    page.goto(f"{loaded(KILLED)}#/jobs")
    row = page.get_by_role("row").filter(has_text="RUNNING").first
    expect(row).to_contain_text("RUNNING")
    page.wait_for_load_state("networkidle")
    before, asked = row.inner_text(), list[str]()
    page.on("request", lambda sent: asked.append(sent.url))
    page.wait_for_timeout(POLL)
    assert asked == []
    assert row.inner_text() == before
    assert page.evaluate("[Date.now(), new Date().getTime(), +new Date(0)]") == [*[_end(page)] * 2, 0]
    assert re.search(r"\b\d+[ms]\b", before)
    assert not re.search(r"\b\d+d\b", before), "it ran for minutes, however long ago"


@pytest.mark.usefixtures("build")
def test_what_ran_is_said_to_have_run_at_the_end(tab: BrowserContext, loaded: Loaded) -> None:
    page = tab.new_page()
    page.goto(f"{loaded(KILLED)}#/jobs")
    chip = page.locator("[data-then]").first
    expect(chip).to_have_text("RUNNING")
    expect(chip).to_have_attribute("title", "RUNNING when the session ended")
    assert page.evaluate("element => getComputedStyle(element, '::after').content", chip.element_handle()) == '" at the end"'
    spinner = page.get_by_role("row").filter(has_text="RUNNING").locator("svg").first
    assert spinner.evaluate("element => getComputedStyle(element).animationName") == "none"
    expect(page.get_by_label("Recorded session")).to_contain_text("still running then: 1 job")


@pytest.mark.usefixtures("build")
def test_logs_of_dead_nodes_are_offered(tab: BrowserContext, loaded: Loaded) -> None:
    base = loaded(RICH)
    dead = next(node["node_id"] for node in Answers(base).rows("nodes") if node["state"] == "DEAD")
    page = tab.new_page()
    page.goto(f"{base}#/logs")
    expect(page.get_by_text("(DEAD, IP: 10.244.0.13")).to_be_visible()
    page.get_by_role("link", name=dead).click()
    expect(page.get_by_text("raylet.out").first).to_be_visible()
    expect(page.get_by_text("Nodes that were gone")).to_have_count(0)
    page.goto(f"{base}#/cluster")
    page.get_by_role("row").filter(has=page.locator(f'a[href="#/cluster/nodes/{dead}"]')).get_by_role("link", name="Log").click()
    expect(page.get_by_text("raylet.out").first).to_be_visible()


@pytest.mark.usefixtures("build")
def test_the_bar_names_the_session_and_leads_back(tab: BrowserContext, loaded: Loaded) -> None:
    page = tab.new_page()
    page.goto(f"{loaded(STOPPED)}#/actors")
    bar = page.get_by_label("Recorded session")
    expect(bar).to_contain_text("raycap")
    expect(bar).to_contain_text("2026-11-23 19:05")
    expect(page).to_have_title(re.compile(r"^raycap 2026-11-23 19:05 - Actors"))
    page.goto(page.url.replace("#/actors", "#/jobs"))
    expect(page).to_have_title(re.compile(r"^raycap 2026-11-23 19:05 - Jobs"))
    page.go_back()
    expect(page).to_have_title(re.compile(r"- Actors"))
    page.reload()
    expect(page).to_have_title(re.compile(r"- Actors"))
    found = Axe().run(page, context="#ray-history-bar")
    assert [one["id"] for one in found.response["violations"] if one["impact"] in ("serious", "critical")] == []
    bar.get_by_role("link", name="All sessions").click()
    expect(page.get_by_role("heading", name="Sessions")).to_be_visible()


def test_loading_again_comes_back_to_the_page(tab: BrowserContext, loaded: Loaded, use_build: Use) -> None:
    use_build(BUILDS[-1])
    base = loaded(STOPPED)
    page = tab.new_page()
    page.goto(f"{base}#/cluster")
    with page.expect_request(lambda sent: sent.method == "POST" and sent.url.endswith("/load?force=true")):
        page.get_by_role("button", name="Load again").click()
    page.wait_for_url(f"{base}#/cluster")
    expect(page.get_by_text("Node List")).to_be_visible()


def test_metrics_are_said_to_be_missing(tab: BrowserContext, loaded: Loaded, use_build: Use) -> None:
    use_build(BUILDS[-1])
    page = tab.new_page()
    page.goto(f"{loaded(RICH)}#/metrics")
    expect(page.get_by_text("No metrics were stored with this session")).to_be_visible()
    expect(page.get_by_text("Set up Prometheus")).to_have_count(0)
    expect(page.get_by_role("link", name="Metrics")).to_have_count(0)


def test_what_a_build_asks_at_the_root_is_asked_below_the_session(tab: BrowserContext, loaded: Loaded, use_build: Use) -> None:
    """As the builds of Ray 2.56 and 2.57 ask for `/api/profiling_enabled`."""
    use_build(BUILDS[-1])
    base = loaded(RICH)
    page = tab.new_page()
    page.goto(base)
    asked: list[Request] = []
    page.on("request", lambda sent: asked.append(sent))  # noqa: PLW0108 - Playwright takes no built-in
    told = page.evaluate("fetch('/api/profiling_enabled').then((answer) => answer.json())")
    assert told["data"]["profilingEnabled"] is False
    assert [sent.url for sent in asked if "profiling" in sent.url] == [f"{base}api/profiling_enabled"]


def test_without_a_build_there_are_plain_pages_with_the_bar(tab: BrowserContext, loaded: Loaded, pages: Path, use_build: Use) -> None:
    use_build(BUILDS[-1])
    for link in pages.iterdir():
        link.unlink()
    page = tab.new_page()
    page.goto(loaded(RICH))
    expect(page.get_by_label("Recorded session")).to_be_visible()
    expect(page.get_by_text("ray-history dashboard fetch 2.60.0")).to_be_visible()
    found = Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    page.get_by_role("link", name="Tasks", exact=True).click()
    assert httpx.URL(page.url).path.endswith("/api/v0/tasks")


def _end(page: Page) -> int:
    return int(page.evaluate("JSON.parse(document.querySelector('meta[name=ray-history-session]').content).now"))
