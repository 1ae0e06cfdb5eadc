"""RayCluster objects, owners and the rate limit."""

from __future__ import annotations

from typing import Any

import pytest

from shared.live.port import LiveCluster, choose, owned_by
from shared.live.rayclusters import read_ray_cluster
from shared.rate_limit import RateLimit
from shared.sessions import SessionRef
from tests.live_kubernetes.objects import ray_cluster


def read(**options: Any) -> LiveCluster:
    return read_ray_cluster(ray_cluster("raycap", **options))


def test_a_cluster_of_its_own() -> None:
    found = read(port=9999)
    assert (found.key, found.head_service, found.dashboard_port, found.answering) == ("default/raycap", "raycap-head-svc", 9999, True)
    assert (found.owner_kind, found.auth, found.token_secret) == (None, "none", None)
    assert found.created.isoformat() == "2026-11-23T19:00:00+00:00"


@pytest.mark.parametrize(
    ("label", "kind"), [("RayJob", "rayjob"), ("RayService", "rayservice"), ("RayCluster", None), ("Deployment", None)]
)
def test_owners_come_from_labels(label: str, kind: str | None) -> None:
    found = read(owner=(label, "boss"))
    assert (found.owner_kind, found.owner_name) == (kind, "boss" if kind else None)


@pytest.mark.parametrize("service", ["evil.example.com", "a/b", "a:80", "a@b", "-a", "a" * 64, "", "a b", "{namespace}"])
def test_a_status_cannot_name_a_host_outside(service: str) -> None:
    body = ray_cluster("raycap")
    body["status"]["head"]["serviceName"] = service
    assert read_ray_cluster(body).head_service is None


@pytest.mark.parametrize("port", [0, -1, 65536, "8265", None])
def test_a_port_that_is_none_is_the_default(port: Any) -> None:
    assert read(port=port).dashboard_port == 8265


def test_suspended_is_asked_for_and_done() -> None:
    assert read(suspended=True).suspended
    body = ray_cluster("raycap", suspended=True)
    body["status"] = {"state": "ready", "head": {"serviceName": "raycap-head-svc"}}
    assert not read_ray_cluster(body).suspended
    body["status"]["conditions"] = [{"type": "RayClusterSuspended", "status": "True"}]
    assert read_ray_cluster(body).suspended
    body["spec"]["suspend"] = False
    assert not read_ray_cluster(body).suspended


@pytest.mark.parametrize(
    ("options", "auth", "secret"),
    [
        ({"mode": "disabled"}, "none", None),
        ({"mode": "token"}, "token", "raycap"),
        ({"mode": "token", "secretName": "mine"}, "token", "mine"),
        ({"mode": "token", "enableK8sTokenAuth": True}, "kubernetes", None),
        ({"mode": "token", "secretName": "../../etc"}, "token", "raycap"),
    ],
)
def test_auth_options(options: dict[str, Any], auth: str, secret: str | None) -> None:
    found = read(auth=options)
    assert (found.auth, found.token_secret) == (auth, secret)


def test_the_operators_secret_has_its_short_name() -> None:
    long = read_ray_cluster(ray_cluster("x" * 30 + "9" + "y" * 49, auth={"mode": "token"}))
    assert long.token_secret == "r" + "y" * 49


def test_fault_tolerance_is_an_option_or_an_annotation_or_an_address() -> None:
    assert not read().fault_tolerant
    assert read(fault_tolerant=True).fault_tolerant
    annotated = ray_cluster("raycap")
    annotated["metadata"]["annotations"] = {"ray.io/ft-enabled": "true"}
    assert read_ray_cluster(annotated).fault_tolerant
    addressed = ray_cluster("raycap")
    addressed["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "RAY_REDIS_ADDRESS", "value": "redis:6379"}]
    assert read_ray_cluster(addressed).fault_tolerant


@pytest.mark.parametrize("containers", [None, [], [None], [{}]])
def test_a_head_without_containers_has_the_default_port(containers: Any) -> None:
    body = ray_cluster("raycap")
    body["spec"]["headGroupSpec"]["template"]["spec"]["containers"] = containers
    assert read_ray_cluster(body).dashboard_port == 8265


@pytest.mark.parametrize("lost", ["namespace", "name", "creationTimestamp"])
def test_an_object_without_identity_is_an_error(lost: str) -> None:
    body = ray_cluster("raycap")
    del body["metadata"][lost]
    with pytest.raises(ValueError, match="without"):
        read_ray_cluster(body)


def owned(kind: str, **clusters: dict[str, Any]) -> list[LiveCluster]:
    return [read_ray_cluster(ray_cluster(name, owner=(kind, "boss"), **options)) for name, options in clusters.items()]


OLD, NEW = {"created": "2026-11-23T10:00:00Z"}, {"created": "2026-11-23T12:00:00Z"}


def test_owned_by_compares_all_three() -> None:
    (cluster,) = owned("RayJob", a={})
    assert owned_by(cluster, SessionRef("default", "rayjob", "boss"))
    for other in (("batch", "rayjob", "boss"), ("default", "rayservice", "boss"), ("default", "rayjob", "b")):
        assert not owned_by(cluster, SessionRef.of(*other))


def test_the_active_cluster_of_a_service_counts_even_when_it_is_newer() -> None:
    pair = owned("RayService", old=OLD, new=NEW)
    assert choose(pair, "new") is pair[1]
    assert choose(pair, "old") is pair[0]


def test_without_an_active_one_the_older_cluster_of_a_service_counts() -> None:
    pair = owned("RayService", old=OLD, new=NEW)
    assert choose(pair, None) is pair[0]
    assert choose(pair, "neither") is pair[0]
    headless = owned("RayService", old={**OLD, "service": None}, new=NEW)
    assert choose(headless, None) is headless[1]


def test_the_newest_try_of_a_job_counts() -> None:
    pair = owned("RayJob", old=OLD, new=NEW)
    assert choose(pair, None) is pair[1]
    starting = owned("RayJob", old=OLD, new={**NEW, "service": None})
    assert choose(starting, None) is starting[0]
    assert choose([], None) is None


def test_the_rate_lets_a_burst_through_then_spaces_calls() -> None:
    now = [100.0]
    slept: list[float] = []
    limit = RateLimit(10, 3, clock=lambda: now[0], sleep=slept.append)
    assert [limit.take(1) for _ in range(5)] == [True] * 5
    assert slept == pytest.approx([0.1, 0.2])
    now[0] += 0.2
    assert limit.take(0.2)
    assert len(slept) == 3


def test_a_turn_that_comes_too_late_is_not_taken() -> None:
    now = [100.0]
    limit = RateLimit(1, 1, clock=lambda: now[0], sleep=lambda _: None)
    assert limit.take(0)
    assert [limit.take(0.5) for _ in range(3)] == [False] * 3
    now[0] += 1
    assert limit.take(0)
