"""KubernetesCache answers: shared reads, outages, and what may not be kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import KubernetesUnavailable
from shared.live.kubernetes_cache import KubernetesCache, KubernetesSaysNo
from tests.waiting import wait_until


class Source:
    """Counts its reads; `error` is raised instead of the value."""

    def __init__(self) -> None:
        self.reads = 0
        self.value = "first"
        self.error: Exception | None = None

    def __call__(self) -> str:
        self.reads += 1
        if self.error:
            raise self.error
        return self.value


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_value_is_read_anew_after_its_time() -> None:
    clock, source = Clock(), Source()
    kept: KubernetesCache[str, str] = KubernetesCache(5, clock=clock)
    assert [kept.get("k", source), kept.get("k", source)] == ["first", "first"]
    assert source.reads == 1
    clock.now += 5
    source.value = "second"
    assert kept.get("k", source) == "second"


def test_fresh_means_a_second_old_at_most() -> None:
    clock, source = Clock(), Source()
    kept: KubernetesCache[str, str] = KubernetesCache(60, clock=clock)
    kept.get("k", source)
    clock.now += 0.9
    kept.get("k", source, fresh=True)
    assert source.reads == 1
    clock.now += 0.2
    kept.get("k", source, fresh=True)
    assert source.reads == 2


def test_nothing_is_kept_for_zero_seconds() -> None:
    source = Source()
    kept: KubernetesCache[str, str] = KubernetesCache(0, clock=Clock())
    kept.get("k", source)
    kept.get("k", source)
    assert source.reads == 2


def test_failures_are_never_kept() -> None:
    source = Source()
    source.error = KubernetesUnavailable("away")
    kept: KubernetesCache[str, str] = KubernetesCache(60, usable=600, clock=Clock())
    with pytest.raises(KubernetesUnavailable):
        kept.get("k", source)
    source.error = None
    assert kept.get("k", source) == "first"


def test_an_outage_is_bridged_for_a_while_without_asking_every_time() -> None:
    clock, source = Clock(), Source()
    kept: KubernetesCache[str, str] = KubernetesCache(5, usable=300, clock=clock)
    kept.get("k", source)
    source.error = KubernetesUnavailable("away")
    clock.now += 6
    assert [kept.get("k", source) for _ in range(10)] == ["first"] * 10
    assert source.reads == 2
    clock.now += 300
    with pytest.raises(KubernetesUnavailable):
        kept.get("k", source)


def test_an_outage_is_not_bridged_for_who_wants_it_fresh() -> None:
    clock, source = Clock(), Source()
    kept: KubernetesCache[str, str] = KubernetesCache(5, usable=300, clock=clock)
    kept.get("k", source)
    source.error = KubernetesUnavailable("away")
    clock.now += 2
    with pytest.raises(KubernetesUnavailable):
        kept.get("k", source, fresh=True)


def test_what_is_missing_is_said_at_once() -> None:
    clock, source = Clock(), Source()
    kept: KubernetesCache[str, str] = KubernetesCache(5, usable=300, clock=clock)
    kept.get("k", source)
    source.error = KubernetesSaysNo("Secret gone")
    clock.now += 6
    with pytest.raises(KubernetesSaysNo):
        kept.get("k", source)
    source.error = KubernetesUnavailable("away")
    with pytest.raises(KubernetesUnavailable, match="away"):
        kept.get("k", source)


@pytest.mark.parametrize("error", [None, KubernetesUnavailable("away")])
def test_who_asks_at_the_same_time_shares_one_read(error: Exception | None) -> None:
    source, go = Source(), threading.Event()
    source.error = error
    kept: KubernetesCache[str, str] = KubernetesCache(60)

    def slow() -> str:
        assert go.wait(10)
        return source()

    def ask() -> str:
        try:
            return kept.get("k", slow)
        except KubernetesUnavailable:
            return "away"

    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(ask) for _ in range(20)]
        wait_until(lambda: "k" in kept._reading, "the read")
        wait_until(lambda: len(kept._reading["k"]._condition._waiters) == 19, "all others")  # type: ignore[attr-defined]
        go.set()
        assert {a.result(10) for a in answers} == {"away" if error else "first"}
    assert source.reads == 1
