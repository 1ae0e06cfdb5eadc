"""What a burst of large answers, or a large task, freed goes back to the system: glibc keeps it otherwise, for ever.

So does the code of libraries that a process has run for the last time.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_EVERY = 5.0
_WORTH_IT = 16 << 20
_STATM = Path("/proc/self/statm")
_SMAPS = Path("/proc/self/smaps")
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r-.p \S+ \S+ \S+ +/")
_MADV_DONTNEED = 4  # <sys/mman.h>


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


def give_back_code() -> None:
    """Of files that are mapped and not written to: what of it runs again is read again, most likely from the system's cache. Linux only."""
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    with suppress(OSError):
        found = None
        for line in _SMAPS.read_text().splitlines():
            found = _MAPPING.match(line) or found
            if found and line.startswith("Anonymous:"):
                # Pages that the loader has changed would come back without that.
                if madvise and line.split()[1] == "0":
                    start, end = (int(text, 16) for text in found.groups())
                    madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)
                found = None


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
