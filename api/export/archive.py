"""A session's stored files as one `.tar.zst`, made while it is read: memory is bounded whatever the session weighs.

Files have the names that they have in the storage, so an unpacked archive of everything is a storage of its own, which
`ray-history up DIR` opens. The last member says what is in the archive, and what should be and is not.
"""

from __future__ import annotations

import tarfile
from collections.abc import Generator, Iterable, Iterator
from itertools import chain, groupby

import msgspec
import zstandard

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.layout import data_prefixes, is_log_file, key_below, marker_key
from shared.sessions import Session
from shared.storage.port import ObjectInfo, Storage, is_key

MEDIA_TYPE = "application/zstd"
MANIFEST = "MANIFEST.json"
# Smaller files are read ahead, several at once; larger ones piece by piece.
_LARGE = 8 << 20
_PIECE = 64 << 10
_ZEROS = bytes(1 << 20)
_LEVEL = 3
# So many files in a row that could not be read are an outage: no archive is better than one without files.
_OUTAGE = 3


class Loss(msgspec.Struct):
    """A file that is not in the archive, or not as it should be."""

    file: str
    code: str
    message: str


class Manifest(msgspec.Struct):
    """The archive's last member, as JSON. `bytes`: of the files, unpacked."""

    session: str
    what: str
    files: int = 0
    bytes: int = 0
    losses: list[Loss] = []


def archive(storage: Storage, session: Session, what: str) -> Generator[bytes]:
    """Pieces of the archive, none of them empty. `what`: `logs` or `raw` (every file).

    Raises StorageUnavailable: the files cannot be listed, or several in a row not read.
    """
    packer = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
    waiting = bytearray()
    for piece in _Tar(storage, session, what).pieces():
        waiting += packer.compress(piece)
        if len(waiting) >= _PIECE:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting + packer.flush())


class _Tar:
    def __init__(self, storage: Storage, session: Session, what: str) -> None:
        self._storage = storage
        self._session = session
        self._what = what
        self._manifest = Manifest(str(session.ref), what)
        self._failed_in_a_row = 0

    def pieces(self) -> Iterator[bytes]:
        if self._what == "raw":
            # An empty object, by which the session is found.
            yield self._header(marker_key(self._session), 0)
        for large, files in groupby(self._files(), lambda info: info.size > _LARGE):
            for piece in self._streamed(files) if large else self._whole(files):
                self._failed_in_a_row = 0
                yield piece
        text = msgspec.json.format(msgspec.json.encode(self._manifest)) + b"\n"
        yield self._header(MANIFEST, len(text)) + text + _padding(len(text))
        yield tarfile.NUL * (2 * tarfile.BLOCKSIZE)

    def _files(self) -> Iterator[ObjectInfo]:
        for info in chain.from_iterable(map(self._storage.list, data_prefixes(self._session))):
            if info.unreadable:
                self._lose(info.key, StorageUnavailable(info.unreadable))
            elif not is_key(info.key):
                self._manifest.losses.append(Loss(info.key, "invalid_name", "no file on disk can be called so"))
            elif self._what == "raw" or is_log_file(key_below(self._session, info.key)):
                yield info

    def _whole(self, files: Iterable[ObjectInfo]) -> Iterator[bytes]:
        for info, content in self._storage.read_many(files):
            if isinstance(content, bytes):
                self._note(len(content))
                yield self._header(info.key, len(content)) + content + _padding(len(content))
            else:
                self._lose(info.key, content)

    def _streamed(self, files: Iterable[ObjectInfo]) -> Iterator[bytes]:
        """With the size of the listing, which stands before the content."""
        for info in files:
            chunks = self._storage.stream(info.key)
            try:
                first = next(chunks, b"")
            except (ObjectNotFound, StorageUnavailable) as exc:
                self._lose(info.key, exc)
                continue
            self._note(info.size)
            yield self._header(info.key, info.size)
            yield from self._content(info, chain((first,), chunks))
            yield _padding(info.size)

    def _content(self, info: ObjectInfo, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Exactly so many bytes as were listed, whatever became of the file."""
        left = info.size
        loss = Loss(info.key, "file_changed", "longer than it was listed: its end is not in the archive")
        try:
            for chunk in chunks:
                yield chunk[:left]
                if len(chunk) > left:
                    self._manifest.losses.append(loss)
                    return
                left -= len(chunk)
        except (ObjectNotFound, StorageUnavailable) as exc:
            loss = Loss(info.key, exc.code, f"{exc}: its last {left} bytes are zeros")
        else:
            loss = Loss(info.key, "file_changed", f"shorter than it was listed: its last {left} bytes are zeros")
        if left:
            self._manifest.losses.append(loss)
            yield from (_ZEROS[: left - start] for start in range(0, left, len(_ZEROS)))

    def _note(self, size: int) -> None:
        self._manifest.files += 1
        self._manifest.bytes += size

    def _lose(self, key: str, error: ObjectNotFound | StorageUnavailable) -> None:
        self._manifest.losses.append(Loss(key, error.code, str(error)))
        if isinstance(error, StorageUnavailable):
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= _OUTAGE:
                raise error

    def _header(self, name: str, size: int) -> bytes:
        member = tarfile.TarInfo(name)
        member.size = size
        # When they were written is in no listing.
        member.mtime = int(self._session.began.timestamp())
        return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
