"""Answers' bodies in the encoding that a client accepts: zstd or gzip."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

import zstandard
from isal import isal_zlib

# Below it a packed body is hardly smaller than its headers.
SMALLEST = 1024
_GZIP_WINDOW = 31
_PACKABLE = (b"application/json", b"text/", b"application/problem+json")


class Packer(Protocol):
    """Packs one body, in pieces."""

    def compress(self, data: bytes) -> bytes: ...

    def flush(self) -> bytes: ...


@lru_cache(maxsize=256)
def choose(accept_encoding: str) -> str:
    """`zstd`, `gzip` or "" (as is), by quality; zstd only where it is named, and first where both are as welcome."""
    qualities = dict(map(_quality, accept_encoding.lower().split(",")))
    zstd, gzip = qualities.get("zstd", 0.0), qualities.get("gzip", qualities.get("*", 0.0))
    if zstd > 0 and zstd >= gzip:
        return "zstd"
    return "gzip" if gzip > 0 else ""


def _quality(item: str) -> tuple[str, float]:
    """A coding and how welcome it is; what cannot be read is not."""
    coding, _, parameters = item.partition(";")
    name, _, value = parameters.replace(" ", "").partition("=")
    if name != "q":
        return coding.strip(), 1.0
    try:
        return coding.strip(), min(float(value), 1.0)
    except ValueError:
        return coding.strip(), 0.0


def packable(content_type: bytes) -> bool:
    return content_type.startswith(_PACKABLE)


def packer(encoding: str) -> Packer:
    """One body's packer for an encoding that `choose` gave."""
    if encoding == "zstd":
        return zstandard.ZstdCompressor(level=1).compressobj()
    made: Packer = isal_zlib.compressobj(1, isal_zlib.DEFLATED, _GZIP_WINDOW)
    return made


def pack(body: bytes, encoding: str) -> bytes:
    """A whole body."""
    return pack_pieces([body], encoding)


def pack_pieces(body: Iterable[bytes], encoding: str) -> bytes:
    """A whole body that comes in pieces."""
    made = packer(encoding)
    return b"".join([*map(made.compress, body), made.flush()])
