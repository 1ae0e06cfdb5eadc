"""What commands print: columns, and failures as one line on stderr with exit code 1 (2 for wrong usage), no traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence


class Failed(Exception):
    """The command could not do what was asked. The message is the one line that the user reads."""


def failed(message: str, code: int = 1) -> int:
    """Say so; the exit code."""
    print("ray-history: " + " ".join(message.split()), file=sys.stderr)
    return code


def aligned(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of columns as wide as their widest cell, two spaces apart, without trailing blanks.

    Never shortened or wrapped: what stands in them is there to be copied or cut by a script.
    """
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)
