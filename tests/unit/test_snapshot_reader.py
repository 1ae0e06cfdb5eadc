"""Documents of a snapshot: whatever their size, they come back whole, and an evicted snapshot is not one without documents."""

from __future__ import annotations

import pytest
from fakeredis import FakeAsyncRedis

from api.snapshots.fields import BlockCache
from api.snapshots.reader import SnapshotReader
from shared import snapshot_format as fmt
from shared.errors import SnapshotGone
from shared.store.keys import Keyspace

_MIB = 1 << 20
KEYS = Keyspace().session("ns/cluster/session")


def _reader(redis: FakeAsyncRedis) -> SnapshotReader:
    return SnapshotReader(redis, KEYS, "1", BlockCache(64 * _MIB))


@pytest.mark.parametrize(("size", "pieces"), [(0, 1), (3, 1), (_MIB, 1), (_MIB + 1, 2), (9 * _MIB + 7, 10)])
async def test_a_document_of_any_size_comes_back_whole(size: int, pieces: int) -> None:
    text = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    redis = FakeAsyncRedis()
    await redis.hset(KEYS.snapshot("1"), fmt.doc_field("long"), fmt.pack_doc(text))
    reader = _reader(redis)
    assert await reader.doc("long") == text
    assert len(await reader.doc_pieces("long")) == pieces
    await redis.flushall()
    assert await reader.doc("long") == text, "from the cache"


async def test_no_document_is_not_no_snapshot() -> None:
    redis = FakeAsyncRedis()
    await redis.hset(KEYS.snapshot("1"), fmt.doc_field("other"), fmt.pack_doc(b"{}"))
    assert (await _reader(redis).doc("long"), await _reader(redis).doc_pieces("long")) == (None, [])
    await redis.flushall()
    with pytest.raises(SnapshotGone):
        await _reader(redis).doc("long")


def test_long_names_and_empty_pieces_count() -> None:
    """A name may hold the query string of a request, and a client may send any number of them."""
    cache = BlockCache(1 * _MIB)
    for number in range(100):
        cache.put(("session", "1", f"{number}" + "x" * 60_000), b"", 0)
    kept = [number for number in range(100) if cache.get(("session", "1", f"{number}" + "x" * 60_000)) is not None]
    assert 10 < len(kept) < 18
    for number in range(10_000):
        cache.put(("session", "1", f"logs:{number}"), [], 0)
    assert sum(cache.get(("session", "1", f"logs:{number}")) is not None for number in range(10_000)) < 2_500
