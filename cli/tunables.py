"""How the C library keeps memory, for each kind of process: it reads this only when one starts. Others than glibc's ignore it."""

from __future__ import annotations

_VARIABLE = "GLIBC_TUNABLES"

# Huge pages, and freed memory is kept for the next block: faulting pages in anew costs a third of a load.
WORKER = {
    _VARIABLE: "glibc.malloc.hugetlb=1:glibc.malloc.trim_threshold=536870912:glibc.malloc.mmap_threshold=536870912:"
    "glibc.malloc.top_pad=67108864"
}
# Few arenas, and large blocks go back to the system when they are freed: a burst of large answers leaves nothing but the cache.
API = {_VARIABLE: "glibc.malloc.arena_max=2:glibc.malloc.mmap_threshold=1048576:glibc.malloc.trim_threshold=8388608"}
