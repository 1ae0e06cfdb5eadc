"""The timeline of a session of many tasks, made when it is loaded: of so many rows it takes a request too long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import structlog
from numpy.typing import NDArray

from shared import snapshot_format as fmt
from shared.ray.columns import TASKS
from shared.snapshot_format import LoadedColumn, PartIndex, TableIndex
from shared.timeline import TIMELINE, TIMELINE_TASKS, Trace
from workers.bad_data import PASSING
from workers.task_events.render import DRIVER

log = structlog.get_logger()

# Of fewer tasks the API makes it in a tenth of a second, and here it would take a tenth of a load.
_FEWEST_TASKS = 5_000
# Text beyond this is left to requests: a task may have a thousand spans.
_LONGEST = 64 << 20
_ROWS_AT_ONCE = 2000
_COLUMNS = ("job_id", "type")

ReadFields = Callable[[list[str]], Sequence[bytes | None]]


def timeline_fields(tasks: TableIndex, read: ReadFields, trace: Trace) -> dict[str, bytes]:
    """The snapshot's field of the timeline; none for few tasks. `read` gives fields that this load wrote, `trace` is a new one.

    A defect of ours costs nothing but time: the API makes what is not there.
    """
    kind = fmt.TALLIED.index("type")
    if sum(count for values, count in tasks.tally if values[kind] != DRIVER) < _FEWEST_TASKS:
        return {}
    try:
        pieces = _pieces(_first_rows(tasks, read), trace)
    except PASSING:
        raise
    except Exception:
        log.exception("timeline not prepared")
        return {}
    return {fmt.doc_field(TIMELINE): fmt.pack(pieces)} if pieces else {}


def _pieces(rows: Iterator[list[bytes]], trace: Trace) -> list[bytes]:
    """Of a document. Packed as they come, so that memory is that of some thousand rows. None if the text is too long."""
    length, packed = 0, []
    for some in rows:
        text = trace.events(some)
        length += len(text)
        if length > _LONGEST:
            return []
        packed += fmt.doc_pieces(text)
    return packed + fmt.doc_pieces(trace.end())


def _first_rows(tasks: TableIndex, read: ReadFields) -> Iterator[list[bytes]]:
    """Of all tasks but drivers, in id order: as many as a timeline has, some thousand at a time."""
    left = TIMELINE_TASKS
    for number, part in enumerate(tasks.parts):
        if not part.rows or not left:
            continue
        jobs, kinds = (
            LoadedColumn.unpack(data) for data in _written(read, [fmt.column_field(TASKS.name, number, name) for name in _COLUMNS])
        )
        is_task = np.array([kind != DRIVER for kind in kinds.values])[kinds.codes]
        wanted = np.flatnonzero(is_task)[:left]
        left -= wanted.size
        # Rows lie clustered by job.
        in_blocks = np.argsort(np.argsort(jobs.codes, kind="stable"))[wanted]
        for at in range(0, wanted.size, _ROWS_AT_ONCE):
            yield _rows_at(number, part, in_blocks[at : at + _ROWS_AT_ONCE], read)


def _rows_at(number: int, part: PartIndex, row_numbers: NDArray[np.intp], read: ReadFields) -> list[bytes]:
    """Rows of a part, by their numbers in its blocks."""
    starts = np.asarray(part.blocks)
    blocks, of_row = np.unique(np.searchsorted(starts, row_numbers, side="right") - 1, return_inverse=True)
    texts = _written(read, [fmt.block_field(TASKS.name, number, block, detail=True) for block in blocks.tolist()])
    rows = [fmt.decompress(text).split(fmt.BETWEEN_ROWS) for text in texts]
    return [rows[block][at] for block, at in zip(of_row.tolist(), (row_numbers - starts[blocks][of_row]).tolist(), strict=True)]


def _written(read: ReadFields, names: list[str]) -> list[bytes]:
    found = [data for data in read(names) if data is not None]
    if len(found) < len(names):
        raise LookupError(f"not all of {', '.join(names[:3])}, ... are in what this load wrote")
    return found
