"""Every store behind a proxy that breaks its answers: what can be had is complete, what cannot is said."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from shared.errors import StorageUnavailable
from shared.storage.factory import open_storage
from shared.storage.port import ObjectInfo, Storage
from tests.contract.storage_suite import Place
from tests.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.object_stores import ObjectStore, azurite, fake_gcs, moto

OBJECTS = {f"o/{number:03}": b"%d " % number * number for number in range(300)}
BIG = random.Random(1).randbytes(3 << 20)
BREAKING: tuple[Fault, ...] = ("500", "503", "reset", "stall", "truncate")


@dataclass(frozen=True, slots=True)
class Shaken:
    """A store, the proxy before it, and its storage as opened through the proxy."""

    store: ObjectStore
    proxy: FaultProxy
    open: Callable[..., Storage]


@pytest.fixture(scope="module", params=["s3", "gs", "az"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    servers = {"s3": moto, "gs": fake_gcs, "az": lambda: azurite(tmp_path_factory.mktemp("azurite"))}
    with servers[request.param]() as running:
        Place(running.settings, running.put).fill({f"root/{key}": content for key, content in (OBJECTS | {"big": BIG}).items()})
        yield running


@pytest.fixture
def shaken(store: ObjectStore) -> Iterator[Shaken]:
    with fault_proxy(store.endpoint) as proxy:

        def opened(**others: object) -> Storage:
            return open_storage(store.settings("root", **{"storage_endpoint": proxy.endpoint, "storage_timeout": 6.0, **others}))

        yield Shaken(store, proxy, opened)


def contents(storage: Storage, objects: list[ObjectInfo]) -> dict[str, object]:
    return {info.key: content for info, content in storage.read_many(objects)}


def sometimes(share: float, faults: tuple[Fault, ...]) -> Callable[[str, str], Fault | None]:
    dice = random.Random(7)
    return lambda _method, _path: dice.choice(faults) if dice.random() < share else None


def once(fault: Fault, where: str = "") -> Callable[[str, str], Fault | None]:
    left = [fault]
    return lambda _method, path: left.pop() if left and where in path else None


def test_one_request_in_five_broken_and_everything_is_read(shaken: Shaken) -> None:
    faults: tuple[Fault, ...] = ("500", "503", "reset", "truncate")
    stalls: list[Fault] = ["stall"] * 2
    dice = sometimes(0.2, faults)
    shaken.proxy.rule = lambda method, path: stalls.pop() if stalls and "150" in path else dice(method, path)
    storage = shaken.open(storage_timeout=9.0)
    objects = list(storage.list("o/"))
    assert {info.key: info.size for info in objects} == {key: len(content) for key, content in OBJECTS.items()}
    assert contents(storage, objects) == OBJECTS
    assert all(shaken.proxy.seen[fault] for fault in faults)


@pytest.mark.parametrize("fault", BREAKING)
def test_a_large_object_is_taken_up_where_it_broke(shaken: Shaken, fault: Fault) -> None:
    broken = iter([None, fault, None, fault] * 4 if fault in ("500", "503", "reset") else [fault] * 2)
    shaken.proxy.rule = lambda _method, path: next(broken, None) if "big" in path else None
    storage = shaken.open(storage_timeout=2.0)
    assert storage.read("big") == BIG
    assert storage.read_range("big", 1000, 2_000_000) == BIG[1000:2_001_000]
    assert shaken.proxy.seen[fault]


@pytest.mark.parametrize("fault", [*BREAKING, "halve"])
def test_a_listing_that_breaks_once_is_whole(shaken: Shaken, fault: Fault) -> None:
    shaken.proxy.rule = once(fault)
    assert len(list(shaken.open(storage_timeout=2.0).list("o/"))) == len(OBJECTS)
    assert shaken.proxy.seen[fault] == 1


@pytest.mark.parametrize("fault", [*BREAKING, "halve"])
def test_a_listing_that_stays_broken_is_never_short(shaken: Shaken, fault: Fault) -> None:
    shaken.proxy.rule = lambda _method, _path: fault
    with pytest.raises(StorageUnavailable) as caught:
        list(shaken.open(storage_timeout=1.0).list("o/"))
    assert "\n" not in str(caught.value)


def test_one_object_that_never_reads_is_the_only_one_lost(shaken: Shaken) -> None:
    shaken.proxy.rule = lambda _method, path: "500" if path.endswith(("o/123", "o%2F123")) else None
    storage = shaken.open(storage_timeout=2.0)
    answers = contents(storage, list(storage.list("o/")))
    assert isinstance(answers.pop("o/123"), StorageUnavailable)
    assert answers == {key: content for key, content in OBJECTS.items() if key != "o/123"}


@pytest.mark.parametrize("fault", ["503", "reset"])
def test_a_dead_store_is_unavailable_soon_and_works_when_it_is_back(shaken: Shaken, fault: Fault) -> None:
    storage = shaken.open(storage_timeout=2.0)
    objects = list(storage.list("o/"))
    shaken.proxy.rule = lambda _method, _path: fault
    began = time.monotonic()
    answers = contents(storage, objects)
    assert all(isinstance(answer, StorageUnavailable) for answer in answers.values())
    # Not 300 times the deadline: after the first calls gave up, the others try once.
    assert time.monotonic() - began < 25
    for look in (storage.check, lambda: storage.size("big"), lambda: storage.read("big"), lambda: list(storage.list(""))):
        with pytest.raises(StorageUnavailable):
            look()
    shaken.proxy.rule = lambda _method, _path: None
    assert contents(storage, objects) == OBJECTS


def test_an_object_that_changes_while_it_is_read_is_never_mixed(shaken: Shaken) -> None:
    changed = bytes(len(BIG))

    def break_and_change(_method: str, path: str) -> Fault | None:
        if "changing" in path and not shaken.proxy.seen["truncate"]:
            return "truncate"
        if "changing" in path and shaken.proxy.seen["truncate"] == 1:
            shaken.store.put("root/changing", changed)
        return None

    shaken.store.put("root/changing", BIG)
    shaken.proxy.rule = break_and_change
    try:
        content = shaken.open(storage_timeout=2.0).read("changing")
    except StorageUnavailable:
        content = changed
    assert content in (BIG, changed)
    assert shaken.proxy.seen["truncate"] == 1
