"""Waiting in tests: for a condition or for another test process, never for a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def wait_until(true: Callable[[], object], what: str = "the condition", timeout: float = 30.0) -> None:
    """Return as soon as `true()` is; fail the test, naming `what`, after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {timeout:.0f} s"
        time.sleep(0.05)  # between two looks of wait_until


@contextmanager
def cache_directory(name: str) -> Iterator[Path]:
    """Where downloads stay for later runs of the tests. While one process is inside, others wait, and find what it has fetched."""
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ray-history-tests" / name
    directory.mkdir(parents=True, exist_ok=True)
    with (directory.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield directory
