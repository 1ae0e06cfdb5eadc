"""How the C library gives memory to a process of ours. glibc reads its variable when a process starts; other libraries ignore it."""

from __future__ import annotations

import ctypes
import os

from shared.huge_pages import use_huge_pages

_VARIABLE = "GLIBC_TUNABLES"
_LARGE = 536_870_912
_API_MMAP, _API_TRIM, _API_ARENAS = 1_048_576, 8_388_608, 2

# Huge pages, and freed memory is kept for the next block: faulting pages in anew costs a third of a load.
WORKER = {
    _VARIABLE: f"glibc.malloc.hugetlb=1:glibc.malloc.trim_threshold={_LARGE}:glibc.malloc.mmap_threshold={_LARGE}"
    ":glibc.malloc.top_pad=67108864"
}
# Huge pages here, too: the first page of 10,000 tasks is 23 MB that must be faulted in. Few arenas, and large blocks go back to the system
# when they are freed: a burst of large answers leaves nothing but the cache.
API = {
    _VARIABLE: f"glibc.malloc.hugetlb=1:glibc.malloc.arena_max={_API_ARENAS}:glibc.malloc.mmap_threshold={_API_MMAP}"
    f":glibc.malloc.trim_threshold={_API_TRIM}"
}
# <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
_TOP_PAD = 131_072


def forget_worker() -> None:
    """What this process starts anew is not to read what it was started with itself."""
    if os.environ.get(_VARIABLE) == WORKER[_VARIABLE]:
        del os.environ[_VARIABLE]


def become_api() -> None:
    """Of a process that was forked from one started as `WORKER`."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        for parameter, value in (
            (_M_ARENA_MAX, _API_ARENAS),
            (_M_MMAP_THRESHOLD, _API_MMAP),
            (_M_TRIM_THRESHOLD, _API_TRIM),
            (_M_TOP_PAD, _TOP_PAD),
        ):
            mallopt(parameter, value)
    use_huge_pages(use=True)
