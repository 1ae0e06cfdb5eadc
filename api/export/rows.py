"""What is exported of a loaded session: the rows of a table in a file format, or the trace of its tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import anyio

from api.export.formats import RowFormat
from api.sessions.opened import Opened
from api.snapshots.filters import Filter
from api.snapshots.table import TableReader


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
