"""Rows as a Parquet file, written as they are read: the only module that needs pyarrow, which is an extra (`[parquet]`).

The schema follows from the resource alone, so it is the same for every session: ids, states and texts are strings, times are timestamps
in UTC, objects and lists are JSON text. The file's metadata says which session it is of, and what did not fit.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import parquet as pq

from api.snapshots.rows import Rows, pieces
from shared.ray.columns import Column, Resource, ValueType

# Arrow's own pool keeps what it has freed: 35 MB more in an API process, for no speed.
pa.set_memory_pool(pa.system_memory_pool())

MEDIA_TYPE = "application/vnd.apache.parquet"
SCHEMA_VERSION = "1"
# What a row group holds at most, before it is packed: memory is bounded by it.
_GROUP_BYTES = 6 << 20
_GROUP_ROWS = 122_880
# Columns that only some versions of Ray have, as one JSON object.
_OTHER = "other"
_NULL = b"null"
_YEAR_10000 = 253_402_300_800_000
_UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeError, ValueError, TypeError)

_TYPES: dict[ValueType, pa.DataType] = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "time": pa.timestamp("ms", "UTC"),
    "json": pa.string(),
}
_DECODED: dict[ValueType, Any] = {
    "str": str | None,
    "int": int | str | None,
    "float": float | None,
    "bool": bool | None,
    "time": int | float | None,
    "json": msgspec.Raw,
}


class Parquet:
    """A Parquet file, compressed with zstd, in row groups of some MiB. `about`: the file's own metadata."""

    media_type = MEDIA_TYPE

    def __init__(self, resource: Resource, about: Mapping[str, str]) -> None:
        self._columns = resource.columns
        self._names = frozenset(resource.all)
        self._others = resource.as_stored
        self._schema = _schema(resource)
        self._decode = msgspec.json.Decoder(list[_row_type(resource.columns)]).decode  # type: ignore[misc]
        self._values = attrgetter(*(column.name for column in resource.columns))
        self._about = about
        self._unfit: Counter[str] = Counter()
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._sink = _Pieces()
        self._writer = pq.ParquetWriter(self._sink, self._schema, compression="zstd")

    def head(self) -> bytes:
        return self._sink.taken()

    def rows(self, rows: Sequence[bytes]) -> bytes:
        """Rows are written when there are enough of them."""
        # Block by block: as Python's objects rows take several times their bytes.
        for block in [Rows([text]) for text in rows.texts] if isinstance(rows, Rows) else [rows]:
            batch = self._batch(block)
            self._waiting.append(batch)
            self._waiting_bytes += batch.nbytes
            if self._waiting_bytes >= _GROUP_BYTES or sum(map(len, self._waiting)) >= _GROUP_ROWS:
                self._write_group()
        return self._sink.taken()

    def end(self) -> bytes:
        """The rows that still wait, and what makes a file of it."""
        self._write_group()
        about = {**self._about, "schema": SCHEMA_VERSION, "left_out": json.dumps(self._unfit)}
        self._writer.add_key_value_metadata({f"ray_history.{name}": value for name, value in about.items()})
        self._writer.close()
        return self._sink.taken()

    def _write_group(self) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        if table.num_rows:
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._waiting, self._waiting_bytes = [], 0

    def _batch(self, rows: Sequence[bytes]) -> pa.RecordBatch:
        if self._others:
            return self._by_value(rows)
        try:
            decoded = self._decode(b"".join(pieces(b"[", rows, b"]")))
            values = zip(*map(self._values, decoded), strict=True)
            columns = [_array(column, of_column) for column, of_column in zip(self._columns, values, strict=True)]
        except (msgspec.MsgspecError, *_UNFIT):
            return self._by_value(rows)
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _by_value(self, rows: Iterable[bytes]) -> pa.RecordBatch:
        """Each value by itself: one that does not fit its column is left out and counted, its row stays."""
        decoded = [json.loads(row) for row in rows]
        columns = [[self._fitting(column, row.get(column.name)) for row in decoded] for column in self._columns]
        if self._others:
            others = [{name: value for name, value in row.items() if name not in self._names} for row in decoded]
            columns.append([json.dumps(other) if other else None for other in others])
        return pa.RecordBatch.from_arrays(
            [pa.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)], schema=self._schema
        )

    def _fitting(self, column: Column, value: Any) -> Any:
        """What Arrow takes for it; None for what does not fit."""
        if value is None:
            return None
        try:
            made = _FROM_JSON[column.type](value)
            pa.scalar(made, _TYPES[column.type])
        except _UNFIT:
            self._unfit[column.name] += 1
            return None
        return made


def _schema(resource: Resource) -> pa.Schema:
    fields = [pa.field(column.name, _TYPES[column.type]) for column in resource.columns]
    return pa.schema([*fields, pa.field(_OTHER, pa.string())] if resource.as_stored else fields)


def _row_type(columns: Iterable[Column]) -> type[msgspec.Struct]:
    """Decodes the columns and nothing else; what is nested stays text."""
    fields = [(column.name, _DECODED[column.type], msgspec.Raw(_NULL) if column.type == "json" else None) for column in columns]
    return msgspec.defstruct("Row", fields, gc=False)


def _array(column: Column, values: Sequence[Any]) -> pa.Array:
    """Raises one of _UNFIT where a value does not fit the column."""
    if column.type == "json":
        texts = list(map(bytes, values))
        values = [None if text == _NULL else text for text in texts]
    elif column.type == "time":
        values = list(map(_ms, values))
    elif column.type == "int":
        values = [int(value) if isinstance(value, str) else value for value in values]
    return pa.array(values, _TYPES[column.type])


def _ms(value: float | None) -> int | None:
    if not value:
        return None
    ms = round(value)
    if not 0 < ms < _YEAR_10000:
        raise OverflowError("no time that a calendar has")
    return ms


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    # What is no Unicode is shown as `?`, as in the other formats.
    return value.encode(errors="replace").decode()


def _number(value: Any) -> int:
    if isinstance(value, bool | float):
        raise TypeError("no whole number")
    return int(value)


def _time(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no time")
    return _ms(value)


def _same(value: Any) -> Any:
    return value


_FROM_JSON: dict[ValueType, Callable[[Any], Any]] = {
    "str": _text,
    "int": _number,
    "float": _same,
    "bool": _same,
    "time": _time,
    "json": json.dumps,
}


class _Pieces(io.RawIOBase):
    """A file to write to, whose content is taken away piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._at += len(piece)
        return len(piece)

    def taken(self) -> bytes:
        """What was written since it was last asked for."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
