"""The collector as a process: what it answered 200 for is in the bucket, once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from shared.catalogue import Catalogue
from shared.settings import StorageSettings
from shared.storage.factory import open_storage
from tests.collector.events import NODE, SESSION, body, event
from tests.collector.running import collecting, shaken
from tests.collector.stored import event_files, stored_ids
from tests.waiting import wait_until

SEEDS = [int(seed) for seed in os.environ.get("COLLECTOR_SEEDS", "1,2,3").split(",")]
SECONDS = float(os.environ.get("COLLECTOR_SECONDS", "4"))
OUTAGE_SEEDS = [int(seed) for seed in os.environ.get("COLLECTOR_OUTAGE_SEEDS", "1").split(",")]
OUTAGE = float(os.environ.get("COLLECTOR_OUTAGE", "3"))


@pytest.mark.parametrize(("seed", "outage"), [(seed, 0.0) for seed in SEEDS] + [(seed, OUTAGE) for seed in OUTAGE_SEEDS])
def test_every_acknowledged_event_is_in_the_bucket_once(tmp_path: Path, seed: int, outage: float) -> None:
    with collecting(tmp_path / "collector", tmp_path / "bucket") as collector:
        acknowledged = shaken(collector, seed, SECONDS, outage)
        collector.end()
    stored = stored_ids(tmp_path / "bucket")
    assert acknowledged
    assert acknowledged - set(stored) == set(), f"lost, seed {seed}"
    assert {event_id: count for event_id, count in stored.items() if count > 1} == {}, f"twice, seed {seed}"


def test_the_layout_is_what_readers_find(tmp_path: Path) -> None:
    with collecting(tmp_path / "collector", tmp_path / "bucket", COLLECT_CLUSTER="c", COLLECT_NAMESPACE="ns") as collector:
        assert collector.post(body([event("a"), event("b", kind="NODE_LIFECYCLE_EVENT"), event("c") | {"sessionName": "../../x"}])) == 200
        assert collector.post(b"[{") == 400
        collector.end()
    (session,) = Catalogue(open_storage(StorageSettings(storage=f"file://{tmp_path}/bucket")), 0).sessions()
    assert (session.namespace, session.cluster, session.session) == ("ns", "c", SESSION)
    folder = tmp_path / "bucket" / "cluster-history" / "raycluster" / "ns" / "c" / SESSION / NODE
    directories = [path.parent.relative_to(folder).as_posix() for path in event_files(tmp_path / "bucket")]
    assert directories == ["job_events/04000000", "node_events"]
    report = json.loads((folder / "collector.json").read_text())
    assert report["losses"] == [
        {"file": "", "code": "events_unfit", "message": "1 events: no session", "count": 1},
    ]
    assert report["ended"]
    assert {path.name for path in (tmp_path / "bucket").iterdir()} == {".unfinished", "cluster-history", "cluster-metadata"}


def test_events_wait_on_disk_while_the_storage_is_away_and_a_full_buffer_says_so(tmp_path: Path) -> None:
    bucket, away = tmp_path / "bucket", tmp_path / "away"
    with collecting(tmp_path / "collector", bucket, COLLECT_BUFFER=50_000) as collector:
        bucket.rename(away)
        acknowledged = 0
        while collector.post(body([event(f"{acknowledged}")])) == 200:
            acknowledged += 1
        assert acknowledged > 20
        assert collector.post(body([event("refused")])) == 503
        wait_until(lambda: bool(collector.status()["upload_problem"]), "the outage is told")
        collector.kill()
        collector.start()
        collector.wait_ready()
        assert collector.post(body([event("refused, too")])) == 503
        away.rename(bucket)
        wait_until(lambda: collector.status()["buffered_bytes"] == 0, "everything is uploaded", 60)
        assert collector.post(body([event("after")])) == 200
        collector.end()
    assert dict(stored_ids(bucket)) == {**{f"{number}": 1 for number in range(acknowledged)}, "after": 1}
