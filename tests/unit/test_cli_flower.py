"""`ray-history flower` does not start open by mistake."""

from __future__ import annotations

import pytest

from cli.flower import credentials
from cli.main import run
from shared.errors import SettingsError
from shared.settings import FlowerSettings


def _settings(**given: object) -> FlowerSettings:
    return FlowerSettings(**{f"flower_{name}": value for name, value in given.items()})  # type: ignore[arg-type]


def test_a_password_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RAY_HISTORY_STORAGE", "file:///tmp")
    monkeypatch.delenv("RAY_HISTORY_FLOWER_PASSWORD", raising=False)
    assert run(["flower"]) == 1
    assert capsys.readouterr().err.startswith("ray-history: RAY_HISTORY_FLOWER_PASSWORD is not set")


def test_the_password_is_taken_as_it_is() -> None:
    # Flower's own option would be split at the comma.
    assert credentials(_settings(user="me", password="a:b,c d")) == ["me:a:b,c d"]


def test_open_only_when_it_is_said() -> None:
    assert credentials(_settings(unauthenticated=True)) is None


@pytest.mark.parametrize("wrong", [{"password": "x", "unauthenticated": True}, {"password": "pässword"}, {}])
def test_contradictions_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="RAY_HISTORY_FLOWER_"):
        credentials(_settings(**wrong))
