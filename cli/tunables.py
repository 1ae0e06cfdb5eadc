"""How the C library keeps memory, for the processes of a worker: it reads this only when one starts. Others than glibc's ignore it."""

from __future__ import annotations

_VARIABLE = "GLIBC_TUNABLES"

# Huge pages, and freed memory is kept for the next block: faulting pages in anew costs a third of a load.
WORKER = {
    _VARIABLE: "glibc.malloc.hugetlb=1:glibc.malloc.trim_threshold=536870912:glibc.malloc.mmap_threshold=536870912:"
    "glibc.malloc.top_pad=67108864"
}
