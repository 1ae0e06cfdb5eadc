"""The pages in a browser, from the list of sessions to the Ray dashboard's own tasks.

Needs Debian's chromium; the Ray dashboard's frontend comes from the `ray` wheel, as `ray-history dashboard fetch` takes it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.running import load, running

RAY_VERSION = "2.60.0"
SESSION = "session_2026-11-23_19-00-40_785172_1"
NEWEST = "session_2026-11-23_19-07-13_553337_1"
REF = f"default/raycluster/raycap/{SESSION}"
LATER = "default/raycluster/raycap/session_2026-11-23_19-05-06_598956_1"
TASKS_JOB = "03000000"
STEP = 30_000


@pytest.fixture(scope="module")
def bucket(recorded: Path) -> Path:
    return recorded / "bucket"


@pytest.fixture(scope="module")
def build(builds: Path) -> Path:
    return builds / RAY_VERSION


@pytest.fixture(scope="module")
def server(bucket: Path, build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(bucket, tmp_path_factory.mktemp("up"), "--dashboard-dir", str(build)) as address:
        yield address


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "these tests need a browser: apt-get install chromium"
    browser = playwright.chromium.launch(executable_path=chromium)
    yield browser
    browser.close()


@pytest.fixture(params=["light", "dark"])
def context(browser: Browser, request: pytest.FixtureRequest, server: str) -> Iterator[BrowserContext]:
    """One that notes requests to other servers and what the content security policy refused."""
    context = browser.new_context(base_url=server, color_scheme=request.param)
    context.set_default_timeout(STEP)
    trouble: list[str] = []
    context.on("request", lambda sent: None if sent.url.startswith((server, "data:", "blob:")) else trouble.append(sent.url))
    context.on("console", lambda said: trouble.append(said.text) if "Content Security Policy" in said.text else None)
    context.on("weberror", lambda error: trouble.append(str(error.error)))
    yield context
    context.close()
    assert trouble == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def not_loaded(server: str) -> None:
    httpx.delete(f"{server}/sessions/{REF}").raise_for_status()


@pytest.mark.usefixtures("not_loaded")
def test_from_the_sessions_by_the_loading_page_to_the_tasks(page: Page, context: BrowserContext) -> None:
    page.goto("/")
    page.get_by_role("link", name="Sessions").click()
    row = page.get_by_role("row").filter(has_text=SESSION)
    expect(row.get_by_text("not loaded")).to_be_visible(timeout=STEP)
    row.get_by_role("link").click()
    page.wait_for_url("**/dashboard/**")
    expect(page.get_by_text("stopped-job").first).to_be_visible(timeout=STEP)
    page.goto(f"/sessions/{REF}/dashboard/#/jobs/{TASKS_JOB}")
    expect(page.get_by_text("Task Table").first).to_be_visible(timeout=STEP)
    rows = httpx.get(f"{page.url.split('#')[0]}api/v0/tasks?filter_keys=job_id&filter_predicates=%3D&filter_values={TASKS_JOB}").json()
    first = rows["data"]["result"]["result"][0]
    page.get_by_text("Task Table").first.scroll_into_view_if_needed()
    expect(page.get_by_text(first["name"]).first).to_be_visible(timeout=STEP)
    again = context.new_page()
    again.goto("/sessions")
    expect(again.get_by_role("row").filter(has_text=SESSION).get_by_text("loaded", exact=True)).to_be_visible(timeout=STEP)


@pytest.mark.usefixtures("not_loaded")
def test_a_bookmarked_dashboard_waits_on_the_loading_page(page: Page) -> None:
    with page.expect_response(lambda answer: answer.url.endswith(f"/sessions/{REF}/")):
        page.goto(f"/sessions/{REF}/dashboard/")
    page.wait_for_url("**/dashboard/**")
    expect(page.get_by_text("stopped-job").first).to_be_visible(timeout=STEP)


def test_a_log_is_read_in_the_dashboard(page: Page, server: str) -> None:
    load(server, REF)
    nodes = httpx.get(f"{server}/sessions/{REF}/dashboard/api/v0/nodes").json()["data"]["result"]["result"]
    head = next(node["node_id"] for node in nodes if node["is_head_node"])
    page.goto(f"/sessions/{REF}/dashboard/#/logs/?nodeId={head}")
    page.get_by_text("job-driver-tasks-job.log").first.click()
    expect(page.get_by_text("Running entrypoint for job tasks-job").first).to_be_visible(timeout=STEP)


def test_the_list_is_searched_by_keyboard(page: Page) -> None:
    page.goto("/sessions")
    expect(page.get_by_role("row")).to_have_count(5, timeout=STEP)
    page.keyboard.press("/")
    page.keyboard.type("rj-demo")
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("status")).to_have_text("1 of 1 sessions")
    assert page.url.endswith("?q=rj-demo")
    page.reload()
    expect(page.get_by_role("row")).to_have_count(2, timeout=STEP)
    expect(page.get_by_role("link", name="rj-demo")).to_have_count(1)
    page.get_by_label("State").select_option("failed")
    expect(page.get_by_role("status")).to_have_text("No sessions found")
    page.goto("/?q=raycap&state=failed")
    page.wait_for_url("**/sessions?q=raycap&state=failed")
    expect(page.get_by_label("State")).to_have_value("failed")


@pytest.mark.parametrize(
    ("ref", "status"), [("default/raycluster/nope/latest", 404), ("default/pod/raycap/latest", 400), ("default/raycluster/raycap/x", 400)]
)
def test_what_is_wrong_with_an_address_is_told(page: Page, ref: str, status: int) -> None:
    answer = page.goto(f"/sessions/{ref}/")
    assert answer
    assert answer.status == status
    expect(page.get_by_role("alert").first).not_to_be_empty(timeout=STEP)
    expect(page.get_by_role("link", name="All sessions")).to_be_visible()


@pytest.mark.usefixtures("not_loaded")
def test_a_deep_link_to_a_cold_session_lands_on_the_page_that_it_names(page: Page) -> None:
    page.goto(f"/sessions/default/raycluster/raycap/latest/dashboard/#/jobs/{TASKS_JOB}")
    expect(page.get_by_text("Task Table").first).to_be_visible(timeout=STEP)
    assert page.url.endswith(f"{NEWEST}/dashboard/#/jobs/{TASKS_JOB}"), "who shares it shares this session, not the latest"
    page.goto(f"/sessions/{REF}/dashboard/#/jobs/{TASKS_JOB}")
    expect(page.get_by_text("Task Table").first).to_be_visible(timeout=STEP)
    assert page.url.endswith(f"{REF}/dashboard/#/jobs/{TASKS_JOB}")
    page.go_back()
    page.wait_for_url(f"**/{NEWEST}/dashboard/**")


@pytest.mark.usefixtures("not_loaded")
def test_entering_with_a_redirect_goes_by_the_loading_page_to_the_dashboard(page: Page) -> None:
    """KubeRay's address for it, which is a page of ours that opens what was entered."""
    page.goto(f"/enter_cluster/{REF}?redirect=/%23/jobs")
    page.wait_for_url(f"**/sessions/{REF}/dashboard/#/jobs", timeout=STEP)
    expect(page.get_by_text("stopped-job").first).to_be_visible(timeout=STEP)


