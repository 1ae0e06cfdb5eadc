"""Clusters that their collectors announce in the bucket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.collector_documents import announcement_key
from shared.errors import KubernetesUnavailable
from shared.live.announced import AnnouncedClusters
from shared.live.decision import State, before_asking
from shared.live.factory import open_live
from shared.live.port import NoLiveClusters
from shared.sessions import SessionRef
from shared.settings import LiveSettings
from shared.storage.local import LocalStorage

SESSION = "session_2026-11-29_10-11-12_123456_1"
NOW = 1_800_000_000.0


class Bucket:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = NOW
        self.clusters = AnnouncedClusters(LocalStorage(directory), 60.0, lambda: self.now)

    def announce(self, key: str = "", **changed: object) -> None:
        said = {"namespace": "ns", "cluster": "c", "session": SESSION, "dashboard": "http://10.0.0.1:8265", "heartbeat": NOW} | changed
        path = self.directory / (key or announcement_key(str(said["namespace"]), str(said["cluster"])))
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(said))


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path)


def test_an_announced_cluster_is_found_and_asked_at_its_address(bucket: Bucket) -> None:
    bucket.announce()
    bucket.announce(cluster="owned", owner_kind="rayjob", owner_name="job")
    cluster = bucket.clusters.get("ns", "c")
    assert cluster is not None
    assert cluster.answering
    assert before_asking(SESSION, cluster).state is State.ASK
    assert bucket.clusters.find(SessionRef("ns", "raycluster", "c")) == cluster
    owned = bucket.clusters.find(SessionRef("ns", "rayjob", "job"))
    assert owned is not None
    assert owned.name == "owned"
    directory, heads = open_live(LiveSettings(announced=True), LocalStorage(bucket.directory))
    assert isinstance(directory, AnnouncedClusters)
    assert str(heads.url(cluster, "/api/version")) == "http://10.0.0.1:8265/api/version"


def test_without_the_setting_nothing_is_believed(bucket: Bucket) -> None:
    bucket.announce()
    assert isinstance(open_live(LiveSettings(), LocalStorage(bucket.directory))[0], NoLiveClusters)


def test_a_head_whose_collector_fell_silent_is_dead(bucket: Bucket) -> None:
    bucket.announce()
    assert bucket.clusters.get("ns", "c") is not None
    bucket.now += 61
    assert bucket.clusters.fetch("ns", "c") is None
    assert before_asking(SESSION, bucket.clusters.get("ns", "c")).state is State.DEAD


def test_a_heartbeat_from_far_ahead_keeps_nothing_alive(bucket: Bucket) -> None:
    bucket.announce(heartbeat=NOW + 120)
    assert bucket.clusters.fetch("ns", "c") is not None
    for ahead in (86_400.0, 1e308):
        bucket.announce(heartbeat=NOW + ahead)
        assert bucket.clusters.fetch("ns", "c") is None


@pytest.mark.parametrize(
    "changed",
    [
        {"dashboard": "file:///etc/passwd"},
        {"dashboard": "http://user@host:1"},
        {"dashboard": "http://host/path"},
        {"dashboard": "http://host?x=1"},
        {"dashboard": ""},
        {"dashboard": 5},
        {"session": "x"},
        {"cluster": "../c"},
        {"heartbeat": "now"},
        {"key": "cluster-live/ns_other.json"},
    ],
)
def test_what_is_no_announcement_is_passed_over(bucket: Bucket, changed: dict[str, object]) -> None:
    bucket.announce(**({"key": "cluster-live/odd.json"} | changed))  # type: ignore[arg-type]
    bucket.announce(cluster="good")
    assert [cluster.name for cluster in bucket.clusters.clusters()] == ["good"]


def test_a_bucket_that_cannot_be_asked_is_no_empty_listing(bucket: Bucket) -> None:
    bucket.directory.rename(bucket.directory.with_name("away"))
    with pytest.raises(KubernetesUnavailable):
        bucket.clusters.clusters()
