"""Whole loads from an object store whose answers break: what can be had is complete."""

from __future__ import annotations

from tests.gated_bucket import GatedBucket
from tests.integration.conftest import RICH, Running


def test_with_a_fifth_of_all_requests_broken_loads_end_complete(running: Running, bucket: GatedBucket, cluster: str) -> None:
    calm = bucket.add(f"{cluster}-calm", RICH)
    record = running.api.load(calm)
    whole = running.api.tasks(calm).json()["data"]["result"]
    for number in range(3):
        ref = bucket.add(f"{cluster}-{number}", RICH)
        with bucket.shaken(0.2) as seen:
            shaken = running.api.load(ref, timeout=60)
        assert seen.total() > 5, seen
        assert shaken["complete"], shaken
        assert shaken["losses"] == []
        assert shaken["progress"] == record["progress"]
        answer = running.api.tasks(ref).json()["data"]["result"]
        assert answer["partial_failure_warning"] == ""
        assert answer["result"] == whole["result"]
