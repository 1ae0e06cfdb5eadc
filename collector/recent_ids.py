"""The ids of the events that came last: Ray sends a batch again whose answer it missed, and each event is to be stored once."""

from __future__ import annotations

from collections.abc import Iterable

KEPT = 12_000
"""At least so many, at most twice as many. An agent sends 1,000 at once (Ray 2.53: 10,000), one batch at a time."""


class RecentIds:
    """Not thread-safe: its journal's lock is held around every call. The empty id is never known."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._newer: set[str] = set()
        self._older: set[str] = set()

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._newer or event_id in self._older

    def know_none_of(self, ids: set[str]) -> bool:
        """In one go, as most batches are new."""
        return self._newer.isdisjoint(ids) and self._older.isdisjoint(ids)

    def add(self, ids: Iterable[str]) -> None:
        self._newer.update(ids)
        self._newer.discard("")
        if len(self._newer) > self._kept:
            self._older, self._newer = self._newer, set()

    def forget(self, ids: Iterable[str]) -> None:
        """Of events that could not be kept after all."""
        for event_id in ids:
            self._newer.discard(event_id)
            self._older.discard(event_id)
