"""What `ray-history up` checks before it starts anything: each failure is one clear line that says what to do."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.embedded_server import free_port
from cli.output import Failed


def storage_url(given: str) -> str:
    """A storage URL; a plain path means a directory."""
    return given if not given or "://" in given else Path(given).expanduser().absolute().as_uri()


def check_port(host: str, port: int) -> int:
    """The port to listen on: `port`, or a free one for 0. Raises Failed when it is taken or not ours to use."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port or free_port(), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            # Two sockets with SO_REUSEADDR may both bind; only one may listen.
            probe.listen(1)
            return int(probe.getsockname()[1])
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise Failed(f"port {port} on {host} is in use: choose another with --port") from exc
        raise Failed(f"cannot listen on {host} port {port}: {exc.strerror or exc}") from exc


def check_dashboard(directory: Path) -> None:
    """Can builds of the Ray dashboard's frontend be there? None need be there yet. Raises Failed."""
    if not directory.is_dir():
        raise Failed(f"{directory} is no directory: builds of the Ray dashboard cannot be there (--dashboard-dir)")


@contextmanager
def data_directory(directory: Path) -> Iterator[Path]:
    """The directory, made and locked for this command while inside. Raises Failed when it cannot be written or is in use."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=directory):
            pass
        lock = (directory / "lock").open("a+")
    except OSError as exc:
        raise Failed(f"cannot write to the data directory {directory}: {exc.strerror or exc} (choose another with --data-dir)") from exc
    # A forked child that outlives this process is not to hold it.
    os.register_at_fork(after_in_child=lock.close)
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            raise Failed(
                f"the data directory {directory} is in use by another `ray-history up` (process {owner}): choose another with --data-dir"
            ) from exc
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield directory


def keep_for(directory: Path, contents: str) -> Path:
    """`directory`, emptied unless what it holds was made for the same `contents`: snapshots of another bucket must not be served."""
    directory.mkdir(exist_ok=True, mode=0o700)
    stamp = directory / "made-for"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != contents:
        for path in sorted(directory.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        stamp.write_text(contents, encoding="utf-8")
    return directory
