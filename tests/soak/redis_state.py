"""What the soak knows of our keys in Redis, all of it here: which are snapshots, and what the byte budget counts for each.

Found by pattern, not by the product's own code: that is what is being tested.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

# One index and one hash of sizes for each shard; their members are named by the snapshot's key without `g:`.
_SIZES = "rhs:{*}:v*:sizes"
_INDEXES = "rhs:{*}:v*:index"
_SNAPSHOTS = "rhs:{*}:v*:g:*"
_OURS = "rhs:{*}:*"
_QUEUE = ("*unacked*", "*ray-history.*")
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
    counted = {member.decode(): int(size) for name in redis.scan_iter(_SIZES, count=1000) for member, size in redis.hgetall(name).items()}
    indexed = {member.decode() for name in redis.scan_iter(_INDEXES, count=1000) for member in redis.zrange(name, 0, -1)}
    real = {_member(name): _bytes(redis, name) for name in redis.scan_iter(_SNAPSHOTS, count=1000) if redis.pttl(name) > passing * 1000}
    wrong = {member: (counted.get(member, 0), real.get(member, 0)) for member in counted.keys() | real.keys()}
    wrong = {member: sizes for member, sizes in wrong.items() if sizes[0] != sizes[1]}
    details = [f"{member}: {size} bytes counted, {there} there" for member, (size, there) in sorted(wrong.items())]
    return Audit(sum(abs(size - there) for size, there in wrong.values()), sorted(real.keys() - indexed), details)


def forget(redis: Redis) -> None:
    """Start the next run without what this one left, messages of killed workers included."""
    for pattern in (_OURS, *_QUEUE):
        for name in redis.scan_iter(pattern, count=1000):
            if redis.type(name) != b"set" or b"_kombu" not in name:
                redis.unlink(name)


def keys_of(redis: Redis, ref: str) -> list[bytes]:
    """Every key of a session, in one order."""
    namespace, _, cluster, session = ref.split("/")
    return sorted(redis.scan_iter(f"*{namespace}/{cluster}/{session}*", count=1000))


def published(logs: Mapping[Path, int]) -> Counter[str]:
    """How often each generation was published, from workers' logs, by where to begin."""
    return Counter(
        record["generation"] for path, start in logs.items() for record in _records(path, start) if record.get("event") == _PUBLISHED
    )


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
    session, _, snapshot = name.decode().rpartition("g:")
    return session + snapshot


def _bytes(redis: Redis, name: bytes) -> int:
    return sum(len(field) + len(value) for field, value in redis.hgetall(name).items())
