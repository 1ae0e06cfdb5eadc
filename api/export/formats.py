"""Rows of the State API, which are JSON objects, as pieces of a file format."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

import anyio
import msgspec

from api.sessions.opened import Opened
from api.snapshots.filters import Filter
from api.snapshots.table import TableReader
from shared.errors import ExtraMissing
from shared.ray.columns import Resource


async def rows(opened: Opened, table: TableReader, written: RowFormat, source: Sequence[Filter], *, browser: bool) -> AsyncIterator[bytes]:
    """Its first piece comes with the first rows."""
    begin = written.head()
    async for page in table.stream(source=source, detail=True, browser=browser):
        if page.num_filtered:
            # A slow reader must not find the rest evicted.
            await opened.note_use()
            if piece := begin + await anyio.to_thread.run_sync(written.rows, page.rows):
                yield piece
            begin = b""
    yield begin + await anyio.to_thread.run_sync(written.end)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
Rows = Sequence[bytes]
About = Mapping[str, str]


class RowFormat(Protocol):
    """One file: its head, then rows as often as there are some, then its end. A piece may be empty: rows may wait for more."""

    media_type: str

    def head(self) -> bytes: ...

    def rows(self, rows: Rows) -> bytes: ...

    def end(self) -> bytes: ...


class Ndjson:
    """A row a line, as the State API has it: `jq`, DuckDB and pandas read it as it comes."""

    media_type = "application/x-ndjson"

    def __init__(self, _resource: Resource, _about: About) -> None:
        """Each row has all columns, by name."""

    def head(self) -> bytes:
        return b""

    def rows(self, rows: Rows) -> bytes:
        return b"".join(row + b"\n" for row in rows)

    def end(self) -> bytes:
        return b""


class Csv:
    """A header, then a row a record (RFC 4180); objects and lists as JSON, what is null is empty."""

    media_type = "text/csv; charset=utf-8"

    def __init__(self, resource: Resource, _about: About) -> None:
        self._columns = resource.all

    def head(self) -> bytes:
        return self._written([self._columns])

    def rows(self, rows: Rows) -> bytes:
        return self._written([_cell(values.get(column)) for column in self._columns] for values in map(_decode, rows))

    def end(self) -> bytes:
        return b""

    def _written(self, records: Any) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(records)
        return text.getvalue().encode(errors="replace")


def _cell(value: Any) -> Any:
    return _encode(value).decode() if isinstance(value, dict | list | bool) else value


def _parquet(resource: Resource, about: About) -> RowFormat:
    """Raises ExtraMissing."""
    try:
        from api.export.parquet import Parquet  # noqa: PLC0415 - an extra, which costs 60 MB of memory
    except ModuleNotFoundError as exc:
        raise ExtraMissing("format=parquet needs pyarrow on this server: pip install 'ray-history-server[parquet]'") from exc
    return Parquet(resource, about)


FORMATS: Mapping[str, Callable[[Resource, About], RowFormat]] = {"ndjson": Ndjson, "csv": Csv, "parquet": _parquet}
