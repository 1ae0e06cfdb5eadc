"""Large sessions: many tasks on several workers give what one task gives, and outlive the loss of workers in the middle."""

from __future__ import annotations

import pytest

from tests.gated_bucket import GatedBucket
from tests.integration.conftest import RICH, SMALL, Running, loading_process
from tests.servers import Api, Deployment
from tests.task_lines import defined, profiled
from tests.waiting import wait_until

PATHS = (
    "api/v0/tasks?detail=1&limit=10000&exclude_driver=false",
    "api/v0/tasks?limit=7",
    "api/v0/tasks?detail=1&limit=10000&filter_keys=state&filter_predicates=%3D&filter_values=FAILED",
    "api/v0/tasks/summarize",
    "api/v0/tasks/summarize?filter_keys=job_id&filter_predicates=%3D&filter_values=03000000",
    "api/v0/tasks/summarize?summary_by=lineage&filter_keys=job_id&filter_predicates=%3D&filter_values=03000000",
    "api/v0/tasks/timeline",
    "api/v0/actors?detail=1&limit=10000",
    "api/v0/nodes?detail=1",
    "api/v0/workers?detail=1&limit=10000",
    "logical/actors",
    "nodes?view=summary",
    "api/jobs/",
    "events",
)


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    """Parts of about four files, ranges of about fifty tasks."""
    return {"PART_BYTES": 150_000, "RANGE_TASKS": 50}


def _answers(api: Api, ref: str) -> dict[str, object]:
    found = {path: api.get(f"/sessions/{ref}/dashboard/{path}") for path in PATHS}
    found["overview"] = api.get(f"/sessions/{ref}/overview")
    assert {answer.status_code for answer in found.values()} == {200}
    answers = {path: answer.json() for path, answer in found.items()}
    # Of attempts that took equally long, either may be the twentieth.
    longest = answers["overview"]["overview"]
    for name, begin, end in (("slowest", "start", "end"), ("longest_waits", "creation", "start")):
        longest[name] = [one[f"{end}_time_ms"] - one[f"{begin}_time_ms"] for one in longest[name]]
    return answers


def test_answers_and_progress_are_those_of_a_load_in_one_task(
    own: tuple[Deployment, Api], running: Running, bucket: GatedBucket, cluster: str
) -> None:
    ref = bucket.add(cluster, RICH)
    whole, api = own
    worker = whole.a_worker()
    parallel, alone = api.load(ref), running.api.load(ref)
    assert worker.said.count("ray_history.work_on_load[") > 15
    for field in ("progress", "losses", "events_skipped", "attempt", "complete"):
        assert parallel[field] == alone[field], field
    expected = _answers(running.api, ref)
    for path, answer in _answers(api, ref).items():
        assert answer == expected[path], path
    with whole.redis.client(whole.database) as redis:
        assert not list(redis.scan_iter(f"*{cluster}*:w:*")), "intermediate records outlive the load"


def test_a_timeline_that_was_made_at_load_is_that_of_its_rows(own: tuple[Deployment, Api], bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    ids = [f"{number:08x}" + "a1" * 12 + "03000000" + "ffffffff" for number in range(5000, 10_000)]
    lines = [line for at, task in enumerate(ids) for line in (defined(task), profiled(("task:execute", at, 10**9), task_id=task))]
    bucket.put(ref, f"{'dd' * 28}/job_events/AwAAAA==/events-1.jsonl", b"\n".join(lines))
    whole, api = own
    whole.a_worker()
    api.load(ref)
    with whole.redis.client(whole.database) as redis:
        (made,) = [
            key for key in redis.scan_iter(f"*{cluster}*:g:*") if redis.type(key) == b"hash" and redis.hexists(key, "d:tasks/timeline")
        ]
    assert redis.hlen(made) > 100
    prepared, streamed = (api.get(f"/sessions/{ref}/dashboard/api/v0/tasks/timeline{limit}") for limit in ("", "?limit=all"))
    assert prepared.content == streamed.content
    assert prepared.content.count(b'"ph":"X"') > 5000


def test_a_child_that_is_killed_in_a_part_costs_only_that_part(own: tuple[Deployment, Api], bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, RICH)
    whole, api = own
    worker = whole.a_worker()
    api.load(ref)
    expected, files = api.tasks(ref).json(), bucket.events_of(ref)
    api.client.delete(f"/sessions/{ref}")
    with bucket.closed(ref, match=lambda key: key.endswith(files[30])) as gate:
        api.get(f"/enter_cluster/{ref}")
        assert gate.reached.wait(20)
        loading_process(worker).kill()
    record = api.load(ref)
    assert record["attempt"] == 1
    assert record["progress"] | {"phase": ""} == {
        "files_total": 57,
        "files_read": 57,
        "files_failed": 0,
        "bytes_total": 1750932,
        "bytes_read": 1750932,
        "events": 2172,
        "phase": "",
    }
    assert api.tasks(ref).json() == expected
    assert sum(bucket.event_reads(ref).values()) < 57 * 2 + 20, "more than one part was read again"


def test_a_worker_that_is_killed_in_a_part_is_taken_over(own: tuple[Deployment, Api], bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, RICH)
    whole, api = own
    worker = whole.a_worker()
    with bucket.closed(ref) as gate:
        api.get(f"/enter_cluster/{ref}")
        assert gate.reached.wait(20)
        worker.kill()
    whole.a_worker()
    record = api.load(ref)
    assert record["attempt"] == 1, "only the step that was lost is done again"
    assert record["progress"]["files_read"] == 57
    assert api.tasks(ref).json()["data"]["result"]["total"] == 329


def test_eviction_ends_all_parts(own: tuple[Deployment, Api], bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, RICH)
    whole, api = own
    worker = whole.a_worker()
    with bucket.closed(ref) as gate:
        api.get(f"/enter_cluster/{ref}")
        assert gate.reached.wait(20)
        api.client.delete(f"/sessions/{ref}")
    wait_until(lambda: "load given up" in worker.said, "the step that runs sees it")
    assert api.state(ref) == "absent"
    with whole.redis.client(whole.database) as redis:
        assert not list(redis.scan_iter(f"*{cluster}*loaded"))


def test_a_small_load_does_not_wait_for_a_large_one(own: tuple[Deployment, Api], bucket: GatedBucket, cluster: str) -> None:
    large, small = bucket.add(cluster, RICH), bucket.add(f"{cluster}x", SMALL)
    whole, api = own
    whole.a_worker()
    with bucket.closed(large) as gate:
        api.get(f"/enter_cluster/{large}")
        assert gate.reached.wait(20)
        api.get(f"/enter_cluster/{small}")
    records = [api.load(small), api.load(large)]
    assert records[0]["finished_at"] < records[1]["finished_at"], records


def test_a_part_that_cannot_be_read_is_named(own: tuple[Deployment, Api], bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, RICH)
    whole, api = own
    whole.a_worker()
    api.load(ref)
    lost = bucket.events_of(ref)[20].partition("/history/")[2]
    api.client.delete(f"/sessions/{ref}")
    with bucket.failing("503", lost):
        record = api.load(ref)
    assert record["complete"] is False
    assert [loss["file"] for loss in record["losses"]] == [lost]
    assert record["progress"]["files_read"] == 56
    assert lost in api.tasks(ref).json()["data"]["result"]["partial_failure_warning"]
