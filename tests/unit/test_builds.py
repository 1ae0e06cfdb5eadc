"""Which build of the Ray dashboard's frontend a session gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.pages.builds import Builds


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("2.53.0", "2.55.1", "2.60.0", "2.9.0", ".2.61.0-x1", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").touch()
    (tmp_path / "2.62.0").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("ray_version", "build"),
    [
        ("2.55.1", "2.55.1"),
        ("2.55.0", "2.55.1"),
        ("2.54.1", "2.55.1"),
        ("2.10.0", "2.53.0"),
        ("2.60.0", "2.60.0"),
        ("3.0.0.dev0", "2.60.0"),
        ("2.56.0rc1", "2.60.0"),
        ("", "2.60.0"),
        (None, "2.60.0"),
        ("nightly", "2.60.0"),
    ],
)
def test_its_own_or_the_nearest_newer_or_the_newest(directory: Path, ray_version: str | None, build: str) -> None:
    assert Builds(str(directory)).of(ray_version) == directory / build


def test_a_build_that_is_fetched_meanwhile_is_found(tmp_path: Path) -> None:
    builds = Builds(str(tmp_path / "later"))
    assert builds.of("2.60.0") is None
    (tmp_path / "later" / "2.60.0").mkdir(parents=True)
    (tmp_path / "later" / "2.60.0" / "index.html").touch()
    assert builds.of("2.60.0") == tmp_path / "later" / "2.60.0"


def test_one_build_alone_is_every_session_s(directory: Path) -> None:
    assert Builds(str(directory / "2.53.0")).of("2.60.0") == directory / "2.53.0"


def test_no_directory_is_no_build() -> None:
    assert Builds("").of("2.60.0") is None
    assert Builds("").holding("index.html") is None
