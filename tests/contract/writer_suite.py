"""What every adapter of the write port must do; what it wrote is read back through the reading port."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.errors import StorageUnavailable
from shared.storage.factory import open_storage, open_writer
from shared.storage.port import Storage, StorageWriter
from tests.contract.storage_suite import Place

ODD_KEYS = [
    "fetched_endpoints/restful__api__v0__placement_groups?detail=1&limit=10000",
    "logs/a b+c=d;e,f@g!h$i'(j)k*l~m%41 #n.log",
    "logs/\u00fcml\u00e4ut-\u4f60.log",
    'logs/[1] {2} "3" <4> |5| ^6^ `7`.log',
]


class WriterContract:
    """Subclasses define a class-scoped fixture `place`."""

    @pytest.fixture(scope="class")
    @classmethod
    def stores(cls, place: Place) -> tuple[StorageWriter, Storage]:
        place.put("beside", b"not ours")
        settings = place.settings("written")
        if settings.storage.startswith("file:"):
            Path(settings.storage.removeprefix("file://")).mkdir()
        return open_writer(settings), open_storage(settings)

    def test_check_leaves_nothing(self, stores: tuple[StorageWriter, Storage]) -> None:
        writer, storage = stores
        writer.check()
        assert list(storage.list("cluster-metadata/")) == []

    def test_writes_replaces_and_deletes(self, stores: tuple[StorageWriter, Storage]) -> None:
        writer, storage = stores
        writer.put("a/b/c", b"one")
        writer.put("a/empty", b"")
        assert storage.read("a/b/c") == b"one"
        assert [(info.key, info.size) for info in storage.list("a/")] == [("a/b/c", 3), ("a/empty", 0)]
        writer.put("a/b/c", b"another")
        assert storage.read("a/b/c") == b"another"
        writer.delete(["a/b/c", "a/empty"])
        writer.delete(["a/b/c", "none"])
        assert list(storage.list("a/")) == []

    def test_only_the_first_is_put_if_absent(self, stores: tuple[StorageWriter, Storage]) -> None:
        writer, storage = stores
        assert writer.put_if_absent("once/x", b"first")
        assert not writer.put_if_absent("once/x", b"second")
        assert storage.read("once/x") == b"first"
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda number: writer.put_if_absent("once/y", b"%d" % number), range(8)))
        assert sum(won) == 1
        assert storage.read("once/y") == b"%d" % won.index(True)

    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_any_name_of_a_log_can_be_written(self, stores: tuple[StorageWriter, Storage], key: str) -> None:
        writer, storage = stores
        writer.put(key, b"odd")
        assert storage.read(key) == b"odd"
        assert key in [info.key for info in storage.list(key.partition("/")[0] + "/")]
        writer.delete([key])
        assert key not in [info.key for info in storage.list(key.partition("/")[0] + "/")]

    @pytest.mark.parametrize("size", [0, 1, 5 << 20, (11 << 20) + 7])
    def test_writes_the_beginning_of_a_file(self, stores: tuple[StorageWriter, Storage], tmp_path: Path, size: int) -> None:
        writer, storage = stores
        content = (bytes(range(251)) * (size // 251 + 1))[:size]
        (tmp_path / "log").write_bytes(content + b"written since")
        writer.put_file("logs/big", tmp_path / "log", size)
        assert storage.size("logs/big") == size
        assert storage.read("logs/big") == content

    @pytest.mark.parametrize("size", [10, 12 << 20])
    def test_a_file_that_shrank_is_the_callers_error_and_writes_nothing(
        self, stores: tuple[StorageWriter, Storage], tmp_path: Path, size: int
    ) -> None:
        writer, storage = stores
        (tmp_path / "log").write_bytes(b"x" * (size - 1))
        with pytest.raises(OSError, match="shorter"):
            writer.put_file("shrunk/log", tmp_path / "log", size)
        assert list(storage.list("shrunk/")) == []

    @pytest.mark.parametrize("key", ["../beside", "a/../../beside", "/beside", "a//x", "a/", "", "a\0b"])
    def test_a_key_that_is_none_is_refused(self, stores: tuple[StorageWriter, Storage], key: str) -> None:
        writer, _ = stores
        for write in (lambda: writer.put(key, b"x"), lambda: writer.put_if_absent(key, b"x"), lambda: writer.delete([key])):
            with pytest.raises(ValueError, match="is no key"):
                write()

    def test_many_are_written_by_many_threads_and_deleted_at_once(self, stores: tuple[StorageWriter, Storage]) -> None:
        writer, storage = stores
        keys = [f"many/{number % 7}/{number:04}" for number in range(1100)]
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(writer.put, keys, [b"m"] * len(keys)))
        assert len(list(storage.list("many/"))) == len(keys)
        writer.delete(keys)
        assert list(storage.list("many/")) == []

    def test_a_missing_bucket_is_unavailable(self, place: Place, tmp_path: Path) -> None:
        missing = open_writer(place.settings("", bucket="no-such-bucket", storage_timeout=2.0))
        (tmp_path / "file").write_bytes(b"x")
        for write in (
            missing.check,
            lambda: missing.put("a/x", b"x"),
            lambda: missing.put_if_absent("a/x", b"x"),
            lambda: missing.put_file("a/x", tmp_path / "file", 1),
        ):
            with pytest.raises(StorageUnavailable, match="no-such-bucket"):
                write()
