"""How a table of State API rows lies in a snapshot: blocks of rendered rows, and filter columns beside them.

A table is a list of *parts* in the order of its rows' ids (a part is what one merge range wrote). Within a part,
columns are kept in id order; rows are kept clustered by one column (tasks: by job), so that the rows of a job touch few blocks.
The place of a row follows from the clustering column alone: a stable sort of its codes.

Fields in the snapshot's hash (`{t}` table, `{p}` part, `{b}` block):
    t:{t}                the table's index (msgpack of TableIndex)
    t:{t}:{p}:c:{name}   one filter column of a part (msgpack of ColumnData, compressed)
    t:{t}:{p}:k          8-byte prefixes of the ids of a part (only of keyed tables: those with too many ids for a dictionary)
    t:{t}:{p}:r          what to replace in the rows of a part before a browser may see them (only where there is any)
    t:{t}:{p}:b:{b}      a block of rows with the base columns: JSON with BETWEEN_ROWS between, compressed
    t:{t}:{p}:d:{b}      the same rows with all columns
    d:{name}             a JSON document (msgpack of its pieces, each compressed)
    meta                 msgpack of Meta
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

FORMAT = 5
# No row has a raw newline in it, so rows are found by it; and a whole block is a piece of a JSON list as it is.
BETWEEN_ROWS = b",\n"
META = "meta"
_ALL_ONES = "f" * 16
DOC_PIECE = 1 << 20
Scalar = str | int | float | bool | None
# Columns of a keyed table whose combinations are counted at load: filters on them alone need no column to say how many rows pass.
TALLIED = ("job_id", "type", "state")
Tally = list[tuple[tuple[Scalar, ...], int]]


class PartIndex(msgspec.Struct, array_like=True):
    """One part: how many rows, the first and last id in it, and where each block starts (row places; last = end).

    `tally` is on its way into the table's.
    """

    rows: int
    first: str
    last: str
    blocks: list[int]
    clusters: list[Scalar]
    tally: Tally = []


class TableIndex(msgspec.Struct, array_like=True):
    """One table: its parts in id order. `cluster_by` is the column that rows are clustered by, if any.

    `tally` counts rows by their values of TALLIED; empty: not counted.
    """

    name: str
    rows: int
    keyed: bool
    cluster_by: str | None
    parts: list[PartIndex]
    tally: Tally = []


class ColumnData(msgspec.Struct, array_like=True):
    """A dictionary-coded column: `codes[i]` is the index in `values` of row i's value (little-endian, `width` bytes each)."""

    values: list[Scalar]
    width: int
    codes: bytes


class Warned(msgspec.Struct, array_like=True):
    """What a complete snapshot does not have either, and why; `tables` that lack it, empty: all. `detail`: only columns of detail do."""

    code: str
    message: str
    tables: list[str] = []
    detail: bool = False


class Meta(msgspec.Struct):
    """What a reader must know before anything else. `losses` are (file, code, message); `complete` is False for a partial snapshot."""

    format: int
    tables: dict[str, TableIndex]
    complete: bool = True
    losses: list[tuple[str, str, str]] = []
    loss_count: int = 0
    counts: dict[str, int] = {}
    ray_version: str | None = None
    warnings: list[Warned] = []


class _Codec(threading.local):
    """zstd contexts are not thread-safe."""

    def __init__(self) -> None:
        # Measured on rows and on event lines: higher levels take longer and save nothing.
        self.compressor = zstandard.ZstdCompressor(level=1)
        # What is read once and soon: two thirds of the time, for a third more bytes.
        self.passing_compressor = zstandard.ZstdCompressor(level=-5)
        self.decompressor = zstandard.ZstdDecompressor()


_codec = _Codec()
_pack = msgspec.msgpack.Encoder().encode
_WIDTHS: dict[int, np.dtype[Any]] = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}


def compress(data: bytes) -> bytes:
    return _codec.compressor.compress(data)


def compress_passing(data: bytes) -> bytes:
    """For intermediate records of a load."""
    return _codec.passing_compressor.compress(data)


