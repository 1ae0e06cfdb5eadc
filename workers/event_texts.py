"""Event files to chunks of whole lines, in bounded memory: gzip or not, JSON lines or the one JSON array of older collectors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.storage.gz import DamagedGzip, unpacked

_CHUNK = 1 << 20
_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
# A string, also one that is cut off, or a brace or bracket outside of strings.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_OPENING = frozenset(b"{[")


class UnreadableFile(Exception):
    """An event file that is not what its bytes promise, or larger than a limit."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def texts(chunks: Iterable[bytes], longest_line: int, most: int) -> Iterator[bytes]:
    """Whole lines, about 1 MiB at a time, of a file that comes in `chunks`. A line of more than `longest_line` bytes is left out, and
    what is beyond `most` (unpacked) bytes.

    Raises UnreadableFile, after everything that could be read.
    """
    try:
        pieces = _limited(_small(unpacked(chunks, strict=True)), most)
        head = next(pieces, b"").removeprefix(_BOM).lstrip(_BLANK)
        while not head and (piece := next(pieces, b"")):
            head = piece.lstrip(_BLANK)
        pieces = chain((head,), pieces)
        yield from _elements(pieces, longest_line) if head.startswith(b"[") else _lines(pieces, longest_line)
    except DamagedGzip as exc:
        raise UnreadableFile("bad_gzip", f"damaged gzip: {exc}") from exc


def _small(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for at in range(0, len(chunk), _CHUNK):
            yield chunk[at : at + _CHUNK]


def _limited(pieces: Iterable[bytes], most: int) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise UnreadableFile("file_too_large", f"more than {most} bytes, unpacked (RAY_HISTORY_MAX_FILE_BYTES)")
        yield piece


class _UntilProblem:
    """The pieces that could be read; `check` raises what ended them."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._problem: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        except (DamagedGzip, UnreadableFile, ObjectNotFound, StorageUnavailable) as exc:
            self._problem = exc

    def check(self) -> None:
        if self._problem is not None:
            raise self._problem


def _lines(pieces: Iterator[bytes], longest: int) -> Iterator[bytes]:
    held: list[bytes] = []
    size, too_long, skipping = 0, 0, False
    source = _UntilProblem(pieces)
    for piece in source:
        begin = piece.find(b"\n") + 1 if skipping else 0
        end = piece.rfind(b"\n") + 1
        skipping = skipping and not end
        if begin < end:
            yield b"".join([*held, piece[begin:end]])
        if end:
            held, size = [], 0
        if not skipping:
            held.append(piece[end:])
            size += len(piece) - end
        if size > longest:
            held, size, skipping = [], 0, True
            too_long += 1
    if size:
        yield b"".join(held)
    source.check()
    if too_long:
        raise _too_long(too_long, longest)


def _too_long(count: int, longest: int) -> UnreadableFile:
    return UnreadableFile("line_too_long", f"{count} lines of more than {longest} bytes (RAY_HISTORY_MAX_LINE_BYTES) were left out")


def _elements(pieces: Iterator[bytes], longest: int) -> Iterator[bytes]:
    """The objects of an array, each a line. Of an array that is cut off, those that are whole."""
    rest, depth, base = b"", 0, 0
    source = _UntilProblem(pieces)
    for piece in source:
        text = rest + piece
        start, level, elements, done = 0, depth, [], 0
        for token in _TOKEN.finditer(text):
            byte = text[token.start()]
            if byte == 0x22:
                continue
            if byte in _OPENING:
                if byte == 0x7B and level <= 1 and not start:
                    start, base = token.start() + 1, level
                level += 1
            else:
                level = max(0, level - 1)
                if start and level == base:
                    elements.append(text[start - 1 : token.end()].replace(b"\n", b" ").replace(b"\r", b" "))
                    start = 0
            if not start:
                done, depth = token.end(), level
        if elements:
            yield b"\n".join(elements) + b"\n"
        rest = text[done:] if start else b""
        if len(rest) > longest:
            raise _too_long(1, longest)
    source.check()
    if depth:
        raise UnreadableFile("bad_json", "the JSON array is cut off")
