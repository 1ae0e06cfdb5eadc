"""What can't be read: files that are damaged or refused, bad lines, a bucket that is away. Partial is said; an outage is no empty session."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.gated_bucket import GatedBucket
from tests.integration.conftest import SMALL, Running
from tests.servers import Api, Deployment
from tests.waiting import wait_until

PACKED = "19-08-07"


def _warning(api: Api, ref: str, resource: str = "tasks") -> str:
    return str(api.get(f"/sessions/{ref}/dashboard/api/v0/{resource}").json()["data"]["result"]["partial_failure_warning"])


def test_a_damaged_file_is_named_and_what_came_before_the_damage_is_kept(running: Running, bucket: GatedBucket, cluster: str) -> None:
    good: dict[str, bytes] = {}

    def damaged(key: str, content: bytes) -> bytes:
        if "/job_events/" in key and key.endswith(".gz") and not good:
            good[key] = content
            return content[: len(content) * 2 // 3]
        return content

    ref = bucket.add(cluster, PACKED, changed=damaged)
    ((key, content),) = good.items()
    record = running.api.load(ref)
    assert record["complete"] is False
    assert record["progress"]["files_failed"] == 1
    (loss,) = record["losses"]
    assert loss["file"].endswith(f"/{cluster}/{ref.split('/')[3]}/{key}")
    assert loss["code"] == "bad_gzip"
    for resource in ("tasks", "actors", "nodes"):
        assert loss["file"] in _warning(running.api, ref, resource)
    partial = running.api.tasks(ref).json()["data"]["result"]["total"]
    assert partial > 0

    # The collector sends it again: a later visit is served what there is, and has the session loaded in the background.
    bucket.put(ref, key, content)
    wait_until(lambda: running.api.get(f"/enter_cluster/{ref}").status_code == 200 and _is_complete(running.api, ref), "loaded anew", 60)
    # A process may take a generation for current a second longer.
    wait_until(lambda: _warning(running.api, ref) == "", "the new snapshot is served", 5)
    whole = running.api.tasks(ref).json()["data"]["result"]["total"]
    assert whole > partial
    assert running.api.get(f"/sessions/{ref}").json()["progress"]["events"] == 273


def _is_complete(api: Api, ref: str) -> bool:
    record = api.get(f"/sessions/{ref}").json()
    assert record["state"] == "loaded", "a partial snapshot is served while it is loaded anew"
    return bool(record["complete"])


def test_bad_lines_are_counted_and_cost_nothing_else(running: Running, bucket: GatedBucket, cluster: str) -> None:
    spoiled: list[str] = []

    def spoil(key: str, content: bytes) -> bytes:
        if "/job_events/" in key and not spoiled:
            spoiled.append(key)
            bad = [
                b"{",
                b"not JSON",
                b'{"eventType":"TASK_LIFECYCLE_EVENT"}',
                b'{"eventType":"NEVER_SEEN_EVENT"}',
                b"\xff\xfe",
                b"[]",
                b"7",
            ]
            return b"\n".join([*bad, content.rstrip(b"\n"), content.split(b"\n")[0][:50]])
        return content

    good, spoilt = bucket.add(cluster, SMALL), bucket.add(f"{cluster}x", SMALL, changed=spoil)
    expected, record = running.api.load(good), running.api.load(spoilt)
    assert record["complete"] is True
    assert record["losses"] == []
    assert record["events_skipped"] == 8
    assert record["progress"]["events"] == expected["progress"]["events"]
    assert {kind: of_kind["count"] for kind, of_kind in record["skipped"].items()} == {"bad_event": 1, "bad_line": 6, "unknown_type": 1}
    shown, whole = (running.api.tasks(ref).json()["data"]["result"] for ref in (spoilt, good))
    # Beside what the session lacks for other reasons, which the good one says, too.
    (warning,) = set(shown["warnings"]) - set(whole["warnings"] or ())
    assert "1 bad_event, 6 bad_line, 1 unknown_type" in warning
    assert {**shown, "warnings": None} == {**whole, "warnings": None}


def test_an_unreadable_file_is_a_loss_by_name(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    running.api.load(ref)
    lost = bucket.events_of(ref)[0].partition("/history/")[2]
    running.api.client.delete(f"/sessions/{ref}")
    with bucket.failing("500", lost):
        record = running.api.load(ref)
        assert (record["complete"], [loss["code"] for loss in record["losses"]]) == (False, ["storage_unavailable"])
        assert [loss["file"] for loss in record["losses"]] == [lost]


def test_lost_log_events_never_block_a_load(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    with bucket.failing("500", f"{cluster}/{ref.split('/')[3]}/fetched_endpoints"), bucket.failing("500", "/logs/events/event_JOBS"):
        record = running.api.load(ref)
    assert record["progress"]["files_read"] == record["progress"]["files_total"]
    assert record["complete"] is False
    assert all("fetched_endpoints" in loss["file"] or "event_JOBS" in loss["file"] for loss in record["losses"])
    assert any("event_JOBS" in loss["file"] for loss in record["losses"])


def test_a_bucket_that_cannot_be_listed_is_503_and_nothing_is_claimed(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    with bucket.failing("reset"):
        requests = [("POST", f"/sessions/{ref}/load"), ("GET", "/sessions"), ("GET", "/clusters"), ("GET", f"/sessions/{ref}")]
        requests += [("GET", f"/enter_cluster/{ref}"), ("GET", f"/sessions/{ref}/dashboard/api/v0/tasks"), ("GET", "/readz")]

        def ask(request: tuple[str, str]) -> httpx.Response:
            return httpx.request(request[0], running.api.url + request[1], trust_env=False, timeout=30)

        with ThreadPoolExecutor(len(requests)) as callers:
            *refused, ready = callers.map(ask, requests)
        for answer in refused:
            assert answer.status_code == 503, answer.url
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["code"] == "storage_unavailable"
        assert (ready.status_code, ready.json()["missing"]) == (503, ["storage"])
        assert running.api.get("/livez").status_code == 200
    assert running.api.state(ref) == "absent"
    assert running.api.load(ref)["complete"] is True


@pytest.mark.parametrize("part", ["cluster-history/raycluster/test/{cluster}/", "{cluster}/{session}/"], ids=["listing", "every file"])
def test_an_outage_during_the_load_is_no_empty_session(running: Running, bucket: GatedBucket, cluster: str, part: str) -> None:
    """Its marker was listed, and then nothing more could be read."""
    ref = bucket.add(cluster, SMALL)
    named = part.format(cluster=cluster, session=ref.split("/")[3])
    match = (lambda _: True) if part.startswith("{") else (lambda path: "list-type" in path)
    with bucket.failing("503", named, match=match):
        running.api.get(f"/enter_cluster/{ref}")
        wait_until(lambda: running.api.state(ref) == "failed", "the load fails", 30)
        refused = running.api.get(f"/enter_cluster/{ref}")
        if refused.status_code == 503:
            assert refused.json()["cause"] == "storage_unavailable"
            assert int(refused.headers["retry-after"]) >= 1
        error = running.api.get(f"/sessions/{ref}").json()["error"]
        if error:
            assert (error["code"], error["retryable"]) == ("storage_unavailable", True)
    record = running.api.load(ref)
    assert record["complete"] is True
    assert record["error"] is None


def test_a_loaded_session_outlives_an_outage_of_the_bucket(own: tuple[Deployment, Api], bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    whole, api = own
    whole.a_worker()
    api.load(ref)
    with bucket.failing("reset"):
        assert api.get(f"/enter_cluster/{ref}").status_code == 200
        assert api.tasks(ref).status_code == 200
        assert api.get(f"/enter_cluster/{ref.rsplit('/', 1)[0]}").status_code == 503, "which one is the latest, nobody knows"


def test_what_a_collector_had_to_drop_makes_the_session_partial(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, PACKED)
    node = "bf" * 28
    report = {"version": 1, "node": node, "session": ref.split("/")[3], "role": "worker", "began": "2026-11-29T10:00:00Z"}
    losses = [
        {"file": "", "code": "events_unfit", "message": "1 events: no session", "count": 3},
        {"file": "logs/raylet.out", "code": "log_gone", "message": "deleted before its last 5 bytes were uploaded", "count": 1},
    ]
    bucket.put(ref, f"{node}/collector.json", json.dumps(report | {"losses": losses}).encode())
    bucket.put(ref, f"{'ce' * 28}/collector.json", b"[]")
    record = running.api.load(ref)
    assert record["complete"] is False
    assert record["progress"]["files_failed"] == 0
    found = {loss["file"].rpartition(f"{ref.split('/')[3]}/")[2]: (loss["code"], loss["message"]) for loss in record["losses"]}
    assert found[f"{node}/events_unfit"] == ("events_unfit", "the collector says: 1 events: no session (3 times)")
    assert found[f"{node}/logs/raylet.out"][0] == "log_gone"
    assert found[f"{'ce' * 28}/collector.json"][0] == "bad_json"