def test_from_the_first_page_to_why_last_night_s_job_failed_in_two_clicks(page: Page) -> None:
    page.clock.set_fixed_time("2026-11-24T08:00:00Z")
    page.goto("/")
    page.get_by_role("link", name="Failed since yesterday").click()
    failed = page.get_by_role("row").filter(has_text="fail-job")
    expect(failed.get_by_text("RuntimeError: task 3 fails the driver")).to_be_visible(timeout=STEP)
    expect(page.get_by_role("status").first).to_have_text("3 of 3 jobs")
    failed.get_by_role("link", name="fail-job").click()
    page.wait_for_url("**/dashboard/#/jobs/**", timeout=STEP)
    expect(page.get_by_text("Traceback (most recent call last)").first).to_be_visible(timeout=STEP)
    expect(page.get_by_text("Running entrypoint for job fail-job").first).to_be_visible(timeout=STEP)


@pytest.mark.parametrize("address", ["/", "/jobs"])
def test_jobs_are_searched_sorted_and_kept_in_the_address(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_role("link", name="Jobs", exact=True)).to_have_attribute("aria-current", "page")
    expect(page.get_by_role("row").filter(has_text="rj-demo-5zq8d")).to_be_visible(timeout=STEP)
    page.keyboard.press("/")
    page.keyboard.type("mini_job.py")
    page.get_by_label("Kind").select_option("RayJob")
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_label("Kind").select_option("any")
    page.get_by_role("button", name="Duration").click()
    expect(page.get_by_role("columnheader", name="Duration")).to_have_attribute("aria-sort", "descending")
    page.wait_for_url(f"**{address}?q=mini_job.py&sort=-duration")
    expect(page.get_by_role("row").nth(1).get_by_role("link", name="rj-demo-5zq8d")).to_be_visible()
    page.reload()
    expect(page.get_by_role("row").nth(1).get_by_role("link", name="rj-demo-5zq8d")).to_be_visible(timeout=STEP)
    page.get_by_label("Ran after").fill("2026-11-30T00:00")
    expect(page.get_by_role("status").first).to_have_text("No jobs found")


