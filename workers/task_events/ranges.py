"""Task ids cut into ranges, in the order of ids: what one step merges."""

from __future__ import annotations

from functools import lru_cache

_ONES = "f" * 16


class Ranges:
    """`count` ranges of equal width, and a further fifth for ids that begin with eight ff (creation tasks, drivers): those differ
    only from their ninth byte on.
    """

    def __init__(self, count: int) -> None:
        self.plain = max(1, count)
        self.ones = _ranges_of_ones(count)
        self.count = self.plain + self.ones

    @classmethod
    @lru_cache(maxsize=8)
    def in_total(cls, count: int) -> Ranges:
        """The ranges that are `count` altogether, the further ones included."""
        return cls(next(plain for plain in range(1, count + 1) if plain + _ranges_of_ones(plain) == count))

    def of(self, task_id: str) -> int:
        """The range of an id in hex."""
        if self.ones and task_id.startswith(_ONES):
            return self.plain + (int(task_id[16:24], 16) * self.ones >> 32)
        return int(task_id[:8], 16) * self.plain >> 32


def _ranges_of_ones(plain: int) -> int:
    return 0 if plain <= 1 else max(1, plain // 5)
