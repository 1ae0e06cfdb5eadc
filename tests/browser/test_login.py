"""The login page in a browser: with a token, and at an OpenID Connect provider of another site."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from tests.in_process import add_session, made_app
from tests.live_kubernetes.serving import serving
from tests.openid_provider import Provider

TOKEN = "a-long-and-random-token"
RIGHTS = f"""
[tokens.ci]
sha256 = "{hashlib.sha256(TOKEN.encode()).hexdigest()}"
rights = {{ team-a = ["see"] }}
[groups.ml]
rights = {{ team-a = ["see"] }}
"""


@pytest.fixture
def rights(tmp_path: Path) -> str:
    file = tmp_path / "rights.toml"
    file.write_text(RIGHTS)
    return str(file)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider().running() as provider:
        yield provider


def _address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: dict[str, Any]) -> Any:
    """By a name, where the provider has an address: two sites."""
    add_session(tmp_path / "bucket", "team-a", "seen")
    add_session(tmp_path / "bucket", "team-b", "hidden")
    return serving(made_app(tmp_path / "bucket", monkeypatch, auth)[0], lifespan="on")


def _sees_what_it_may(page: Page, address: str) -> None:
    expect(page).to_have_url(f"{address}/?q=e")
    expect(page.get_by_text("seen").first).to_be_visible()
    expect(page.get_by_text("hidden")).to_have_count(0)
    assert "ray_history_token" not in page.evaluate("document.cookie")


def _has_no_barrier(page: Page) -> None:
    assert [one["id"] for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")] == []


def test_with_a_token(tab: BrowserContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rights: str) -> None:
    with _address(tmp_path, monkeypatch, {"auth": "token", "auth_file": rights}) as port:
        address, page = f"http://localhost:{port}", tab.new_page()
        page.goto(f"{address}/?q=e")
        expect(page.get_by_label("Token")).to_be_focused()
        _has_no_barrier(page)
        page.keyboard.type("another")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("not known")
        _has_no_barrier(page)
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
        _sees_what_it_may(page, address)
        page.goto(f"{address}/login")
        expect(page.get_by_text("You are logged in as ci.")).to_be_visible()
        _has_no_barrier(page)
        page.get_by_role("button", name="Log out").click()
        page.goto(f"{address}/?q=e")
        expect(page.get_by_label("Token")).to_be_visible()


def test_at_a_provider(tab: BrowserContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rights: str, provider: Provider) -> None:
    with _address(tmp_path, monkeypatch, provider.settings(rights)) as port:
        address, page = f"http://localhost:{port}", tab.new_page()
        page.goto(f"{address}/?q=e")
        _has_no_barrier(page)
        page.get_by_role("link", name="Log in").click()
        _sees_what_it_may(page, address)
        page.goto(f"{address}/login")
        expect(page.get_by_text("You are logged in as right@example.com.")).to_be_visible()
        page.get_by_role("button", name="Log out").click()
        page.goto(f"{address}/?q=e")
        expect(page.get_by_role("link", name="Log in")).to_be_visible()
