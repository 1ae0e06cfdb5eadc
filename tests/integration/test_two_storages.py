"""Two services with a storage each share one Redis and its queues: the same session in both is never mixed up."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

from tests.servers import Api, RedisServer, deployment
from tests.waiting import wait_until

SESSION = "session_2026-11-23_19-00-40_785172_1"
REF = f"default/raycluster/raycap/{SESSION}"


def _total(api: Api) -> int:
    return int(api.tasks(REF).json()["data"]["result"]["total"])


def test_each_service_answers_from_its_own_storage(recorded: Path, tmp_path: Path, redis_server: RedisServer, database: count[int]) -> None:
    whole = shutil.copytree(recorded / "bucket", tmp_path / "whole")
    less = shutil.copytree(recorded / "bucket", tmp_path / "less")
    for directory in less.glob(f"cluster-history/*/*/*/{SESSION}/*/job_events/03000000"):
        shutil.rmtree(directory)
    number = next(database)
    with (
        deployment(tmp_path, redis_server, {"STORAGE": whole.as_uri()}, number) as one,
        deployment(tmp_path, redis_server, {"STORAGE": less.as_uri()}, number) as other,
    ):
        ours, theirs = one.api(), other.api()
        # A worker of one storage alone must not take what the other's API asks for.
        one.worker(1)
        theirs.get(f"/enter_cluster/{REF}")
        assert ours.load(REF)["complete"] is True
        assert _total(ours) == 329
        assert theirs.state(REF) == "queued"
        other.worker(1)
        theirs.load(REF)
        assert 0 < _total(theirs) < 329
        assert _total(ours) == 329
        assert theirs.client.delete(f"/sessions/{REF}").status_code < 300
        wait_until(lambda: theirs.state(REF) == "absent", "the eviction")
        assert ours.state(REF) == "loaded"
        assert _total(ours) == 329
