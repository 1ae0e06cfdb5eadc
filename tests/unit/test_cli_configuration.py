"""`config`, and the reference page that is written from the settings."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from cli.configuration import reference_page, variable
from cli.main import run
from shared.settings import Settings


def test_the_reference_page_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == reference_page(), "settings have changed: run `make docs`"


def test_every_setting_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    settings = Settings.from_environment()
    known = {name for field in fields(settings) for name in type(getattr(settings, field.name)).model_fields}
    assert set(shown) == {variable(name) for name in known}
    page = reference_page()
    assert [name for name in sorted(known) if f"| `{variable(name)}` |" not in page] == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hidden@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss://user:hidden@host/1?password=hidden", "rediss://user:***@host/1?***"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("sentinel://:hidden@a:1;sentinel://:hidden@b:2/0?master=m", "sentinel://:***@b:2/0?***"),
        ("redis://:hid/hidden@host", "redis://:***@host"),
    ],
)
def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, shown: str) -> None:
    monkeypatch.setenv("RAY_HISTORY_REDIS_URL", url)
    assert run(["config"]) == 0
    out = capsys.readouterr().out
    assert shown in out.split()
    assert "hidden" not in out


def test_a_wrong_setting_is_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RAY_HISTORY_PORT", "many")
    assert run(["config"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("ray-history: RAY_HISTORY_PORT: ")
    assert said.count("\n") == 1


def test_each_value_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {
        "S3_BUCKET": "bucket",
        "STORAGE_ROOT_DIR": "log",
        "S3_ENDPOINT": "minio:9000",
        "S3DISABLE_SSL": "true",
        "S3_REGION": "eu-1",
        "RAY_HISTORY_STORAGE_REGION": "eu-2",
        "RAY_HISTORY_PORT": "81",
    }.items():
        monkeypatch.setenv(name, value)
    assert run(["config"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert rows["RAY_HISTORY_STORAGE"] == ["s3://bucket/log", "S3_BUCKET", "STORAGE_ROOT_DIR"]
    assert rows["RAY_HISTORY_STORAGE_ENDPOINT"] == ["http://minio:9000", "S3DISABLE_SSL", "S3_BUCKET", "S3_ENDPOINT"]
    assert rows["RAY_HISTORY_STORAGE_REGION"] == ["eu-2", "environment"]
    assert rows["RAY_HISTORY_PORT"] == ["81", "environment"]
    assert rows["RAY_HISTORY_HOST"] == ["127.0.0.1", "default"]
