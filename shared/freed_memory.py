"""What a burst of large answers freed goes back to the system: glibc keeps it otherwise, for ever."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

_EVERY = 5.0
_WORTH_IT = 16 << 20
_STATM = Path("/proc/self/statm")


@asynccontextmanager
async def giving_back() -> AsyncIterator[None]:
    """While inside."""
    task = asyncio.create_task(give_back())
    try:
        yield
    finally:
        task.cancel()


async def give_back() -> None:
    """Until it is cancelled; nothing where the C library has no `malloc_trim`."""
    trim = _trim()
    if trim is None:
        return
    known = resident()
    while True:
        await anyio.sleep(_EVERY)
        if resident() > known + _WORTH_IT:
            await anyio.to_thread.run_sync(trim, 0)
            known = resident()


def _trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if _STATM.exists() else None


def resident() -> int:
    """Bytes of this process in memory."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
