"""When each attempt was submitted, started and ended, and errors, from rendered rows: what rows know and columns do not."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from shared.snapshot_format import BETWEEN_ROWS

_CREATED, _LOGS = b'"creation_time_ms":', b',"task_log_info":'
_ERROR, _BEHIND = b',"error_message":', b',"is_debugger_paused":'


_NAMES = (b'"start_time_ms":', b'"end_time_ms":')
# Of each row in turn: when it was submitted, started and ended (ms).
Times = list[float | None]


class Row(msgspec.Struct, gc=False):
    """What an overview wants of one row."""

    creation_time_ms: float | None = None
    start_time_ms: float | None = None
    end_time_ms: float | None = None
    error_message: str | None = None
    task_id: str = ""
    attempt_number: int = 0
    name: str = ""
    job_id: str = ""
    node_id: str | None = None


_decode_times = msgspec.json.Decoder(Times).decode
_decode_text = msgspec.json.Decoder(str | None).decode
_decode_row = msgspec.json.Decoder(Row).decode
_decode_rows = msgspec.json.Decoder(list[Row]).decode


def read_rows(block: bytes, rows: int, failed: Iterable[int]) -> tuple[Times, list[str]]:
    """The times of all rows of a block's text, and the error messages of some; as `read_whole_rows`, in a quarter of its time.

    What is wanted stands together in a row, and no text in a row can hold its names with their quotes. An object of the user's
    might: then there are more places than rows.
    """
    parts = block.split(_CREATED)
    if len(parts) != rows + 1:
        return read_whole_rows(block, failed)
    times = b",".join([part[: part.find(_LOGS)] for part in parts[1:]])
    for name in _NAMES:
        times = times.replace(name, b"")
    messages = []
    for place in failed:
        part = parts[place + 1]
        message = _decode_text(part[part.find(_ERROR) + len(_ERROR) : part.find(_BEHIND)])
        messages.append(message or "")
    return _decode_times(b"[" + times + b"]"), messages


def read_whole_rows(block: bytes, failed: Iterable[int]) -> tuple[Times, list[str]]:
    rows = _decode_rows(b"[" + block + b"]")
    times = [time for row in rows for time in (row.creation_time_ms, row.start_time_ms, row.end_time_ms)]
    return times, [rows[place].error_message or "" for place in failed]


def row_at(block: bytes, place: int) -> Row:
    return _decode_row(block.split(BETWEEN_ROWS, place + 1)[place])