def test_where_no_job_is_found_sessions_are(page: Page) -> None:
    page.goto("/?q=session_2026-11-23")
    expect(page.get_by_role("row").nth(1)).to_be_visible(timeout=STEP)
    expect(page.get_by_role("heading", name="Sessions")).to_be_hidden()
    page.route("**/jobs?*", lambda route: route.fulfill(json={"jobs": [], "next": None, "total": 0, "index": {"age": None}}))
    page.goto("/?q=rj-demo")
    expect(page.get_by_text("No worker has looked through the storage yet")).to_be_visible(timeout=STEP)
    section = page.get_by_role("region", name="Sessions")
    expect(section.get_by_role("listitem")).to_have_count(1, timeout=STEP)
    section.get_by_role("link", name="rj-demo").click()
    page.wait_for_url("**/sessions/batch/rayjob/rj-demo/**", timeout=STEP)


def test_an_address_that_asks_for_what_there_is_not_is_told(page: Page) -> None:
    page.goto("/jobs?staus=FAILED")
    expect(page.get_by_role("alert")).to_contain_text("staus: there is no such parameter", timeout=STEP)


@pytest.mark.usefixtures("not_loaded")
def test_the_overview_of_a_cold_session_leads_to_an_error_and_its_log_lines(page: Page) -> None:
    page.goto(f"/sessions/{REF}/overview")
    page.wait_for_url("**/overview", timeout=STEP)
    group = page.get_by_role("article").filter(has_text="RuntimeError: flaky failure")
    expect(group.get_by_role("heading")).to_have_text("6 TASK_EXECUTION_EXCEPTION", timeout=STEP)
    group.get_by_text("The first of them").click()
    expect(group.get_by_text('raise RuntimeError(f"flaky failure #{n}")')).to_be_visible()
    group.get_by_role("button", name="Lines of stdout").click()
    expect(group.get_by_label("Last lines of stdout")).not_to_be_empty(timeout=STEP)
    expect(page.get_by_role("img", name="Attempts that have ended: finished at most 276, failed at most 39")).to_be_visible()
    page.get_by_role("region", name="Functions").get_by_role("button", name="Retries").click()
    expect(page.get_by_role("region", name="Functions").get_by_role("row").nth(1)).to_contain_text("flaky")
    page.get_by_role("row").filter(has_text="tasks-job").get_by_role("link", name="Overview of job").click()
    expect(page.get_by_text("Only the tasks of job 03000000.")).to_be_visible(timeout=STEP)


def test_a_session_is_compared_with_the_one_before(page: Page, server: str) -> None:
    load(server, REF)
    page.goto(f"/sessions/{LATER}/overview")
    page.get_by_role("link", name="Compare with another").click(timeout=STEP)
    expect(page.get_by_label("From session")).to_have_value(REF, timeout=STEP)
    page.get_by_role("button", name="Compare").click()
    failure = page.get_by_role("row").filter(has_text="RuntimeError: flaky failure")
    expect(failure).to_contain_text("gone", timeout=STEP)
    assert REF.replace("/", "%2F") in page.url


@pytest.mark.parametrize(
    "address",
    [
        "/", "/jobs", "/sessions", "/select_cluster", "/sessions/default/raycluster/nope/latest/", f"/sessions/{REF}/overview",
        f"/compare?a={REF}&b={LATER}",
    ],
)  # fmt: skip
def test_nothing_serious_stands_in_anybody_s_way(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_role("alert" if "nope" in address else "table").first).to_be_visible(timeout=STEP)
    found = Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
