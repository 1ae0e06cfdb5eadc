"""Huge pages: loads fault less of their memory in, and what has little to do would take 2 MB where it needs a few KB."""

from __future__ import annotations

import ctypes
import sys

_PR_SET_THP_DISABLE = 41  # <sys/prctl.h>


def use_huge_pages(*, use: bool) -> None:
    """Shall this process, and what it starts, get them from now on where it asked for them? Linux; nothing elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_THP_DISABLE, int(not use), 0, 0, 0)
