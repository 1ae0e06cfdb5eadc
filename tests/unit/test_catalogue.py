"""The sessions of a bucket, listed seldom."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.catalogue import Catalogue
from shared.errors import ObjectNotFound, SessionNotFound, StorageUnavailable
from shared.layout import METADATA_PREFIX
from shared.sessions import Session, SessionRef
from shared.storage.port import ObjectInfo
from tests.waiting import wait_until

OLD, MIDDLE, NEW = (f"session_2026-11-0{day}_10-11-12_123456_1" for day in (1, 2, 3))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bucket:
    """The part of a storage that a catalogue uses; counts the listings."""

    def __init__(self, *keys: str) -> None:
        self.keys = [f"cluster-metadata/{key}" for key in keys]
        self.files: dict[str, bytes] = {}
        self.listings = self.looks = 0
        self.down = False
        self.gate: threading.Event | None = None
        self.seconds, self.clock = 0.0, Clock()

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self.listings += prefix == METADATA_PREFIX
        if self.gate:
            assert self.gate.wait(30)
        if self.down:
            raise StorageUnavailable("down")
        self.clock.now += self.seconds
        yield from (ObjectInfo(key, 0) for key in self.keys if key.startswith(prefix))

    def directories(self, prefix: str) -> list[str]:
        self.looks += 1
        if self.down:
            raise StorageUnavailable("down")
        below = [key.removeprefix(prefix) for key in self.keys if key.startswith(prefix)]
        return sorted({name.partition("/")[0] for name in below if "/" in name})

    def read(self, key: str) -> bytes:
        if key in self.files:
            return self.files[key]
        raise ObjectNotFound(key)


def made(bucket: Bucket, clock: Clock | None = None, max_age: float = 15.0) -> Catalogue:
    return Catalogue(bucket, max_age, clock or Clock())  # type: ignore[arg-type]


BUCKET = (
    f"raycluster/ns_c/{OLD}",
    f"raycluster/ns_c/{NEW}",
    f"rayjob/ns_job_c2/{MIDDLE}",
    f"rayjob/ns_job_c3/{OLD}",
    f"raycluster/x_c/{MIDDLE}",
)


def test_newest_first_with_their_owners() -> None:
    assert [str(session.ref) for session in made(Bucket(*BUCKET)).sessions()] == [
        f"ns/raycluster/c/{NEW}",
        f"ns/rayjob/job/{MIDDLE}",
        f"x/raycluster/c/{MIDDLE}",
        f"ns/rayjob/job/{OLD}",
        f"ns/raycluster/c/{OLD}",
    ]


@pytest.mark.parametrize(
    ("ref", "session"),
    [
        ("ns/raycluster/c", Session("ns", "c", NEW)),
        ("ns/raycluster/c/latest", Session("ns", "c", NEW)),
        (f"ns/raycluster/c/{OLD}", Session("ns", "c", OLD)),
        ("ns/rayjob/job", Session("ns", "c2", MIDDLE, "rayjob", "job")),
        (f"ns/rayjob/job/{OLD}", Session("ns", "c3", OLD, "rayjob", "job")),
        ("ns/raycluster/c2", Session("ns", "c2", MIDDLE, "rayjob", "job")),
        ("x/raycluster/c", Session("x", "c", MIDDLE)),
    ],
)
def test_references_by_cluster_and_by_owner(ref: str, session: Session) -> None:
    assert made(Bucket(*BUCKET)).resolve(SessionRef.parse(ref)) == session


@pytest.mark.parametrize(
    "ref", ["ns/raycluster/none", "other/raycluster/c", f"ns/raycluster/c/{MIDDLE}", "ns/rayservice/job", "ns/rayjob/c2"]
)
def test_an_unknown_reference_is_not_found_after_one_fresh_look(ref: str) -> None:
    bucket, clock = Bucket(*BUCKET), Clock()
    catalogue = made(bucket, clock)
    catalogue.sessions()
    clock.now += 1
    with pytest.raises(SessionNotFound):
        catalogue.resolve(SessionRef.parse(ref))
    assert bucket.listings == 2


def test_absence_is_remembered_for_a_few_times_what_the_listing_took() -> None:
    bucket, clock = Bucket(*BUCKET), Clock()
    bucket.seconds, bucket.clock = 4.0, clock
    catalogue = made(bucket, clock)
    unknown = [SessionRef.parse(f"ns/raycluster/none{number}") for number in range(20)]
    for ref in unknown:
        with pytest.raises(SessionNotFound):
            catalogue.resolve(ref)
    assert bucket.listings == 1
    clock.now += 17
    bucket.keys.append(f"cluster-metadata/raycluster/ns_none7/{MIDDLE}")
    assert catalogue.resolve(unknown[7]).session == MIDDLE


def test_a_session_that_is_absent_is_looked_for_once() -> None:
    bucket, clock = Bucket(*BUCKET), Clock()
    catalogue = made(bucket, clock)
    catalogue.sessions()
    wait_until(lambda: not catalogue._unmarked._walk or not catalogue._unmarked._walk.is_alive())
    ref = SessionRef.parse(f"ns/raycluster/none/{OLD}")
    looks = []
    for _ in range(20):
        with pytest.raises(SessionNotFound):
            catalogue.resolve(ref)
        looks.append(bucket.looks)
    assert looks[0] == looks[-1]
    clock.now += 1
    bucket.keys.append(f"cluster-metadata/raycluster/ns_none/{OLD}")
    assert catalogue.resolve(ref).session == OLD
    assert catalogue.known(ref) is not None
    clock.now += 16
    assert catalogue.known(ref) is None, "the listing is too old to be believed without a look"


def test_live_is_never_in_the_bucket_and_not_looked_for_anew() -> None:
    bucket = Bucket(*BUCKET)
    catalogue = made(bucket)
    catalogue.sessions()
    with pytest.raises(SessionNotFound):
        catalogue.resolve(SessionRef.parse("ns/raycluster/c/live"))
    assert bucket.listings == 1


def test_a_new_session_is_found_at_once_by_name() -> None:
    bucket, clock = Bucket(*BUCKET), Clock()
    catalogue = made(bucket, clock)
    catalogue.sessions()
    clock.now += 1
    bucket.keys.append(f"cluster-metadata/raycluster/ns_c/{MIDDLE}")
    assert catalogue.resolve(SessionRef.parse(f"ns/raycluster/c/{MIDDLE}")).session == MIDDLE


def test_a_listing_is_kept_for_its_age() -> None:
    bucket, clock = Bucket(*BUCKET), Clock()
    catalogue = made(bucket, clock)
    for _ in range(5):
        catalogue.sessions()
        catalogue.resolve(SessionRef.parse("ns/raycluster/c"))
        clock.now += 3
    assert bucket.listings == 1
    clock.now += 1
    catalogue.sessions()
    assert bucket.listings == 2


def test_age_zero_looks_every_time() -> None:
    bucket, clock = Bucket(*BUCKET), Clock()
    catalogue = made(bucket, clock, max_age=0)
    for _ in range(3):
        clock.now += 0.001
        catalogue.sessions()
    assert bucket.listings == 3


def test_many_callers_wait_for_one_listing() -> None:
    bucket = Bucket(*BUCKET)
    bucket.gate = threading.Event()
    catalogue = made(bucket)
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(catalogue.sessions) for _ in range(20)]
        bucket.gate.set()
        assert {len(answer.result()) for answer in asked} == {5}
    assert bucket.listings == 1


def test_an_outage_is_never_an_empty_catalogue() -> None:
    bucket, clock = Bucket(*BUCKET), Clock()
    catalogue = made(bucket, clock)
    bucket.down = True
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            catalogue.sessions()
    with pytest.raises(StorageUnavailable):
        catalogue.resolve(SessionRef.parse("ns/raycluster/c"))
    bucket.down = False
    assert len(catalogue.sessions()) == 5
    bucket.down = True
    clock.now += 1
    # What the cache knows is still answered; what it lacks needs a look, which fails.
    assert catalogue.resolve(SessionRef.parse("ns/raycluster/c")).session == NEW
    with pytest.raises(StorageUnavailable):
        catalogue.resolve(SessionRef.parse("ns/raycluster/none"))


def test_callers_that_wait_share_one_failure() -> None:
    bucket = Bucket(*BUCKET)
    bucket.gate, bucket.down = threading.Event(), True
    catalogue = Catalogue(bucket, 15.0)  # type: ignore[arg-type]
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(catalogue.sessions) for _ in range(20)]
        wait_until(lambda: pool._work_queue.empty() and bucket.listings == 1)
        bucket.gate.set()
        assert all(isinstance(answer.exception(), StorageUnavailable) for answer in asked)
    assert bucket.listings < 20


def test_a_known_session_outlives_an_outage_and_its_callers_do_not_wait() -> None:
    bucket, clock = Bucket(*BUCKET), Clock()
    catalogue = made(bucket, clock)
    catalogue.sessions()
    bucket.down = True
    known, latest = SessionRef.parse(f"ns/raycluster/c/{OLD}"), SessionRef.parse("ns/raycluster/c")
    clock.now += 16
    for _ in range(3):
        assert catalogue.resolve(known).session == OLD
    assert bucket.listings == 2, "one look in so long a time"
    with pytest.raises(StorageUnavailable):
        catalogue.resolve(latest)
    bucket.gate = threading.Event()
    clock.now += 16
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(catalogue.sessions)
        wait_until(catalogue._lock.locked)
        assert catalogue.resolve(known).session == OLD, "while another caller looks"
        bucket.gate.set()
        assert isinstance(looking.exception(), StorageUnavailable)


def test_a_session_that_was_deleted_is_not_found_once_the_bucket_says_so() -> None:
    bucket, clock = Bucket(*BUCKET), Clock()
    catalogue = made(bucket, clock)
    catalogue.sessions()
    bucket.keys.remove(f"cluster-metadata/raycluster/ns_c/{OLD}")
    clock.now += 16
    with pytest.raises(SessionNotFound):
        catalogue.resolve(SessionRef.parse(f"ns/raycluster/c/{OLD}"))


def test_a_session_that_was_deleted_is_not_one_without_a_marker() -> None:
    """The walk that saw its directory was before."""
    bucket = Bucket(f"raycluster/default_raycap/{OLD}")
    bucket.keys.append(f"cluster-history/raycluster/default/raycap/{OLD}/node/logs/x")
    catalogue = Catalogue(bucket, 0)  # type: ignore[arg-type]
    wait_until(catalogue._unmarked.sessions, "the walk")
    assert [session.session for session in catalogue.sessions()] == [OLD]
    bucket.keys.clear()
    assert catalogue.sessions() == []


def test_bad_markers_are_skipped_and_counted() -> None:
    catalogue = made(Bucket(*BUCKET, "raycluster/broken/x", "raycluster/ns_c/session_latest", "readme.txt"))
    assert catalogue.skipped == 0
    assert len(catalogue.sessions()) == 5
    assert catalogue.skipped == 3


def test_the_same_session_under_two_owners_keeps_one_reference_each() -> None:
    catalogue = made(Bucket(f"raycluster/ns_c/{OLD}", f"rayjob/ns_job_c/{OLD}"))
    assert catalogue.resolve(SessionRef.parse(f"ns/rayjob/job/{OLD}")).owner_name == "job"
    assert catalogue.resolve(SessionRef.parse(f"ns/raycluster/c/{OLD}")).cluster == "c"


def test_data_without_a_marker_in_every_layout() -> None:
    bucket = Bucket(f"raycluster/ns_c/{OLD}")
    bucket.keys += [
        f"cluster-history/raycluster/ns/c/{OLD}/n/logs/a",
        f"cluster-history/raycluster/ns/c/{NEW}/n/logs/a",
        f"cluster-history/rayjob/ns/job/c2/{MIDDLE}/n/logs/a",
        f"c3_ns/{MIDDLE}/logs/n/a",
        "cluster-history/raycluster/ns/c/not-a-session/n/a",
        "some_thing/else/a",
    ]
    catalogue = made(bucket)
    found = {str(session.ref): session for session in catalogue.sessions()}
    assert list(found) == [f"ns/raycluster/c/{NEW}", f"ns/rayjob/job/{MIDDLE}", f"ns/raycluster/c3/{MIDDLE}", f"ns/raycluster/c/{OLD}"]
    assert found[f"ns/raycluster/c3/{MIDDLE}"].prefixes == (f"c3_ns/{MIDDLE}/",)
    assert found[f"ns/raycluster/c/{OLD}"].prefixes == (), "where its marker says"
    assert catalogue.resolve(SessionRef.parse("ns/raycluster/c")).session == NEW


@pytest.mark.parametrize("ref", [f"ns/raycluster/c/{NEW}", f"ns/rayjob/job/{NEW}", f"ns/raycluster/c3/{NEW}", "ns/rayjob/job"])
def test_what_came_since_the_last_walk_is_found_by_its_name(ref: str) -> None:
    bucket = Bucket(f"raycluster/x_c/{OLD}")
    catalogue = made(bucket)
    assert len(catalogue.sessions()) == 1
    bucket.keys += [f"cluster-history/raycluster/ns/c/{NEW}/a", f"cluster-history/rayjob/ns/job/c2/{NEW}/a", f"c3_ns/{NEW}/a"]
    assert catalogue.resolve(SessionRef.parse(ref)).session == NEW


def test_a_session_in_two_places_is_one() -> None:
    bucket = Bucket(f"raycluster/ns_c/{OLD}", f"rayjob/ns_job_c/{OLD}")
    catalogue = made(bucket)
    (session,) = catalogue.sessions()
    assert str(session.ref) == f"ns/rayjob/job/{OLD}"
    assert set(session.prefixes) == {f"cluster-history/raycluster/ns/c/{OLD}/", f"cluster-history/rayjob/ns/job/c/{OLD}/"}
    assert catalogue.resolve(SessionRef.parse(f"ns/raycluster/c/{OLD}")) is session
    assert Session.from_dict(session.to_dict()).prefixes == session.prefixes


def test_who_may_not_look_for_directories_has_the_marked_sessions() -> None:
    bucket = Bucket(f"raycluster/ns_c/{OLD}")
    bucket.directories = _denied  # type: ignore[method-assign]
    assert [str(session.ref) for session in made(bucket).sessions()] == [f"ns/raycluster/c/{OLD}"]


def _denied(prefix: str) -> list[str]:
    raise StorageUnavailable(f"access to {prefix} denied")


def zone_of(session: str, answer: bytes) -> dict[str, bytes]:
    return {f"cluster-history/raycluster/ns/c/{session}/fetched_endpoints/restful__timezone": answer}


def test_names_are_read_in_the_zone_of_their_heads() -> None:
    bucket = Bucket(f"raycluster/ns_c/{OLD}", f"raycluster/ns_c/{NEW}", f"raycluster/ns_c/{MIDDLE}")
    tokyo = "session_2026-11-03_15-11-12_123456_1"
    bucket.keys.append(f"cluster-metadata/raycluster/ns_c/{tokyo}")
    bucket.files = zone_of(tokyo, b'{"offset": "+09:00", "value": "Asia/Tokyo"}')
    catalogue = made(bucket)
    assert [session.session for session in catalogue.sessions()] == [NEW, tokyo, MIDDLE, OLD]
    assert [session.began.isoformat() for session in catalogue.sessions()][1] == "2026-11-03T06:11:12.123456+00:00"
    assert catalogue.resolve(SessionRef.parse("ns/raycluster/c")).session == NEW


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b'{"offset": null}', b'{"offset": "9 hours"}', b"500 Internal Server Error", b"[" * 100_000]
)
def test_a_zone_that_cannot_be_read_is_utc(answer: bytes) -> None:
    bucket = Bucket(f"raycluster/ns_c/{OLD}")
    bucket.files = zone_of(OLD, answer)
    (session,) = made(bucket).sessions()
    assert session.began == session.created


def test_west_of_greenwich_and_in_the_former_layout() -> None:
    bucket = Bucket()
    bucket.keys = [f"c_ns/{OLD}/logs/n/a"]
    bucket.files = {f"c_ns/{OLD}/fetched_endpoints/restful__timezone": b'{"offset": "-03:30"}'}
    (session,) = made(bucket).sessions()
    assert session.began.isoformat() == "2026-11-01T13:41:12.123456+00:00"
