"""The storage contract on a local directory, and what only a directory can get wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.settings import StorageSettings
from shared.storage.local import LocalStorage
from tests.contract.storage_suite import Place, StorageContract


class TestLocal(StorageContract):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory: pytest.TempPathFactory) -> Place:
        base = tmp_path_factory.mktemp("storage")

        def settings(root: str = "", bucket: str = "bucket", **others: object) -> StorageSettings:
            return StorageSettings(storage=f"file://{base}/{bucket}/{root}".rstrip("/"), **others)

        def put(key: str, body: bytes) -> None:
            path = base / "bucket" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

        return Place(settings, put)

    def put_placeholder(self, place: Place, key: str) -> None:
        """A directory is its own placeholder."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    inside = tmp_path / "bucket"
    (inside / "dir").mkdir(parents=True)
    (inside / "dir" / "file").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(b"outside")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "file").write_bytes(b"outside")
    return inside


def keys(storage: LocalStorage, prefix: str = "") -> list[str]:
    return [info.key for info in storage.list(prefix)]


@pytest.mark.parametrize("target", ["../secret", "../secrets", "/etc/passwd", "../bucket2"])
def test_links_that_leave_the_root_are_not_there(root: Path, target: str) -> None:
    (root.parent / "bucket2").write_bytes(b"a neighbour whose name begins alike")
    (root / "link").symlink_to(target)
    storage = LocalStorage(root)
    assert keys(storage) == ["dir/file"]
    assert keys(storage, "link/") == []
    for key in ("link", "link/file"):
        with pytest.raises(ObjectNotFound):
            storage.read(key)
        with pytest.raises(ObjectNotFound):
            storage.size(key)


def test_links_inside_the_root_are_followed(root: Path) -> None:
    (root / "file-link").symlink_to("dir/file")
    (root / "dir-link").symlink_to(root / "dir")
    storage = LocalStorage(root)
    assert keys(storage) == ["dir-link/file", "dir/file", "file-link"]
    assert storage.read("file-link") == storage.read("dir-link/file") == b"inside"


def test_links_in_a_circle_end(root: Path) -> None:
    (root / "dir" / "up").symlink_to(root)
    (root / "dir" / "self").symlink_to("self")
    storage = LocalStorage(root)
    assert keys(storage) == ["dir/file"]
    with pytest.raises(ObjectNotFound):
        storage.read("dir/self")


def test_a_root_behind_a_link_is_fine(root: Path) -> None:
    (root.parent / "alias").symlink_to(root)
    assert keys(LocalStorage(root.parent / "alias")) == ["dir/file"]


def test_dangling_links_and_pipes_are_no_objects(root: Path) -> None:
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    storage = LocalStorage(root)
    assert keys(storage) == ["dir/file"]
    for key in ("dangling", "pipe"):
        with pytest.raises(ObjectNotFound):
            storage.read(key)


@pytest.mark.parametrize("made", ["absent", "file"])
def test_an_absent_root_is_unavailable(tmp_path: Path, made: str) -> None:
    if made == "file":
        (tmp_path / "root").write_bytes(b"")
    storage = LocalStorage(tmp_path / "root")
    for look in (storage.check, lambda: keys(storage), lambda: keys(storage, "a/"), lambda: storage.read("a"), lambda: storage.size("a")):
        with pytest.raises(StorageUnavailable, match="storage file:///"):
            look()


def test_a_root_that_goes_away_is_unavailable_and_comes_back(root: Path) -> None:
    storage = LocalStorage(root)
    assert keys(storage) == ["dir/file"]
    root.rename(root.parent / "away")
    with pytest.raises(StorageUnavailable):
        keys(storage)
    with pytest.raises(StorageUnavailable):
        storage.read("dir/file")
    (root.parent / "away").rename(root)
    assert storage.read("dir/file") == b"inside"


def test_a_file_name_too_long_for_any_file_is_not_there(root: Path) -> None:
    with pytest.raises(ObjectNotFound):
        LocalStorage(root).read("x" * 5000)


def test_what_may_not_be_read_is_unavailable(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    storage = LocalStorage(root)
    monkeypatch.setattr("shared.storage.local.os.open", denied)  # the tests may run as root, whom nothing denies
    with pytest.raises(StorageUnavailable, match="Permission denied"):
        storage.read("dir/file")
    monkeypatch.setattr("shared.storage.local.os.scandir", denied)
    with pytest.raises(StorageUnavailable, match="Permission denied"):
        keys(storage)
    with pytest.raises(StorageUnavailable, match="Permission denied"):
        storage.check()


def test_a_directory_that_may_not_be_listed_is_named_and_the_others_are_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "closed" / "deep").mkdir(parents=True)
    (root / "closed" / "deep" / "file").write_bytes(b"hidden")
    scandir = os.scandir

    def denied(path: Path) -> Iterator[os.DirEntry[str]]:
        if Path(path) == root / "closed":  # the tests may run as root, whom nothing denies
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("shared.storage.local.os.scandir", denied)
    storage = LocalStorage(root)
    closed, file = storage.list("")
    assert (closed.key, file.key) == ("closed/", "dir/file")
    assert "Permission denied" in closed.unreadable
    assert not file.unreadable
    with pytest.raises(StorageUnavailable, match="Permission denied"):
        keys(storage, "closed/")


def test_names_that_are_not_utf8_are_escaped_and_lead_back(root: Path) -> None:
    directory = root / os.fsdecode(b"caf\xe9")
    directory.mkdir()
    for name, content in ((b"r\xe9sum\xe9.log", b"latin"), ("ü.log".encode(), b"utf-8"), (rb"plain\xe9.log", b"a backslash of its own")):
        (directory / os.fsdecode(name)).write_bytes(content)
    storage = LocalStorage(root)
    listed = list(storage.list(r"caf\xe9/"))
    assert [info.key for info in listed] == [rf"caf\xe9/{name}" for name in (r"plain\xe9.log", r"r\xe9sum\xe9.log", "ü.log")]
    assert list(storage.list(""))[:3] == listed
    contents = [b"a backslash of its own", b"latin", b"utf-8"]
    assert [storage.read(info.key) for info in listed] == contents
    assert [content for _, content in storage.read_many(listed)] == contents
