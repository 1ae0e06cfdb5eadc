"""The byte budget over all snapshots: least recently used goes first, what is in use stays, what can't fit is refused before it is written."""

from __future__ import annotations

import pytest
from redis import Redis

from tests.gated_bucket import GatedBucket
from tests.integration.conftest import RICH, SMALL, snapshot_sizes
from tests.servers import Api, Deployment
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    return {"SNAPSHOT_GRACE": 0.3}


@pytest.fixture(scope="module")
def size(own: tuple[Deployment, Api], bucket: GatedBucket) -> int:
    """Bytes of a small session's snapshot."""
    whole, api = own
    whole.worker()
    api.load(bucket.add("size", SMALL))
    with whole.redis.client(whole.database) as redis:
        (found,) = snapshot_sizes(redis).values()
        (name,) = redis.scan_iter("*:g:*")
        written = sum(len(field) + len(value) for field, value in redis.hgetall(name).items())
    assert int(found) == written
    return int(found)


@pytest.fixture
def empty(own: tuple[Deployment, Api], size: int) -> tuple[Deployment, Api]:
    """Nothing is loaded, and nobody works."""
    own[0].without_workers()
    with own[0].redis.client(own[0].database) as redis:
        redis.flushdb()
    return own


def test_the_least_recently_used_snapshot_goes_first(empty: tuple[Deployment, Api], bucket: GatedBucket, cluster: str, size: int) -> None:
    whole, api = empty
    whole.worker(SNAPSHOT_BUDGET=size * 5 // 2)
    first, second, third = (bucket.add(f"{cluster}{name}", SMALL) for name in "abc")
    api.load(first)
    api.load(second)
    assert api.tasks(first).status_code == 200, "first was used after second"
    with whole.redis.client(whole.database) as redis:
        wait_until(lambda: _unused(redis, 400), "nothing is in use any more")
        api.load(third)
        assert [api.state(ref) for ref in (first, second, third)] == ["loaded", "absent", "loaded"]
        assert sum(snapshot_sizes(redis).values()) <= size * 5 // 2
    assert api.tasks(second).status_code == 200, "it is loaded again when somebody asks"


def test_a_session_larger_than_the_budget_is_refused_before_it_fills_redis(
    empty: tuple[Deployment, Api], bucket: GatedBucket, cluster: str, size: int
) -> None:
    whole, api = empty
    whole.worker(SNAPSHOT_BUDGET=size * 5 // 4)
    small, large = bucket.add(f"{cluster}a", SMALL), bucket.add(f"{cluster}b", RICH)
    api.load(small)
    api.get(f"/enter_cluster/{large}")
    wait_until(lambda: api.state(large) == "failed", "refused")
    error = api.get(f"/sessions/{large}").json()["error"]
    assert error["code"] == "snapshot_too_large"
    assert "RAY_HISTORY_SNAPSHOT_BUDGET" in error["message"]
    refused = api.get(f"/enter_cluster/{large}")
    assert (refused.status_code, refused.json()["cause"]) == (503, "snapshot_too_large")
    with whole.redis.client(whole.database) as redis:
        assert not list(redis.scan_iter(f"*{cluster}b*:g:*"))
        assert sum(snapshot_sizes(redis).values()) <= size
    assert api.state(small) == "loaded", "what fits was evicted for what does not"


def test_a_snapshot_in_use_is_not_evicted(empty: tuple[Deployment, Api], bucket: GatedBucket, cluster: str, size: int) -> None:
    whole, api = empty
    whole.worker(SNAPSHOT_BUDGET=size * 5 // 4, SNAPSHOT_GRACE=600)
    first, second = bucket.add(f"{cluster}a", SMALL), bucket.add(f"{cluster}b", SMALL)
    api.load(first)
    api.get(f"/enter_cluster/{second}")
    wait_until(lambda: api.state(second) == "failed", "refused")
    error = api.get(f"/sessions/{second}").json()["error"]
    assert (error["code"], error["retryable"]) == ("no_room", True)
    assert api.state(first) == "loaded"
    assert api.tasks(first).status_code == 200


def _unused(redis: Redis, ms: int) -> bool:
    """Was everything last used so long ago?"""
    seconds, micro = redis.time()
    used = [score for name in redis.scan_iter("rhs:{*}:*:index") for _, score in redis.zrange(name, 0, -1, withscores=True)]
    return max(used) < seconds * 1000 + micro / 1000 - ms
