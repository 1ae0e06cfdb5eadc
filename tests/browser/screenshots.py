"""The pictures of README and docs, taken of the recorded sessions: `python -m tests.browser.screenshots [DIRECTORY]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.chromium import chromium, fetched_builds
from tests.data.recorded import unpack
from tests.running import load, running

_BUILD = "2.60.0"
_CLUSTER = "default/raycluster/raycap"
_FIRST, _SECOND = (f"{_CLUSTER}/session_2026-11-23_{rest}" for rest in ("19-00-40_785172_1", "19-05-06_598956_1"))
_STEP = 60_000
# What each shows, and the text that is there once it is drawn.
_PAGES = {
    "jobs": ("/jobs", "RuntimeError: task 3 fails the driver"),
    "overview": (f"/sessions/{_FIRST}/overview", "RuntimeError: flaky failure"),
    "compare": (f"/compare?a={_FIRST}&b={_SECOND}", "RuntimeError: flaky failure"),
    "dashboard": (f"/sessions/{_FIRST}/dashboard/#/jobs", "stopped-job"),
}


def take(page: Page, name: str, directory: Path) -> None:
    address, text = _PAGES[name]
    page.goto(address)
    expect(page.get_by_text(text).first).to_be_visible(timeout=_STEP)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=directory / f"{name}.png")


def main(directory: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        bucket = unpack(Path(scratch), only="bucket") / "bucket"
        builds = fetched_builds([_BUILD]) / _BUILD
        with running(bucket, Path(scratch), "--dashboard-dir", str(builds)) as address, chromium() as browser:
            for ref in (_FIRST, _SECOND):
                load(address, ref)
            context = browser.new_context(base_url=address, viewport={"width": 1280, "height": 860}, timezone_id="Europe/Berlin")
            for name in _PAGES:
                take(context.new_page(), name, directory)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
