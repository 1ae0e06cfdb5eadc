"""One server on the recorded sessions and one browser for all tests of the Ray dashboard's pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.browser.chromium import chromium, fetched_builds
from tests.running import load, running

# The newest, and the oldest that KubeRay asks for. All of them: `make browser-matrix`.
BUILDS = ("2.55.1", "2.60.0")
Use = Callable[[str], None]


@pytest.fixture(scope="session")
def builds() -> Path:
    return fetched_builds(BUILDS)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's directory of builds."""
    return tmp_path_factory.mktemp("pages")


@pytest.fixture
def use_build(builds: Path, pages: Path) -> Use:
    """Have the server hold this build alone: it looks at each request."""

    def use(version: str) -> None:
        for link in pages.iterdir():
            link.unlink()
        (pages / version).symlink_to(builds / version)

    return use


@pytest.fixture(scope="session")
def history_server(recorded: Path, pages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(recorded / "bucket", tmp_path_factory.mktemp("up"), "--dashboard-dir", str(pages)) as address:
        yield address


@pytest.fixture(scope="session")
def loaded(history_server: str) -> Callable[[str], str]:
    """Loads a session once, and gives its dashboard's address with a final slash."""
    known: set[str] = set()

    def dashboard(ref: str) -> str:
        if ref not in known:
            load(history_server, ref)
            known.add(ref)
        return f"{history_server}/sessions/{ref}/dashboard/"

    return dashboard


# Playwright's loop runs in this thread: no test of another file may find it.
@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def tab(chrome: Browser) -> Iterator[BrowserContext]:
    context = chrome.new_context(viewport={"width": 1400, "height": 900}, timezone_id="America/New_York")
    context.set_default_timeout(60_000)
    yield context
    context.close()
