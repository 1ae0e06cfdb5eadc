"""Settings: what is wrong is said in one line that names the variable, and secrets are not shown."""

from __future__ import annotations

import pytest

from shared.errors import SettingsError
from shared.settings import Settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("RAY_HISTORY_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE", "soon"),
        ("LEASE", "0"),
        ("LEASE", "-1"),
        ("LOAD_ATTEMPTS", "0"),
        ("LOAD_ATTEMPTS", "1.5"),
        ("SNAPSHOT_BUDGET", "2GB"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("WAIT_LIMIT", "31"),
        ("KUBERNETES", "perhaps"),
        ("LOG_LEVEL", "loud"),
        ("STORAGE_PATH_STYLE", "maybe"),
        ("REDIS_CONNECTIONS", "1"),
        ("COOKIE_AGE", "59"),
        ("SNAPSHOT_TTL", "inf"),
        ("SNAPSHOT_TTL", "1e18"),
        ("FRESHNESS", "inf"),
        ("LOGIN_AGE", "99999999999999999999"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"RAY_HISTORY_{name}", value)
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment()
    message = str(caught.value)
    assert message.startswith(f"RAY_HISTORY_{name}: ")
    assert value in message
    assert "\n" not in message


def test_values_are_read_and_empty_ones_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_HISTORY_LEASE", "7.5")
    monkeypatch.setenv("RAY_HISTORY_PORT", "")
    settings = Settings.from_environment()
    assert (settings.load.lease, settings.api.port) == (7.5, 8080)


@pytest.mark.parametrize(("lease", "renewal", "queue_lease"), [("2", "5", "120"), ("20", "60", "1")])
def test_a_load_is_renewed_before_its_lease_and_its_claim_end(
    monkeypatch: pytest.MonkeyPatch, lease: str, renewal: str, queue_lease: str
) -> None:
    for name, value in (("LEASE", lease), ("LEASE_RENEWAL", renewal), ("QUEUE_LEASE", queue_lease)):
        monkeypatch.setenv(f"RAY_HISTORY_{name}", value)
    load = Settings.from_environment().load
    assert 3 * load.renewal <= load.lease <= load.claim_ttl / 2


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_HISTORY_REDIS_URL", "redis://:pa55word@host:6379/0")
    monkeypatch.setenv("RAY_HISTORY_STORAGE_SECRET", "s3cret")
    settings = Settings.from_environment()
    assert "pa55word" not in repr(settings)
    assert "s3cret" not in repr(settings)
    assert settings.redis.url == "redis://:pa55word@host:6379/0"


@pytest.mark.parametrize("url", ["http://host", "redis:/", "localhost:6379", "redis://:pa55word@host:port"])
def test_a_wrong_redis_url_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    from shared.store.client import open_redis

    monkeypatch.setenv("RAY_HISTORY_REDIS_URL", url)
    with pytest.raises(SettingsError, match=r"^RAY_HISTORY_REDIS_URL: ") as caught:
        open_redis(Settings.from_environment().redis)
    assert "pa55word" not in str(caught.value)
