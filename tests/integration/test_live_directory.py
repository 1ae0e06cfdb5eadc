"""The directory of live clusters: the official client against an API server, its watch, and outages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import KubernetesUnavailable, SettingsError
from shared.live import listing
from shared.live.factory import open_live
from shared.live.port import LiveDirectory
from shared.sessions import SessionRef
from tests.live_kubernetes.objects import ray_cluster, ray_service, token_secret
from tests.live_kubernetes.world import World, world
from tests.waiting import wait_until

PAIR = {"old": "2026-11-23T10:00:00Z", "new": "2026-11-23T12:00:00Z"}


@pytest.fixture
def w(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(listing, "_LONGEST_PAUSE", 0.5)
    with world(tmp_path) as w:
        yield w


def names(directory: LiveDirectory) -> list[str]:
    return [cluster.name for cluster in directory.clusters()]


def watching(w: World, directory: LiveDirectory) -> None:
    directory.watch()
    wait_until(lambda: w.api.watches == 1, "an open watch")


def test_clusters_come_and_go_by_the_watch_alone(w: World) -> None:
    w.api.put(ray_cluster("first"))
    with w.live() as (directory, _, _):
        watching(w, directory)
        assert names(directory) == ["first"]
        second = ray_cluster("second", created="2026-11-24T00:00:00Z", service=None)
        w.api.put(second)
        wait_until(lambda: names(directory) == ["second", "first"], "the added cluster")
        assert not directory.clusters()[0].answering
        w.api.put(ray_cluster("second", created="2026-11-24T00:00:00Z"))
        wait_until(lambda: directory.clusters()[0].answering, "the changed cluster")
        w.api.delete(second)
        wait_until(lambda: names(directory) == ["first"], "the deleted cluster")
        assert w.api.asked("list") == w.api.asked("watch") == 1
        assert directory.age() == 0


def test_a_long_listing_comes_in_pages(w: World) -> None:
    w.api.page = 7
    for number in range(20):
        w.api.put(ray_cluster(f"cluster-{number}"))
    with w.live() as (directory, _, _):
        assert len(directory.clusters()) == 20
        assert w.api.asked("list") == 3


def test_namespaces_have_a_watch_each(w: World) -> None:
    for namespace in ("a", "b", "c"):
        w.api.put(ray_cluster("cluster", namespace))
    with w.live(kubernetes_namespaces="a,b") as (directory, _, _):
        directory.watch()
        wait_until(lambda: w.api.watches == 2, "two watches")
        assert {cluster.namespace for cluster in directory.clusters()} == {"a", "b"}
        assert {asked.namespace for asked in w.api.requests} == {"a", "b"}


def test_a_watch_that_ends_goes_on_without_a_listing(w: World) -> None:
    w.api.watch_seconds = 1.1
    with w.live() as (directory, _, _):
        watching(w, directory)
        wait_until(lambda: w.api.asked("watch") >= 3, "a third watch")
        w.api.put(ray_cluster("late"))
        wait_until(lambda: names(directory) == ["late"], "the late cluster")
        assert w.api.asked("list") == 1


def test_it_lists_anew_after_the_resync_time(w: World) -> None:
    with w.live(kubernetes_resync=1.0) as (directory, _, _):
        watching(w, directory)
        wait_until(lambda: w.api.asked("list") >= 3, "two more listings")


def test_a_cut_watch_comes_back_with_what_it_missed(w: World) -> None:
    with w.live() as (directory, _, _):
        watching(w, directory)
        w.api.cut_watches()
        w.api.put(ray_cluster("missed"))
        wait_until(lambda: names(directory) == ["missed"], "the missed cluster")
        wait_until(lambda: directory.age() == 0, "a working watch")


def test_a_version_that_is_too_old_leads_to_a_new_listing(w: World) -> None:
    w.api.watch_seconds = 1.1
    w.api.bookmark_every = 60
    with w.live() as (directory, _, _):
        watching(w, directory)
        w.api.forget_history()
        wait_until(lambda: w.api.asked("list") == 2, "a second listing")
        wait_until(lambda: w.api.watches == 1 and directory.age() == 0, "a working watch")


def test_an_outage_keeps_the_listing_with_its_age_and_then_ends_it(w: World) -> None:
    w.add_cluster()
    ref = SessionRef("default", "raycluster", "raycap")
    with w.live(kubernetes_max_age=1.5) as (directory, _, _):
        watching(w, directory)
        w.api.fail_with = 503
        w.api.cut_watches()
        wait_until(lambda: (directory.age() or 0) > 0, "an age")
        assert directory.find(ref) is not None
        wait_until(lambda: (directory.age() or 0) > 1.5, "too high an age")
        for ask in (directory.clusters, lambda: directory.find(ref), lambda: directory.get("default", "raycap")):
            with pytest.raises(KubernetesUnavailable, match="s old: Kubernetes: list rayclusters: 503"):
                ask()
        w.api.fail_with = None
        wait_until(lambda: directory.age() == 0, "a working watch")
        assert names(directory) == ["raycap"]


def test_a_server_that_is_gone_and_back(w: World) -> None:
    w.add_cluster()
    with w.live() as (directory, _, _):
        watching(w, directory)
        port = w.api.port
        w.api.cut_watches()
        w.api.hang = True
        wait_until(lambda: (directory.age() or 0) > 0.2, "an age")
        w.api.hang = False
        wait_until(lambda: directory.age() == 0, "a working watch")
        assert w.api.port == port


def test_what_was_never_listed_is_unknown_not_empty(w: World) -> None:
    w.api.fail_with = 500
    with w.live() as (directory, _, _):
        directory.watch()
        assert directory.age() is None
        with pytest.raises(KubernetesUnavailable, match="not known yet"):
            directory.clusters()


def test_a_server_that_hangs_is_waited_for_once(w: World) -> None:
    w.api.hang = True
    with w.live(kubernetes_timeout=0.5) as (directory, _, _):
        with pytest.raises(KubernetesUnavailable, match="not known yet"):
            directory.clusters()
        w.api.hang = False
        wait_until(lambda: directory.age() == 0, "a listing")


def test_forbidden_is_said_with_what_to_grant(w: World) -> None:
    w.api.allowed = {("list", "ray.io", "rayclusters")}
    with w.live(kubernetes_max_age=60.0) as (directory, _, _):
        directory.watch()
        wait_until(lambda: w.api.asked("watch") >= 1, "an attempt to watch")
        assert names(directory) == []
        with pytest.raises(KubernetesUnavailable, match=r"get rayclusters default/raycap: 403 .*RBAC"):
            directory.fetch("default", "raycap")


def test_bad_objects_are_skipped(w: World) -> None:
    bad = ray_cluster("bad")
    del bad["metadata"]["creationTimestamp"]
    w.api.put(bad)
    w.api.put(ray_cluster("good"))
    with w.live() as (directory, _, _):
        assert names(directory) == ["good"]
        with pytest.raises(KubernetesUnavailable, match="creationTimestamp"):
            directory.fetch("default", "bad")


def owned(w: World, kind: str, **changed: Any) -> None:
    for name, created in PAIR.items():
        w.add_cluster(name, created=created, owner=(kind, "boss"), **changed)


def test_the_active_cluster_of_a_service_is_read_only_when_there_are_two(w: World) -> None:
    ref = SessionRef("default", "rayservice", "boss")
    w.add_cluster("old", created=PAIR["old"], owner=("RayService", "boss"))
    with w.live(live_check_age=0.0, kubernetes_max_age=60.0) as (directory, _, _):
        watching(w, directory)
        assert getattr(directory.find(ref), "name", None) == "old"
        assert w.api.asked("get", "rayservices") == 0
        owned(w, "RayService")
        w.api.put(ray_service("boss", active="old", pending="new"))
        wait_until(lambda: len(names(directory)) == 2, "both clusters")
        assert getattr(directory.find(ref), "name", None) == "old"
        w.api.put(ray_service("boss", active="new"))
        assert getattr(directory.find(ref), "name", None) == "new"
        w.api.fail_with = 500
        assert getattr(directory.find(ref), "name", None) == "new", "the last known one bridges an outage"


def test_an_active_cluster_that_cannot_be_read_is_unknown(w: World) -> None:
    owned(w, "RayService")
    w.api.allowed = {(verb, "ray.io", "rayclusters") for verb in ("list", "watch")}
    with w.live() as (directory, _, _), pytest.raises(KubernetesUnavailable, match=r"get rayservices default/boss: 403"):
        directory.find(SessionRef("default", "rayservice", "boss"))


def test_the_newest_try_of_a_job(w: World) -> None:
    owned(w, "RayJob")
    with w.live() as (directory, _, _):
        assert getattr(directory.find(SessionRef("default", "rayjob", "boss")), "name", None) == "new"
        assert directory.find(SessionRef("batch", "rayjob", "boss")) is None


def test_tokens_are_read_once_for_a_while_and_bridge_an_outage(w: World) -> None:
    w.add_cluster(auth={"mode": "token"})
    secret = token_secret("raycap", "first")
    w.api.put(secret)
    with w.live(token_age=0.05, kubernetes_max_age=60.0) as (directory, _, _):
        cluster = directory.clusters()[0]
        assert directory.token(cluster) == "first"
        w.api.put(token_secret("raycap", "second"))
        wait_until(lambda: directory.token(cluster) == "second", "the new token")
        w.api.fail_with = 500
        assert [directory.token(cluster) for _ in range(3)] == ["second"] * 3
        w.api.fail_with = None
        w.api.delete(secret)
        with pytest.raises(KubernetesUnavailable, match="Secret default/raycap, which holds the token"):
            wait_until(lambda: directory.token(cluster) is None, "an error")


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        (token_secret("raycap", "x", key="token"), "no token under the key auth_token"),
        (token_secret("raycap", ""), "no token under the key"),
        (token_secret("raycap", "two\nlines"), "no token under the key"),
        ({**token_secret("raycap", "x"), "data": {"auth_token": "%%%"}}, "is no token"),
    ],
)
def test_a_secret_without_a_usable_token_is_named(w: World, secret: dict[str, Any], says: str) -> None:
    w.add_cluster(auth={"mode": "token"})
    w.api.put(secret)
    with w.live() as (directory, _, _), pytest.raises(KubernetesUnavailable, match=f"Secret default/raycap.*{says}"):
        directory.token(directory.clusters()[0])


def test_more_calls_than_the_rate_allows_are_refused_here(w: World) -> None:
    with w.live(kubernetes_qps=0.1, kubernetes_burst=2, kubernetes_timeout=0.5) as (directory, _, _):
        directory.fetch("default", "a")
        directory.fetch("default", "b")
        with pytest.raises(KubernetesUnavailable, match="RAY_HISTORY_KUBERNETES_QPS"):
            directory.fetch("default", "c")
        assert w.api.asked("get") == 2


@pytest.mark.parametrize("changed", [{"kubeconfig": "/nowhere/kubeconfig"}, {"kube_context": "another"}, {"kubernetes": "incluster"}])
def test_credentials_that_cannot_be_read_stop_the_start(w: World, changed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(SettingsError, match="RAY_HISTORY_KUBERNETES="):
        open_live(w.settings(**changed))


def test_wrong_credentials_are_an_outage_with_a_reason(w: World) -> None:
    settings = w.settings()
    w.api.kubeconfig(w.directory, token="expired")
    directory, _ = open_live(settings)
    try:
        with pytest.raises(KubernetesUnavailable, match="401"):
            directory.clusters()
    finally:
        directory.close()


def test_closing_ends_the_watch(w: World) -> None:
    with w.live() as (directory, _, _):
        watching(w, directory)
    wait_until(lambda: w.api.watches == 0, "no watch")
