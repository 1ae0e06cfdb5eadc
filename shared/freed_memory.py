"""What a burst of large answers, or a large task, freed goes back to the system: glibc keeps it otherwise, for ever."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_EVERY = 5.0
_WORTH_IT = 16 << 20
_STATM = Path("/proc/self/statm")


@asynccontextmanager
async def giving_back() -> AsyncIterator[None]:
    """While inside, whenever this process has grown."""
    task = asyncio.create_task(_keep_giving_back())
    try:
        yield
    finally:
        task.cancel()


def give_back_above(limit: int) -> None:
    """Now, if this process is larger than `limit` bytes."""
    if resident() > limit:
        give_back()


def give_back() -> None:
    """Nothing where the C library has no `malloc_trim`."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


async def _keep_giving_back() -> None:
    known = resident()
    while True:
        await asyncio.sleep(_EVERY)
        if resident() > known + _WORTH_IT:
            await asyncio.to_thread(give_back)
            known = resident()
