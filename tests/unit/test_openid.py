"""Logins of an OpenID Connect provider, which runs on loopback: the code flow, what is refused, ID tokens of programs, logging out."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import structlog

from api.access import openid
from api.access.modes import open_authenticator
from shared.errors import SettingsError
from shared.settings import ApiSettings, AuthSettings, LoadSettings, LogSettings, RedisSettings, Settings, StorageSettings
from tests.in_process import InProcess, add_session, in_process
from tests.openid_provider import SECRET, Provider

BROWSER = {"accept": "text/html", "sec-fetch-site": "same-origin"}
BACK = {"accept": "text/html", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
RIGHTS = '[groups.ml]\nrights = { team-a = ["see", "load"] }\n[users."boss@example.com"]\nrights = { "*" = ["see", "evict"] }\n'


@dataclass
class World:
    provider: Provider
    server: InProcess

    async def begin(self, target: str = "/sessions?q=a") -> str:
        """Sent to the provider, and from there back to this address."""
        begun = await self.server.client.get("/login/start", params={"next": target}, headers=BROWSER)
        assert begun.status_code == 303
        async with httpx.AsyncClient(trust_env=False) as browser:
            asked = await browser.get(begun.headers["location"])
        return str(asked.headers["location"]) if asked.has_redirect_location else f"/login/callback?error={asked.json()['error']}"

    async def log_in(self, target: str = "/sessions?q=a") -> httpx.Response:
        return await self.server.client.get(await self.begin(target), headers=BACK)

    async def lists(self) -> int:
        return (await self.server.client.get("/sessions")).status_code


@pytest_asyncio.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    for namespace in ("team-a", "team-b"):
        add_session(tmp_path / "bucket", namespace, "seen")
    rights = tmp_path / "rights.toml"
    rights.write_text(RIGHTS)
    with Provider().running() as provider:
        async with in_process(tmp_path / "bucket", monkeypatch, provider.settings(str(rights))) as server:
            yield World(provider, server)


async def test_a_browser_logs_in_at_the_provider_and_out(world: World) -> None:
    client = world.server.client
    sent_on = await client.get("/sessions?q=a", headers=BROWSER)
    assert (sent_on.status_code, sent_on.headers["location"]) == (303, "/login?next=%2Fsessions%3Fq%3Da")
    page = await client.get(sent_on.headers["location"], headers=BROWSER)
    assert 'href="login/start?next=%2Fsessions%3Fq%3Da"' in page.text
    back = await world.log_in()
    assert (back.status_code, back.headers["location"]) == (303, "/sessions?q=a")
    (cookie,) = (value.lower() for value in back.headers.get_list("set-cookie") if value.startswith("ray_history_token="))
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert len(cookie) < 300, "no token of the provider is in it"
    rows = (await client.get("/sessions")).json()["sessions"]
    assert {row["namespace"] for row in rows} == {"team-a"}, "the right of the group"
    assert (await client.get("/caller")).json() == {"name": "right@example.com", "auth": "oidc"}
    kept = client.cookies["ray_history_token"]
    await client.post("/logout", headers=BROWSER)
    assert await world.lists() == 401
    stolen = await client.get("/sessions", headers={"cookie": f"ray_history_token={kept}"})
    assert stolen.status_code == 401, "the login itself is over, not only its cookie"


async def test_logins_expire_in_redis_and_their_secrets_are_not_there(world: World) -> None:
    await world.log_in()
    redis = world.server.app.state.redis
    keys = [key async for key in redis.scan_iter("*logins*")]
    assert len(keys) == 1
    assert all([0 < await redis.ttl(key) <= 43_200 for key in keys])
    assert world.server.client.cookies["ray_history_token"].encode() not in b"".join([*keys, *[await redis.get(key) for key in keys]])


async def test_a_way_back_is_good_once_and_for_its_own_browser_only(world: World) -> None:
    address = await world.begin()
    kept = world.server.client.cookies["ray_history_login"]
    for another in ("another", "", base64.urlsafe_b64encode(b'{"state":"a","verifier":"b","nonce":"c","target":"/"}').decode()):
        foreign = await world.server.client.get(address, headers={**BACK, "cookie": f"ray_history_login={another}"})
        assert "trouble=expired" in foreign.headers["location"]
    assert (await world.server.client.get(address, headers=BACK)).headers["location"] == "/sessions?q=a"
    again = await world.server.client.get(address, headers={**BACK, "cookie": f"ray_history_login={kept}"})
    assert "trouble=refused" in again.headers["location"]


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": "another"},
        {"aud": "another"},
        {"aud": ["ray-history", "another"]},
        {"iss": "http://another.example"},
        {"exp": int(time.time()) - 3600},
        {"email": ""},
        {"email": "line\nbreak"},
        {"email_verified": False},
    ],
)
async def test_what_is_wrong_with_an_id_token_lets_nobody_in(world: World, changed: dict[str, Any]) -> None:
    world.provider.changed = changed
    back = await world.log_in()
    assert back.headers["location"].startswith("../login?trouble=refused")
    assert await world.lists() == 401
    page = await world.server.client.get("/login?trouble=refused", headers=BROWSER)
    assert (page.status_code, "The login was refused." in page.text) == (401, True)


async def test_a_signature_of_another_key_lets_nobody_in(world: World) -> None:
    forged = Provider()
    forged.issuer = world.provider.issuer
    for token in (forged.id_token("boss@example.com"), "a.b.c", "", "x"):
        answer = await world.server.client.get("/sessions", headers={"authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_programs_send_an_id_token_while_it_lasts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    client = world.server.client
    bearer = {"authorization": f"Bearer {world.provider.id_token('boss@example.com', exp=int(time.time()) + 100)}"}
    for _ in range(3):
        seen = (await client.get("/sessions", headers=bearer)).json()["sessions"]
        assert {row["namespace"] for row in seen} == {"team-a", "team-b"}
    assert world.provider.asked == ["/.well-known/openid-configuration", "/keys"]
    now = time.time()
    monkeypatch.setattr("api.access.openid_logins.time.time", lambda: now + 200)
    assert (await client.get("/sessions", headers=bearer)).status_code == 401


async def test_new_keys_of_the_provider_are_asked_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.log_in()
    world.provider.new_key()
    monkeypatch.setattr(openid, "_KEYS_ASKED_AGAIN_AFTER", 0.0)
    bearer = {"authorization": f"Bearer {world.provider.id_token('boss@example.com')}"}
    assert (await world.server.client.get("/sessions", headers=bearer)).status_code == 200


async def test_while_the_provider_is_away_nobody_new_is_let_in(world: World) -> None:
    world.provider.fail = True
    begun = await world.server.client.get("/login/start?next=/jobs", headers=BROWSER)
    assert begun.headers["location"] == "../login?trouble=unavailable&next=%2Fjobs"
    page = await world.server.client.get("/login?trouble=unavailable", headers=BROWSER)
    assert (page.status_code, "can&#x27;t be asked" in page.text or "can't be asked" in page.text) == (503, True)
    unknown = await world.server.client.get("/sessions", headers={"authorization": "Bearer a.b.c"})
    assert (unknown.status_code, unknown.json()["code"]) == (503, "login_unavailable")
    world.provider.fail = False
    await world.log_in()
    world.provider.fail = True
    assert await world.lists() == 200, "who has logged in stays so"


async def test_the_log_names_who_logged_in_and_holds_no_secret(world: World) -> None:
    with structlog.testing.capture_logs() as records:
        await world.log_in()
    assert [record["caller"] for record in records if record.get("did") == "logged in"] == ["right@example.com"]
    told = json.dumps(records, default=repr)
    assert SECRET not in told
    assert world.server.client.cookies["ray_history_token"] not in told


@pytest.mark.parametrize(
    ("lacking", "variable"),
    [
        ("auth_file", "RAY_HISTORY_AUTH_FILE"),
        ("oidc_issuer", "RAY_HISTORY_OIDC_ISSUER"),
        ("oidc_client_id", "RAY_HISTORY_OIDC_CLIENT_ID"),
        ("oidc_client_secret_file", "RAY_HISTORY_OIDC_CLIENT_SECRET_FILE"),
    ],
)
def test_without_what_it_needs_it_does_not_start(tmp_path: Path, lacking: str, variable: str) -> None:
    rights = tmp_path / "rights.toml"
    rights.write_text(RIGHTS)
    given = {"auth_file": str(rights), "oidc_issuer": "https://login.example.com", "oidc_client_id": "a"}
    given |= {lacking: str(tmp_path / "nowhere") if lacking.endswith("secret_file") else ""}
    auth = AuthSettings(auth="oidc", **given)
    settings = Settings(StorageSettings(), RedisSettings(), LoadSettings(), ApiSettings(), LogSettings(), auth=auth)
    with pytest.raises(SettingsError, match=f"^{variable}: "):
        open_authenticator(settings, None)  # type: ignore[arg-type]
