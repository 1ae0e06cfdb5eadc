"""Unpacking gzip as it streams."""

from __future__ import annotations

import gzip
import random

import pytest

from shared.storage.gz import unpacked


@pytest.mark.parametrize("step", [1, 2, 7, 1000, 1 << 20])
def test_unpacks_members_whatever_the_chunks(step: int) -> None:
    parts = [b"first " * 100, b"", bytes(range(256)) * 3]
    packed = b"".join(gzip.compress(part) for part in parts)
    assert b"".join(unpacked(packed[at : at + step] for at in range(0, len(packed), step))) == b"".join(parts)


@pytest.mark.parametrize("content", [b"", b"\x1f", b"plain text", b"\x1f\x8c no gzip"])
def test_what_is_no_gzip_comes_as_it_is(content: bytes) -> None:
    assert b"".join(unpacked([content[:1], content[1:]])) == content


def test_cut_or_damaged_gzip_gives_what_can_be_read() -> None:
    content = random.Random(4).randbytes(300_000)
    packed = gzip.compress(content)
    cut = b"".join(unpacked([packed[:200_000]]))
    assert len(cut) > 100_000
    assert content.startswith(cut)
    damaged = bytearray(gzip.compress(b"abc" * 100_000))
    damaged[200:] = b"\xff" * len(damaged[200:])
    assert (b"abc" * 100_000).startswith(b"".join(unpacked([bytes(damaged)])))
    assert b"".join(unpacked([packed, b"\0" * 100])) == content


def test_a_bomb_unpacks_in_bounded_pieces() -> None:
    assert max(map(len, unpacked([gzip.compress(bytes(50 << 20))]))) <= 1 << 20
