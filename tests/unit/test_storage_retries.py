"""How often a call to a store is tried: while the store is down, once; else until its deadline."""

from __future__ import annotations

import pytest

from shared.errors import StorageUnavailable
from shared.storage.retries import Attempts, Failure, Health, retried

TRANSIENT = Failure(StorageUnavailable("no answer"), transient=True)


def meaning(exc: Exception) -> Failure | None:
    return TRANSIENT if isinstance(exc, OSError) else None


class Store:
    """Fails `failures` times; `meanwhile` is what other calls see at the first of them."""

    def __init__(self, failures: int, meanwhile: Health | None = None) -> None:
        self.calls = 0
        self._failures = failures
        self._meanwhile = meanwhile

    def read(self) -> bytes:
        self.calls += 1
        if self.calls > self._failures:
            return b"content"
        if self._meanwhile:
            self._meanwhile.answered()
        raise OSError


def down() -> Health:
    health = Health()
    with pytest.raises(StorageUnavailable):
        retried(Store(1).read, meaning, Attempts(health, 5.0, most=1))
    assert health.down
    return health


def test_a_store_that_fails_once_is_asked_again() -> None:
    store = Store(1)
    assert retried(store.read, meaning, Attempts(Health(), 5.0)) == b"content"
    assert store.calls == 2


def test_a_store_that_is_down_is_asked_once() -> None:
    store = Store(1)
    with pytest.raises(StorageUnavailable):
        retried(store.read, meaning, Attempts(down(), 5.0))
    assert store.calls == 1


def test_a_call_begun_while_the_store_was_down_is_tried_again_when_others_are_answered() -> None:
    health = down()
    store = Store(1, meanwhile=health)
    assert retried(store.read, meaning, Attempts(health, 5.0)) == b"content"
    assert store.calls == 2
