"""Rows of the State API, which are JSON objects, as lines of a file format."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from shared.ray.columns import Resource

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
Rows = Sequence[bytes]


class Ndjson:
    """A row a line, as the State API has it: `jq`, DuckDB and pandas read it as it comes."""

    media_type = "application/x-ndjson"

    def __init__(self, _resource: Resource) -> None:
        """Each row has all columns, by name."""

    def head(self) -> bytes:
        return b""

    def lines(self, rows: Rows) -> bytes:
        return b"".join(row + b"\n" for row in rows)


class Csv:
    """A header, then a row a record (RFC 4180); objects and lists as JSON, what is null is empty."""

    media_type = "text/csv; charset=utf-8"

    def __init__(self, resource: Resource) -> None:
        self._columns = resource.all

    def head(self) -> bytes:
        return self._written([self._columns])

    def lines(self, rows: Rows) -> bytes:
        return self._written([_cell(values.get(column)) for column in self._columns] for values in map(_decode, rows))

    def _written(self, records: Any) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(records)
        return text.getvalue().encode(errors="replace")


def _cell(value: Any) -> Any:
    return _encode(value).decode() if isinstance(value, dict | list | bool) else value


FORMATS: dict[str, Callable[[Resource], Ndjson | Csv]] = {"ndjson": Ndjson, "csv": Csv}
