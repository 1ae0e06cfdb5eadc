"""Unpacking gzip as it streams, in bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

from isal import isal_zlib

_STEP = 1 << 20
_PIECE = 1 << 16
_GZIP = 31
# The stubs of isal give its error the wrong type.
_DAMAGED: tuple[type[Exception], ...] = (isal_zlib.error, zlib.error)  # type: ignore[assignment]
_MAGIC = b"\x1f\x8b"


class DamagedGzip(Exception):
    """Damaged or cut gzip data."""


def unpacked(chunks: Iterable[bytes], *, strict: bool = False) -> Iterator[bytes]:
    """The unpacked text of gzip `chunks` (several members too), at most 1 MiB at a time; other bytes as they are.

    Damaged or cut data ends where it can no longer be read, with DamagedGzip if `strict`: a collector that was killed leaves
    such files, and their beginning is worth showing.
    """
    source = iter(chunks)
    head = b""
    for chunk in source:
        head += chunk
        if len(head) >= len(_MAGIC):
            break
    if not head.startswith(_MAGIC):
        if head:
            yield head
        yield from source
        return
    # In small pieces: what a call leaves unread is copied.
    source = _pieces(chain((head,), source))
    decoder = isal_zlib.decompressobj(wbits=_GZIP)
    pending, begun = b"", True
    while True:
        if decoder.eof:
            pending = decoder.unused_data
            if pending and not _MAGIC.startswith(pending[:2]):  # padding after the last member
                return
            decoder, begun = isal_zlib.decompressobj(wbits=_GZIP), bool(pending)
        if not pending:
            pending = next(source, b"")
            if not pending:
                if strict and begun:
                    raise DamagedGzip("it is cut off")
                return
        try:
            text = decoder.decompress(pending, _STEP)
        except _DAMAGED as exc:
            if strict:
                raise DamagedGzip(str(exc)) from exc
            return
        begun = True
        pending = decoder.unconsumed_tail
        if text:
            yield text


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for at in range(0, len(chunk), _PIECE):
            yield chunk[at : at + _PIECE]
