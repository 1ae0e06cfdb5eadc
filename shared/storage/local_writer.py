"""Writing into a local directory or a mounted volume."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from shared.errors import StorageUnavailable
from shared.storage.local import unescaped
from shared.storage.port import CHECK_KEY, file_chunks, is_key

_CHUNK = 1 << 20
# Beside what is listed, on the same file system: an object is linked into place when it is whole.
_UNFINISHED = ".unfinished"
_ABANDONED = 86400.0
# What a file system without hard links says.
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)


class LocalWriter:
    """`StorageWriter` over the files below `root`, which must exist: a volume that went away must not be written beside."""

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root).absolute()
        self._numbers = itertools.count()

    def __repr__(self) -> str:
        return f"file://{self._root}"

    def check(self) -> None:
        self.put(CHECK_KEY, b"")
        self.delete([CHECK_KEY])
        self._remove_abandoned()

    def put(self, key: str, content: bytes) -> None:
        self._write(key, [content], replace=True)

    def put_file(self, key: str, path: Path, size: int) -> None:
        self._write(key, file_chunks(path, size, _CHUNK), replace=True)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        return self._write(key, [content], replace=False)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            with self._errors():
                path = self._path(key)
                if not os.path.lexists(path):
                    path = unescaped(self._root, key)
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()
                self._remove_empty(path.parent)

    def close(self) -> None:
        """Nothing is kept open."""

    def _write(self, key: str, chunks: Iterable[bytes], *, replace: bool) -> bool:
        target = self._path(key)
        with self._errors():
            unfinished = self._root / _UNFINISHED / f"{os.getpid()}-{next(self._numbers)}-{os.urandom(4).hex()}"
            self._make_directory(unfinished.parent)
            file = unfinished.open("xb")
        try:
            # Errors of the source are the caller's; those of the target are the store's.
            with file:
                for chunk in chunks:
                    with self._errors():
                        file.write(chunk)
                with self._errors():
                    file.flush()
                    os.fsync(file.fileno())
            with self._errors():
                return self._put_in_place(unfinished, target, replace=replace)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def _remove_abandoned(self) -> None:
        """What killed processes left half-written, long ago: others may be writing now."""
        with self._errors():
            for path in (self._root / _UNFINISHED).iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _ABANDONED:
                        path.unlink()

    def _put_in_place(self, unfinished: Path, target: Path, *, replace: bool) -> bool:
        while True:
            self._make_directory(target.parent)
            try:
                if replace:
                    unfinished.replace(target)
                elif not _link(unfinished, target):
                    return False
            except FileNotFoundError:  # a deletion has just removed the directory, which was empty
                continue
            _sync_directory(target.parent)
            return True

    def _make_directory(self, directory: Path) -> None:
        """Below the root. Every new entry is made durable in its parent."""
        if directory.is_dir():
            return
        if directory == self._root:
            raise StorageUnavailable(f"storage {self!r}: no directory")
        self._make_directory(directory.parent)
        directory.mkdir(exist_ok=True)
        _sync_directory(directory.parent)

    def _remove_empty(self, directory: Path) -> None:
        with contextlib.suppress(OSError):
            while directory != self._root and directory.is_relative_to(self._root):
                directory.rmdir()
                directory = directory.parent

    def _path(self, key: str) -> Path:
        if not is_key(key):
            raise ValueError(f"{key!r} is no key")
        return self._root / key

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise StorageUnavailable(f"storage {self!r}: {exc.strerror or exc}") from exc


def _link(unfinished: Path, target: Path) -> bool:
    """False when there is a target."""
    try:
        os.link(unfinished, target)
    except FileExistsError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        # A mounted bucket, most often. Only one process writes an object of this name.
        if target.exists():
            return False
        unfinished.replace(target)
    return True


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
