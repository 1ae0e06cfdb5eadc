"""What one API process keeps of snapshots: immutable pieces, bounded in bytes, least recently used out first."""

from __future__ import annotations

from typing import Any

from cachetools import LRUCache

from shared.metrics import CACHE_BYTES, CACHE_READS

_HIT, _MISS = CACHE_READS.labels("hit"), CACHE_READS.labels("miss")


class BlockCache:
    """Maps (session key, generation, field) to an unpacked piece. Used from one event loop only."""

    def __init__(self, max_bytes: int) -> None:
        self._pieces: LRUCache[tuple[str, str, str], tuple[Any, int]] = LRUCache(max_bytes, getsizeof=lambda entry: entry[1])

    def get(self, key: tuple[str, str, str]) -> Any | None:
        entry = self._pieces.get(key)
        if entry is None:
            _MISS.inc()
            return None
        _HIT.inc()
        return entry[0]

    def put(self, key: tuple[str, str, str], piece: Any, size: int) -> None:
        if size <= self._pieces.maxsize:
            self._pieces[key] = (piece, size)
            CACHE_BYTES.set(self._pieces.currsize)

    @property
    def bytes(self) -> int:
        return int(self._pieces.currsize)
