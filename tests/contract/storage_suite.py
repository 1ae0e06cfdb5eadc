"""What every adapter of the storage port must do. One subclass per store says how its bucket is made and filled."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.dashboard.logs.content import LogFile
from api.dashboard.logs.content import content as log_content
from shared.catalogue import Catalogue
from shared.errors import ObjectNotFound, StorageUnavailable
from shared.settings import StorageSettings
from shared.storage.factory import open_storage
from shared.storage.port import ObjectInfo, Storage

BIG = bytes(range(256)) * 4096 * 9  # more than one part of anything: 9 MiB
OBJECTS = {
    "a-b": b"beside a/",
    "a/empty": b"",
    "a/x": b"hello",
    "a/y/z.jsonl.gz": b"deep",
    "big": BIG,
    "fetched_endpoints/restful__api__v0__placement_groups?detail=1&limit=10000": b"{}",
    "logs/a b+c=d;e,f@g!h$i'(j)k*l~m%41 #n.log": b"odd",
    "logs/\u00fcml\u00e4ut-\u4f60.log": b"more than ASCII",
    **{f"many/{number:04}": b"m" * (number % 7) for number in range(1203)},
}


@dataclass(frozen=True, slots=True)
class Place:
    """A running store: settings that open it (below `root`, in `bucket`), and a way to write below no root."""

    settings: Callable[..., StorageSettings]
    put: Callable[[str, bytes], object]

    def fill(self, objects: dict[str, bytes]) -> None:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(self.put, objects, objects.values()))


class StorageContract:
    """Subclasses define a class-scoped fixture `place`."""

    @pytest.fixture(scope="class")
    @classmethod
    def storage(cls, place: Place) -> Storage:
        place.fill({f"root/{key}": content for key, content in OBJECTS.items()})
        place.fill({"outside": b"not ours", "rootless/x": b"not ours", "root2/x": b"not ours"})
        return open_storage(place.settings("root"))

    def test_check_passes(self, storage: Storage) -> None:
        storage.check()

    def test_what_was_prepared_reads_like_any_other(self, storage: Storage) -> None:
        storage.prepare()
        below = list(storage.list("a/"))
        assert [found for _, found in storage.read_many(below)] == [OBJECTS[info.key] for info in below]

    def test_lists_everything_recursively_in_key_order_with_sizes(self, storage: Storage) -> None:
        expected = [ObjectInfo(key, len(content)) for key, content in sorted(OBJECTS.items(), key=lambda item: item[0].encode())]
        assert list(storage.list("")) == expected

    def test_lists_below_a_prefix_only(self, storage: Storage) -> None:
        assert [info.key for info in storage.list("a/")] == ["a/empty", "a/x", "a/y/z.jsonl.gz"]
        assert len(list(storage.list("many/"))) == 1203

    def test_directories_right_below_a_prefix(self, storage: Storage) -> None:
        assert list(storage.directories("")) == ["a", "fetched_endpoints", "logs", "many"]
        assert list(storage.directories("a/")) == ["y"]
        assert list(storage.directories("many/")) == list(storage.directories("none/")) == list(storage.directories("../")) == []

    def test_an_absent_prefix_is_an_empty_listing(self, storage: Storage) -> None:
        assert list(storage.list("none/")) == []
        assert list(storage.list("a/x/")) == []
        assert list(storage.list("man/")) == []

    def test_a_prefix_must_end_in_a_slash(self, storage: Storage) -> None:
        with pytest.raises(ValueError, match="must end in"):
            list(storage.list("man"))

    def test_without_a_root_everything_is_seen(self, place: Place, storage: Storage) -> None:
        whole = open_storage(place.settings(""))
        assert whole.read("outside") == b"not ours"
        assert [info.key for info in whole.list("root/")] == [f"root/{info.key}" for info in storage.list("")]

    @pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/outside", "a//x", "a/./x", "a/", "", ".", "a\0b"])
    def test_a_key_that_is_none_is_not_there(self, storage: Storage, key: str) -> None:
        for look in (storage.size, storage.read, lambda key: storage.read_range(key, 0, 1), lambda key: list(storage.stream(key))):
            with pytest.raises(ObjectNotFound):
                look(key)

    @pytest.mark.parametrize("prefix", ["../", "a/../", "/", "a//", "./"])
    def test_a_prefix_that_leaves_the_root_lists_nothing(self, storage: Storage, prefix: str) -> None:
        assert list(storage.list(prefix)) == []

    @pytest.mark.parametrize("key", [key for key in OBJECTS if not key.startswith("many/")])
    def test_size_read_and_stream_agree(self, storage: Storage, key: str) -> None:
        content = OBJECTS[key]
        assert storage.size(key) == len(content)
        assert storage.read(key) == content
        chunks = list(storage.stream(key))
        assert b"".join(chunks) == content
        assert max(map(len, chunks), default=0) <= 4 << 20

    @pytest.mark.parametrize(("start", "length"), [(0, 1), (1, 3), (4, 1), (0, 5), (0, 99), (3, 99), (5, 1), (99, 5), (2, 0)])
    def test_ranges_are_cut_at_the_end_of_the_object(self, storage: Storage, start: int, length: int) -> None:
        assert storage.read_range("a/x", start, length) == b"hello"[start : start + length]
        assert b"".join(storage.stream("a/x", start, length)) == b"hello"[start : start + length]

    def test_an_empty_object_has_only_empty_ranges(self, storage: Storage) -> None:
        assert storage.read_range("a/empty", 0, 10) == b""
        assert b"".join(storage.stream("a/empty")) == b""

    def test_streams_from_an_offset(self, storage: Storage) -> None:
        assert b"".join(storage.stream("a/x", 2)) == b"llo"
        assert b"".join(storage.stream("big", 1 << 20)) == BIG[1 << 20 :]
        assert storage.read_range("big", 5 << 20, 3 << 20) == BIG[5 << 20 : 8 << 20]

    def test_a_stream_may_be_left_early(self, storage: Storage) -> None:
        for _ in range(3):
            chunk = next(iter(storage.stream("big")))
            assert chunk
            assert BIG.startswith(chunk)
        assert storage.read("a/x") == b"hello"

    @pytest.mark.parametrize("key", ["none", "a", "many", "a/x/y"])
    def test_an_absent_object_is_not_found(self, storage: Storage, key: str) -> None:
        for look in (storage.size, storage.read, lambda key: storage.read_range(key, 0, 1), lambda key: list(storage.stream(key))):
            with pytest.raises(ObjectNotFound):
                look(key)

    def test_reads_many_in_order_and_yields_failures_among_them(self, storage: Storage) -> None:
        wanted = list(storage.list(""))
        wanted.insert(3, ObjectInfo("none", 10))
        answers = list(storage.read_many(wanted))
        assert [info for info, _ in answers] == wanted
        assert isinstance(answers[3][1], ObjectNotFound)
        assert [content for info, content in answers if info.key != "none"] == [OBJECTS[info.key] for info in wanted if info.key != "none"]

    def test_reads_many_with_a_budget_smaller_than_an_object(self, place: Place, storage: Storage) -> None:
        little = open_storage(place.settings("root", storage_read_ahead=1000))
        wanted = [info for info in storage.list("") if not info.key.startswith("many/")]
        assert [content for _, content in little.read_many(wanted)] == [OBJECTS[info.key] for info in wanted]

    def test_reading_many_may_be_left_early(self, storage: Storage) -> None:
        for _, content in storage.read_many(storage.list("many/")):
            assert content == b""
            break
        assert storage.read("a/x") == b"hello"

    def test_serves_many_threads_at_once(self, storage: Storage) -> None:
        keys = [f"many/{number:04}" for number in range(200)]
        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(storage.read, keys)) == [OBJECTS[key] for key in keys]

    def test_the_last_lines_of_a_log(self, place: Place) -> None:
        text = b"".join(b"line %d\n" % number for number in range(50_000))
        place.put("lines/long.log", text)
        shown = log_content(open_storage(place.settings("lines")), LogFile("long.log", len(text)), 1000, strip_ansi=False)
        assert b"".join(shown) == b"".join(text.splitlines(keepends=True)[-1000:])

    def test_a_missing_bucket_is_unavailable_never_empty_or_not_found(self, place: Place) -> None:
        missing = open_storage(place.settings("root", bucket="no-such-bucket", storage_timeout=1.0))
        looks: list[Callable[[], object]] = [
            missing.check,
            lambda: list(missing.list("")),
            lambda: list(missing.list("a/")),
            lambda: missing.size("a/x"),
            lambda: missing.read("a/x"),
            lambda: missing.read_range("a/x", 0, 1),
            lambda: next(iter(missing.stream("a/x"))),
        ]
        for look in looks:
            with pytest.raises(StorageUnavailable) as caught:
                look()
            assert "\n" not in str(caught.value)
            assert "no-such-bucket" in str(caught.value)
        ((_, answer),) = missing.read_many([ObjectInfo("a/x", 5)])
        assert isinstance(answer, StorageUnavailable)

    def test_works_again_after_close(self, place: Place, storage: Storage) -> None:
        again = open_storage(place.settings("root"))
        assert again.read("a/x") == b"hello"
        again.close()
        again.close()
        assert again.read("a/x") == b"hello"

    def test_recorded_sessions_are_the_same_from_every_store(self, place: Place, recorded: Path) -> None:
        bucket = recorded / "bucket"
        local = open_storage(StorageSettings(storage=bucket.as_uri()))
        place.fill({f"recorded/{path}": content for path, content in _files(bucket)})
        # The collector writes these before a directory's first file; they are no objects.
        self.put_placeholder(place, "recorded/cluster-metadata/raycluster/default_raycap/")
        store = open_storage(place.settings("recorded"))
        assert list(store.list("")) == list(local.list(""))
        assert list(store.read_many(store.list(""))) == list(local.read_many(local.list("")))
        assert Catalogue(store, 60).sessions() == Catalogue(local, 60).sessions()

    def put_placeholder(self, place: Place, key: str) -> None:
        place.put(key, b"")


def _files(directory: Path) -> list[tuple[str, bytes]]:
    return [(path.relative_to(directory).as_posix(), path.read_bytes()) for path in directory.rglob("*") if path.is_file()]
