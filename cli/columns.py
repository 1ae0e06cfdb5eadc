"""Plain aligned columns: what stands in them is there to be copied or cut by a script, so nothing is ever shortened or wrapped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def aligned(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of columns as wide as their widest cell, two spaces apart, without trailing blanks."""
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)
