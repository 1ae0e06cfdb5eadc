"""How the thread that watches goes on after failures. With sockets: tests/integration/test_live_directory.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from shared.errors import KubernetesUnavailable
from shared.live import listing
from shared.live.kubernetes import Change, ListingExpired
from shared.live.listing import Listing
from shared.live.port import LiveCluster
from shared.live.rayclusters import read_ray_cluster
from tests.live_kubernetes.objects import ray_cluster
from tests.waiting import wait_until

ENOUGH = 7


class Api:
    """Lists one cluster; each watch lasts `lasts` seconds of its clock and ends with `error`, if any."""

    def __init__(self, lasts: float, error: Exception | None, list_error: Exception | None = None) -> None:
        self.now = 1000.0
        self.lists = 0
        self.watches = 0
        self._lasts = lasts
        self._error = error
        self._list_error = list_error

    def clock(self) -> float:
        return self.now

    def list_clusters(self, _: str) -> tuple[list[LiveCluster], str]:
        self.lists += 1
        if self._list_error:
            raise self._list_error
        return [read_ray_cluster(ray_cluster("raycap"))], "7"

    def watch_clusters(self, _namespace: str, version: str, _seconds: float, _opened: Callable[[object], None]) -> Iterator[Change]:
        self.watches += 1
        yield Change(version)
        self.now += self._lasts
        if self._error:
            raise self._error


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the thread would wait; it ends after ENOUGH waits."""
    waited: list[float] = []

    class Waits(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if threading.current_thread().name.startswith("rayclusters"):
                waited.append(timeout or 0)
                if len(waited) >= ENOUGH:
                    self.set()
                return self.is_set()
            return super().wait(timeout)

    monkeypatch.setattr(listing.threading, "Event", Waits)
    return waited


def run(api: Api, pauses: list[float]) -> Listing:
    made = Listing(api, "", 300.0, clock=api.clock)  # type: ignore[arg-type]
    wait_until(lambda: len(pauses) >= ENOUGH and not made._thread.is_alive(), "the thread's end")
    return made


def test_pauses_grow_while_nothing_works(pauses: list[float]) -> None:
    made = run(Api(0, None, KubernetesUnavailable("away")), pauses)
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 15]
    assert made.age() is None
    assert "away" in str(made.error)


def test_a_watch_that_lasted_starts_the_pauses_again(pauses: list[float]) -> None:
    """A middle box that cuts every connection after 50 s must not make us blind for 15 s each time."""
    api = Api(50, KubernetesUnavailable("reset"))
    run(api, pauses)
    assert pauses == [0.25] * ENOUGH
    assert api.lists == api.watches == ENOUGH


def test_a_watch_that_ends_at_once_is_not_opened_in_a_tight_loop(pauses: list[float]) -> None:
    api = Api(0, None)
    run(api, pauses)
    assert pauses == [0.25] * ENOUGH
    assert (api.lists, api.watches) == (1, ENOUGH)


def test_an_expired_version_is_listed_anew_with_pauses(pauses: list[float]) -> None:
    api = Api(0, ListingExpired())
    made = run(api, pauses)
    assert api.lists == ENOUGH
    assert pauses[:3] == [0.25, 0.5, 1]
    assert made.clusters().keys() == {"default/raycap"}


def test_a_defect_ends_as_an_outage_not_as_silence(pauses: list[float]) -> None:
    api = Api(3, TypeError("a defect"))
    made = run(api, pauses)
    assert "a defect" in str(made.error)
    api.now += 100
    assert made.age() == 103
