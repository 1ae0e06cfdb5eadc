"""The write contract on every store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.settings import StorageSettings
from tests.contract.storage_suite import Place
from tests.contract.writer_suite import WriterContract
from tests.object_stores import azurite, moto, seaweedfs


class TestLocal(WriterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory: pytest.TempPathFactory) -> Place:
        base = tmp_path_factory.mktemp("storage")
        (base / "history").mkdir()

        def settings(root: str = "", bucket: str = "history", **others: object) -> StorageSettings:
            return StorageSettings(storage=f"file://{base}/{bucket}/{root}".rstrip("/"), **others)

        return Place(settings, lambda key, body: (base / "history" / key).write_bytes(body))


class TestMoto(WriterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls) -> Iterator[Place]:
        with moto() as store:
            yield Place(store.settings, store.put)


class TestSeaweedFS(WriterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
        with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as store:
            yield Place(store.settings, store.put)


class TestAzurite(WriterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
        with azurite(tmp_path_factory.mktemp("azurite")) as store:
            yield Place(store.settings, store.put)


def test_a_directory_that_went_away_is_unavailable_and_is_not_made_again(tmp_path: Path) -> None:
    from shared.errors import StorageUnavailable
    from shared.storage.local_writer import LocalWriter

    writer = LocalWriter(tmp_path / "volume")
    with pytest.raises(StorageUnavailable, match="no directory"):
        writer.put("a", b"x")
    assert not (tmp_path / "volume").exists()


def test_a_mounted_bucket_without_hard_links_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.storage.local_writer import LocalWriter

    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("shared.storage.local_writer.os.link", no_links)
    writer = LocalWriter(tmp_path)
    assert writer.put_if_absent("a/b", b"first")
    assert not writer.put_if_absent("a/b", b"second")
    assert (tmp_path / "a" / "b").read_bytes() == b"first"


def test_what_killed_processes_left_half_written_is_removed_after_a_day(tmp_path: Path) -> None:
    from shared.storage.local_writer import LocalWriter

    writer = LocalWriter(tmp_path)
    writer.check()
    old, new = tmp_path / ".unfinished" / "1-0-abcd", tmp_path / ".unfinished" / "2-0-abcd"
    old.touch()
    new.touch()
    os.utime(old, (1_700_000_000, 1_700_000_000))
    writer.check()
    assert (old.exists(), new.exists()) == (False, True)
