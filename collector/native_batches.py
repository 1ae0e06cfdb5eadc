"""`read_batch` of `batches.py` by the core in Rust, where that is installed: a third of the time, and the same result."""

from __future__ import annotations

from collections.abc import Callable

from collector.batches import NO_SESSION, Batch, Group, place_of, read_batch
from shared.errors import SettingsError

Reader = Callable[[bytes], Batch]


def batch_reader(wanted: str) -> Reader:
    """`wanted` is RAY_HISTORY_ENGINE: "auto", "native" or "python". Raises SettingsError when the core is wanted and not installed."""
    if wanted == "python":
        return read_batch
    try:
        from ray_history_core import sort_batch  # noqa: PLC0415 - it may be missing
    except ImportError:
        if wanted == "native":
            raise SettingsError("RAY_HISTORY_ENGINE=native, and the core is not installed (pip install ./core)") from None
        return read_batch

    def read(body: bytes) -> Batch:
        groups = sort_batch(body)
        if groups is None:  # unusual in some way
            return read_batch(body)
        batch = Batch()
        for session, node, job, ids, text in groups:
            if place := place_of(session, node, job):
                batch.groups.append(Group(place, ids, text))
            else:
                batch.unfit[NO_SESSION] += len(ids)
        return batch

    return read
