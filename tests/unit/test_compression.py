"""Which encoding an answer gets, and that it can be read again."""

from __future__ import annotations

import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from api.compression import choose, pack, packable, packer


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("", ""),
        ("identity", ""),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.1, gzip;q=0.9", "gzip"),
        ("zstd; q=0.9, gzip;q=0.9", "zstd"),
        ("*", "gzip"),
        ("*;q=0", ""),
        ("gzip;q=0, *", ""),
        ("br;q=1, *;q=0.1", "gzip"),
        ("gzip;q=nan", ""),
        ("gzip;q=-1", ""),
        ("gzip;level=9", "gzip"),
        (";;,,=", ""),
        ("zstd;q=0, gzip;q=0", ""),
    ],
)
def test_the_encoding_is_the_most_welcome_one(accepted: str, encoding: str) -> None:
    assert choose(accepted) == encoding


@given(st.text())
def test_any_header_gives_an_encoding_or_none(accepted: str) -> None:
    assert choose(accepted) in ("", "gzip", "zstd")


@given(st.binary(max_size=5000), st.sampled_from(["gzip", "zstd"]), st.integers(1, 4))
def test_packed_bodies_can_be_read(body: bytes, encoding: str, pieces: int) -> None:
    def unpack(data: bytes) -> bytes:
        return zlib.decompress(data, 31) if encoding == "gzip" else zstandard.ZstdDecompressor().decompressobj().decompress(data)

    assert unpack(pack(body, encoding)) == body
    stream = packer(encoding)
    size = len(body) // pieces + 1
    assert unpack(b"".join(stream.compress(body[at : at + size]) for at in range(0, len(body), size)) + stream.flush()) == body


def test_only_text_is_packed() -> None:
    assert packable(b"application/json")
    assert packable(b"text/plain; charset=utf-8")
    assert not packable(b"image/png")
    assert not packable(b"")