def decompress(data: bytes) -> bytes:
    return _codec.decompressor.decompress(data)


def column_field(table: str, part: int, column: str) -> str:
    return f"t:{table}:{part}:c:{column}"


def keys_field(table: str, part: int) -> str:
    return f"t:{table}:{part}:k"


def redactions_field(table: str, part: int) -> str:
    return f"t:{table}:{part}:r"


def block_field(table: str, part: int, block: int, *, detail: bool) -> str:
    return f"t:{table}:{part}:{'d' if detail else 'b'}:{block}"


def doc_field(name: str) -> str:
    return f"d:{name}"


def pack(value: Any) -> bytes:
    return _pack(value)


def pack_doc(text: bytes) -> bytes:
    """A document's field. Its pieces can be unpacked side by side, and sent as they are."""
    return _pack(doc_pieces(text) or [compress(text)])


def doc_pieces(text: bytes) -> list[bytes]:
    """Some more pieces of a document that is packed while it is made."""
    return [compress(text[at : at + DOC_PIECE]) for at in range(0, len(text), DOC_PIECE)]


@dataclass(frozen=True, slots=True)
class LoadedColumn:
    """A column as its writers and readers use it: row i's value is `values[codes[i]]`."""

    values: list[Scalar]
    codes: NDArray[np.unsignedinteger[Any]]

    @classmethod
    def of(cls, values: Sequence[Scalar]) -> LoadedColumn:
        """Dictionary-codes one column, in row order. Its values are of one type, or None."""
        index = {value: code for code, value in enumerate(dict.fromkeys(values))}
        return cls(list(index), np.fromiter(map(index.__getitem__, values), np.uint32, len(values)))

    def beginning_with(self, first: Sequence[Scalar]) -> LoadedColumn:
        """The same, where these values have the first codes."""
        index = {value: code for code, value in enumerate(dict.fromkeys(chain(first, self.values)))}
        codes = np.array([index[value] for value in self.values], np.uint32)
        return LoadedColumn(list(index), codes[self.codes] if self.values else self.codes)

    def pack(self) -> bytes:
        width = 1 if len(self.values) <= 1 << 8 else 2 if len(self.values) <= 1 << 16 else 4
        return compress(_pack(ColumnData(self.values, width, self.codes.astype(_WIDTHS[width]).tobytes())))

    @classmethod
    def unpack(cls, data: bytes) -> LoadedColumn:
        column = msgspec.msgpack.decode(decompress(data), type=ColumnData)
        return cls(column.values, np.frombuffer(column.codes, _WIDTHS[column.width]))

    @property
    def size(self) -> int:
        return int(self.codes.nbytes) + 64 * len(self.values)


def joint_counts(columns: Sequence[LoadedColumn], mask: NDArray[np.bool_] | None = None) -> Tally:
    """How many rows (of those that pass) hold each combination of the columns' values, in order of first appearance."""
    joint = np.zeros(columns[0].codes.size, np.int64)
    for column in columns:
        joint = joint * len(column.values) + column.codes
    found, first, counts = np.unique(joint if mask is None else joint[mask], return_index=True, return_counts=True)
    tally: Tally = []
    for at in np.argsort(first):
        code, values = int(found[at]), []
        for column in reversed(columns):
            code, digit = divmod(code, len(column.values))
            values.append(column.values[digit])
        tally.append((tuple(reversed(values)), int(counts[at])))
    return tally


def prefix_of(hex_id: str) -> int:
    """The eight bytes by which a task id is looked up: its first ones, or the actor's where those are all ff (creation tasks)."""
    return int.from_bytes(prefixes_of([hex_id]))


def prefixes_of(hex_ids: Iterable[str]) -> bytes:
    """The same of many ids, one after the other."""
    return bytes.fromhex("".join([i[16:32] if i.startswith(_ALL_ONES) else i[:16] for i in hex_ids]))


def begins_with_ones(hex_id: str) -> bool:
    """Is it looked up by its actor? These ids are a part's last ones."""
    return hex_id.startswith(_ALL_ONES)
