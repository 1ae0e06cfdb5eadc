"""What the soak knows of our keys in Redis, all of it here: which are snapshots, and what the byte budget counts for each.

Found by pattern, not by the product's own code: that is what is being tested.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

_SIZES = "rhs:sizes"
_INDEX = "rhs:index"
_SNAPSHOTS = "rhs:{*}:v*:g:*"
# The record that a worker logs after each publish.
_PUBLISHED = "session loaded"


@dataclass(frozen=True, slots=True)
class Audit:
    """`drift`: bytes that the budget counts wrongly, over all snapshots; `unindexed`: snapshots that nothing would ever evict."""

    drift: int
    unindexed: list[str]
    details: list[str]


def audit(redis: Redis, passing: float) -> Audit:
    """Compare the budget with what is there. Snapshots that expire within `passing` seconds are replaced ones: they count as gone."""
    counted = {member.decode(): int(size) for member, size in redis.hgetall(_SIZES).items()}
    indexed = {member.decode() for member in redis.zrange(_INDEX, 0, -1)}
    real = {_member(name): _bytes(redis, name) for name in redis.scan_iter(_SNAPSHOTS, count=1000) if redis.pttl(name) > passing * 1000}
    wrong = {member: (counted.get(member, 0), real.get(member, 0)) for member in counted.keys() | real.keys()}
    wrong = {member: sizes for member, sizes in wrong.items() if sizes[0] != sizes[1]}
    details = [f"{member}: {size} bytes counted, {there} there" for member, (size, there) in sorted(wrong.items())]
    return Audit(sum(abs(size - there) for size, there in wrong.values()), sorted(real.keys() - indexed), details)


def forget(redis: Redis) -> None:
    """Start the next run without what this one left."""
    redis.delete(_SIZES, _INDEX)
    for name in redis.scan_iter("rhs:{*}*", count=1000):
        redis.unlink(name)


def published(logs: Iterable[tuple[Path, int]]) -> Counter[str]:
    """How often each generation was published, from workers' logs: (file, where to begin)."""
    return Counter(record["generation"] for path, start in logs for record in _records(path, start) if record.get("event") == _PUBLISHED)


def _records(path: Path, start: int) -> Iterator[dict[str, str]]:
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            if line.startswith(b"{"):
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


def _member(name: bytes) -> str:
    """The eviction index's name of a snapshot."""
    session, _, generation = name.decode().partition("}")
    return f"{session.partition('{')[2]}|{generation.rpartition(':')[2]}"


def _bytes(redis: Redis, name: bytes) -> int:
    return sum(len(field) + len(value) for field, value in redis.hgetall(name).items())
