"""Directories that are held open while many of their files are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.storage.local_directories import Directories


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "file").write_bytes(b"content")
    return root


def _open() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def _of(root: Path) -> Directories:
    return Directories(lambda key: root / key if (root / key).is_dir() else None)


def test_files_are_read(root: Path) -> None:
    (root / "a" / "long").write_bytes(b"x" * 3_000_000)
    (root / "a" / "empty").write_bytes(b"")
    directories = _of(root)
    assert directories.read("a/file") == b"content"
    assert directories.read("a/long") == b"x" * 3_000_000
    assert directories.read("a/empty") == b""


def test_whatever_is_no_plain_file_needs_a_closer_look(root: Path) -> None:
    (root / "a" / "link").symlink_to(root / "a" / "file")
    (root / "a" / "directory").mkdir()
    os.mkfifo(root / "a" / "pipe")
    directories = _of(root)
    for key in ("a/link", "a/directory", "a/pipe", "a/absent", "absent/file", "a/../a/file", "file", ""):
        assert directories.read(key) is None, key


def test_a_directory_that_was_looked_up_stays_the_one_that_is_read(root: Path, tmp_path: Path) -> None:
    directories = _of(root)
    assert directories.read("a/file") == b"content"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"secret")
    (root / "a").rename(root / "moved")
    (root / "a").symlink_to(outside)
    assert directories.read("a/file") == b"content"


def test_a_link_in_place_of_a_directory_is_refused(root: Path, tmp_path: Path) -> None:
    (root / "link").symlink_to(root / "a")
    assert _of(root).read("link/file") is None


def test_nothing_stays_open(root: Path) -> None:
    for number in range(100):
        (root / str(number)).mkdir()
        (root / str(number) / "file").write_bytes(b"x")
    before = _open()
    directories = _of(root)
    assert all(directories.read(f"{number}/file") == b"x" for number in range(100))
    assert _open() <= before + 64
    del directories
    assert _open() == before
