"""Small files that survive the process and the machine: written beside, synchronised, and moved into place."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import structlog

log = structlog.get_logger()


def replace(path: Path, content: bytes) -> None:
    """Write a whole file, durably. Raises OSError, and then the former one is still there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_directory(path.parent)


def read_or_none(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def sync_directory(directory: Path) -> None:
    """Make creations, renames and deletions in it durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make what any process wrote to it durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def only_process(path: Path) -> int:
    """Lock this file for as long as the process lives, or the returned descriptor. Raises OSError when another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise OSError(f"another collector uses {path.parent}: give each a RAY_HISTORY_COLLECT_DIR of its own") from None
    except OSError as exc:  # a file system without locks
        log.warning("the directory cannot be locked against other collectors", directory=str(path.parent), error=str(exc))
    return descriptor
