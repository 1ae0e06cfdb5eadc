"""KubeRay's bucket layout."""

from __future__ import annotations

import pytest

from shared.layout import (
    data_prefixes,
    endpoint_of,
    is_event_file,
    key_below,
    log_prefixes,
    session_of_marker,
    session_of_old_marker,
    session_prefix,
)
from shared.sessions import Session

NAME = "session_2026-11-01_10-11-12_123456_1"
NODE = "c04793e0711c4a3b748fdacd2407e9d0e6aaf52e50f058241e141750"
PLAIN = Session("default", "raycap", NAME)
OWNED = Session("batch", "rj-demo-x7k2p", NAME, "rayjob", "rj-demo")


def test_sessions_lie_below_their_owner_when_they_have_one() -> None:
    assert session_prefix(PLAIN) == f"cluster-history/raycluster/default/raycap/{NAME}/"
    assert session_prefix(OWNED) == f"cluster-history/rayjob/batch/rj-demo/rj-demo-x7k2p/{NAME}/"
    assert log_prefixes(OWNED, NODE) == [f"{session_prefix(OWNED)}{NODE}/logs/"]


@pytest.mark.parametrize(
    ("key", "below"),
    [
        (f"logs/{NODE}/old/a.log", f"{NODE}/logs/old/a.log"),
        (f"node_events/{NODE}-2026-11-01-10", f"{NODE}/node_events/{NODE}-2026-11-01-10"),
        (f"job_events/AwAAAA==/{NODE}-2026-11-01-10", f"{NODE}/job_events/AwAAAA==/{NODE}-2026-11-01-10"),
        ("fetched_endpoints/restful__timezone", "fetched_endpoints/restful__timezone"),
    ],
)
def test_keys_of_the_old_layout_are_spelled_as_today(key: str, below: str) -> None:
    session = session_of_old_marker(f"metadir/raycap_default/{NAME}")
    assert session == PLAIN
    assert session is not None
    assert data_prefixes(session) == (f"raycap_default/{NAME}/",)
    assert key_below(session, f"raycap_default/{NAME}/{key}") == below
    assert log_prefixes(session, NODE) == [f"raycap_default/{NAME}/logs/{NODE}/"]
    assert key_below(PLAIN, session_prefix(PLAIN) + below) == below


@pytest.mark.parametrize(
    "key", ["metadir/raycap/x", f"metadir/a_b_c/{NAME}", f"metadir/raycap_default/{NAME}/x", f"x/raycap_default/{NAME}"]
)
def test_other_keys_are_no_old_markers(key: str) -> None:
    assert session_of_old_marker(key) is None


@pytest.mark.parametrize(
    ("key", "session"),
    [
        (f"cluster-metadata/raycluster/default_raycap/{NAME}", PLAIN),
        (f"cluster-metadata/rayjob/batch_rj-demo_rj-demo-x7k2p/{NAME}", OWNED),
        (f"cluster-metadata/rayservice/a.b_c.d_e-f/{NAME}", Session("a.b", "e-f", NAME, "rayservice", "c.d")),
        ("cluster-metadata/raycluster/ns_c/session_2026-11-01_10-11-12_123456", Session("ns", "c", "session_2026-11-01_10-11-12_123456")),
    ],
)
def test_markers_name_sessions(key: str, session: Session) -> None:
    assert session_of_marker(key) == session


@pytest.mark.parametrize(
    "key",
    [
        "",
        "cluster-metadata/",
        NAME,
        f"raycluster/default_raycap/{NAME}",
        f"cluster-history/raycluster/default_raycap/{NAME}",
        "cluster-metadata/raycluster/default_raycap",
        f"cluster-metadata/raycluster/default_raycap/{NAME}/x",
        f"cluster-metadata/raycluster/default/{NAME}",
        f"cluster-metadata/raycluster/default_owner_raycap/{NAME}",
        f"cluster-metadata/rayjob/default_raycap/{NAME}",
        f"cluster-metadata/raything/default_raycap/{NAME}",
        f"cluster-metadata/raycluster/default_RayCap/{NAME}",
        f"cluster-metadata/raycluster/default_/{NAME}",
        f"cluster-metadata/raycluster/.._raycap/{NAME}",
        f"cluster-metadata/rayjob/default_.._raycap/{NAME}",
        "cluster-metadata/raycluster/default_raycap/session_latest",
        "cluster-metadata/raycluster/default_raycap/session_2026-13-01_10-11-12_123456_1",
        f"cluster-metadata/raycluster/default_raycap/{NAME}.tmp",
    ],
)
def test_other_keys_name_none(key: str) -> None:
    assert session_of_marker(key) is None


@pytest.mark.parametrize(
    ("key", "events"),
    [
        (f"{NODE}/node_events/{NODE}-2026-11-23-19", True),
        (f"{NODE}/node_events/{NODE}-2026-11-23-19-1795460447698476321.jsonl", True),
        (f"{NODE}/job_events/03000000/{NODE}-2026-11-23-19.jsonl.gz", True),
        (f"{NODE}/job_events/{NODE}-2026-11-23-19.jsonl.gz", False),
        (f"{NODE}/job_events/03000000/deeper/x.jsonl", False),
        (f"{NODE}/node_events/", False),
        (f"{NODE}/logs/node_events/x.jsonl", False),
        ("fetched_endpoints/restful__timezone", False),
        (f"{NODE}/logs/events/event_JOBS.log", False),
        (f"{NODE}/logs/events/event_CORE_WORKER_1019.log", False),
        (f"{NODE}/logs/events/export_events/event_X.log", False),
        (f"{NODE}/logs/events/other.log", False),
        (f"{NODE}/logs/event_JOBS.log", False),
    ],
)
def test_what_an_event_file_is(key: str, events: bool) -> None:
    assert is_event_file(key) is events


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("fetched_endpoints/restful__timezone", "/timezone"),
        ("fetched_endpoints/restful__api__v0__cluster_metadata", "/api/v0/cluster_metadata"),
        ("fetched_endpoints/restful__api__data__datasets__08000000", "/api/data/datasets/08000000"),
        ("fetched_endpoints/restful__api__v0__x?a=b__c&d=1", "/api/v0/x?a=b__c&d=1"),
        ("fetched_endpoints/other", None),
        (f"{NODE}/fetched_endpoints/restful__timezone", None),
        ("fetched_endpoints", None),
    ],
)
def test_stored_endpoints(key: str, path: str | None) -> None:
    assert endpoint_of(key) == path
