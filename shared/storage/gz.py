"""Unpacking gzip as it streams, in bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from isal import isal_zlib

_STEP = 1 << 20
_GZIP = 31
# The stubs of isal give its error the wrong type.
_DAMAGED: tuple[type[Exception], ...] = (isal_zlib.error, zlib.error)  # type: ignore[assignment]
_MAGIC = b"\x1f\x8b"


def unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The unpacked text of gzip `chunks` (several members too), at most 1 MiB at a time; other bytes as they are.

    Damaged or cut data ends where it can no longer be read: a collector that was killed leaves such logs, and their
    beginning is worth showing.
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
    decoder = isal_zlib.decompressobj(wbits=_GZIP)
    pending = head
    while True:
        if decoder.eof:
            pending = decoder.unused_data
            if pending and not _MAGIC.startswith(pending[:2]):  # padding after the last member
                return
            decoder = isal_zlib.decompressobj(wbits=_GZIP)
        if not pending:
            pending = next(source, b"")
            if not pending:
                return
        try:
            text = decoder.decompress(pending, _STEP)
        except _DAMAGED:
            return
        pending = decoder.unconsumed_tail
        if text:
            yield text
