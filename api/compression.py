"""Answers' bodies in the encoding that a client accepts: zstd or gzip."""

from __future__ import annotations

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


def choose(accept_encoding: str) -> str:
    """`zstd`, `gzip` or "" (as is), by quality; zstd first where both are as welcome."""
    best, chosen = 0.0, ""
    for name in ("zstd", "gzip"):
        quality = _quality(accept_encoding.lower(), name)
        if quality > best:
            best, chosen = quality, name
    return chosen


def _quality(accepted: str, name: str) -> float:
    found = 0.0
    for item in accepted.split(","):
        coding, _, parameters = item.strip().partition(";")
        if coding.strip() in (name, "*"):
            _, _, text = parameters.replace(" ", "").partition("q=")
            try:
                found = float(text) if text else 1.0
            except ValueError:
                found = 0.0
            if coding.strip() == name:
                break
    return found


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
    made = packer(encoding)
    return made.compress(body) + made.flush()
