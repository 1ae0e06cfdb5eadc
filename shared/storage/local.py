"""A local directory (or a mounted volume) as the object store."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.storage.local_directories import Directories
from shared.storage.port import ObjectInfo, is_key, is_prefix
from shared.storage.read_ahead import Answer, read_ahead

_CHUNK = 1 << 20
_THREADS = 8
_BATCH = 32
# What `backslashreplace` makes of a byte that is not UTF-8.
_ESCAPE = re.compile(rb"\\x([89a-f][0-9a-f])")
_NEVER_THERE = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)


class LocalStorage:
    r"""`Storage` over the files below `root`. Symbolic links that lead out of it are treated as absent.

    A name that is not UTF-8 is written with escapes in keys: `r\xe9sum\xe9.log`.
    """

    def __init__(self, root: str | Path, *, read_ahead_bytes: int = 64 << 20) -> None:
        self._root = Path(root).absolute()
        self._read_ahead_bytes = read_ahead_bytes

    def __repr__(self) -> str:
        return f"file://{self._root}"

    def check(self) -> None:
        try:
            next(os.scandir(self._real_root()), None)
        except OSError as exc:
            raise self._unavailable(exc) from exc

    def prepare(self) -> None:
        """There is nothing to connect."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        root = self._real_root()
        start = self._inside(root, prefix[:-1]) if prefix else root
        if is_prefix(prefix) and start is not None and start.is_dir():
            yield from self._walk(root, start, prefix, (start,))

    def directories(self, prefix: str) -> Sequence[str]:
        root = self._real_root()
        start = self._inside(root, prefix[:-1]) if prefix else root
        if not is_prefix(prefix) or start is None or not start.is_dir():
            return []
        try:
            return [name.removesuffix("/") for name, _ in _sorted_entries(start) if name.endswith("/")]
        except OSError as exc:
            raise self._unavailable(exc) from exc

    def _walk(self, root: Path, directory: Path, prefix: str, chain: tuple[Path, ...]) -> Iterator[ObjectInfo]:
        """`chain`: the real directories above, so that a link to one of them does not loop."""
        try:
            entries = _sorted_entries(directory)
        except PermissionError as exc:
            if len(chain) == 1:
                raise self._unavailable(exc) from exc
            yield ObjectInfo(prefix, 0, unreadable=str(self._unavailable(exc)))
            return
        except OSError as exc:
            raise self._unavailable(exc) from exc
        try:
            for name, entry in entries:
                key = prefix + name
                target = Path(entry.path)
                if entry.is_symlink():
                    resolved = self._inside(root, key.rstrip("/"))
                    if resolved is None:
                        continue
                    target = resolved
                try:
                    info = target.stat()
                except FileNotFoundError:  # gone since the directory was read
                    continue
                except PermissionError as exc:  # the directory's names may be read, but nothing in it
                    yield ObjectInfo(prefix, 0, unreadable=str(self._unavailable(exc)))
                    return
                if stat.S_ISREG(info.st_mode):
                    yield ObjectInfo(key, info.st_size)
                elif stat.S_ISDIR(info.st_mode) and target not in chain:
                    yield from self._walk(root, target, key, (*chain, target))
        except OSError as exc:
            raise self._unavailable(exc) from exc

    def size(self, key: str) -> int:
        with self._open(key) as file:
            return os.fstat(file.fileno()).st_size

    def read(self, key: str) -> bytes:
        with self._open(key) as file:
            return file.readall()

    def read_range(self, key: str, start: int, length: int) -> bytes:
        return b"".join(self.stream(key, start, length))

    def stream(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        with self._open(key) as file:
            file.seek(start)
            left = length
            while left is None or left > 0:
                chunk = file.read(_CHUNK if left is None else min(_CHUNK, left))
                if not chunk:
                    return
                if left is not None:
                    left -= len(chunk)
                yield chunk

    def read_many(self, objects: Iterable[ObjectInfo]) -> Iterator[tuple[ObjectInfo, Answer]]:
        directories = Directories(lambda key: self._inside(self._real_root(), key))

        def read(info: ObjectInfo) -> bytes:
            content = directories.read(info.key)
            return self.read(info.key) if content is None else content

        return read_ahead(objects, read, threads=_THREADS, budget=self._read_ahead_bytes, batch_objects=_BATCH)

    def close(self) -> None:
        """Nothing is kept open."""

    @contextmanager
    def _open(self, key: str) -> Iterator[FileIO]:
        path = self._inside(self._real_root(), key)
        if path is None:
            raise ObjectNotFound(f"{key}: not in {self!r}")
        try:
            # The path is resolved: a link that took its last part's place since then is refused. A pipe must not block.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise ObjectNotFound(f"{key}: not in {self!r}") from exc
        except OSError as exc:
            raise self._unavailable(exc) from exc
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ObjectNotFound(f"{key}: no file in {self!r}")
        with FileIO(descriptor) as file:
            try:
                yield file
            except OSError as exc:
                raise self._unavailable(exc) from exc

    def _inside(self, root: Path, key: str) -> Path | None:
        """The real path of `key`; None when it is absent or leads out of the root."""
        if not is_key(key):
            return None
        try:
            path = _existing(root, key)
        except (FileNotFoundError, NotADirectoryError, RuntimeError):  # RuntimeError: links in a circle
            return None
        except OSError as exc:
            if exc.errno in _NEVER_THERE:
                return None
            raise self._unavailable(exc) from exc
        return path if path.is_relative_to(root) else None

    def _real_root(self) -> Path:
        """Looked up at every call: a volume that went away must not look like an empty bucket."""
        try:
            root = self._root.resolve(strict=True)
        except (OSError, RuntimeError) as exc:
            raise self._unavailable(exc) from exc
        if not root.is_dir():
            raise StorageUnavailable(f"storage {self!r}: no directory")
        return root

    def _unavailable(self, exc: OSError | RuntimeError) -> StorageUnavailable:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        return StorageUnavailable(f"storage {self!r}: {reason}")


def _existing(root: Path, key: str) -> Path:
    """The real path of `key`. Raises FileNotFoundError and its like."""
    try:
        return (root / key).resolve(strict=True)
    except FileNotFoundError:
        if not _ESCAPE.search(key.encode()):
            raise
        return unescaped(root, key).resolve(strict=True)


def unescaped(root: Path, key: str) -> Path:
    """The path of a key some of whose escapes stand for bytes that are not UTF-8."""
    path = root
    for part in key.split("/"):
        path /= part if os.path.lexists(path / part) else _unescaped(part)
    return path


def _unescaped(name: str) -> str:
    return os.fsdecode(_ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), name.encode()))


def _sorted_entries(directory: Path) -> list[tuple[str, os.DirEntry[str]]]:
    """As their keys are sorted: by UTF-8 bytes, directories with their `/`."""
    try:
        with os.scandir(directory) as entries:
            named = [(_name_in_keys(entry) + "/" if _is_directory(entry) else _name_in_keys(entry), entry) for entry in entries]
    except FileNotFoundError:
        return []
    return sorted(named, key=lambda pair: pair[0].encode())


def _name_in_keys(entry: os.DirEntry[str]) -> str:
    return os.fsencode(entry.name).decode(errors="backslashreplace")


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
