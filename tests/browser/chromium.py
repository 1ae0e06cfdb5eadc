"""Debian's Chromium, and builds of the Ray dashboard's frontend out of `ray` wheels, kept from one run of the tests to the next."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.waiting import cache_directory

# It looks for no network of its own: tests have none.
_FLAGS = ("--disable-background-networking", "--disable-component-update", "--disable-gpu", "--disable-quic", "--disable-sync")
_FETCHED = 900


@contextmanager
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "these tests need a browser: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


def fetched_builds(versions: Sequence[str]) -> Path:
    """The directory with a build per version, fetched as users fetch them. Raises AssertionError."""
    with cache_directory("dashboard") as directory:
        command = [sys.executable, "-m", "cli", "dashboard", "fetch", *versions, "--directory", str(directory)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_FETCHED)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [str(directory / version) for version in versions]
    return directory
