"""Walking JSON answers: leaves, paths, points in time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

ID_KEY = re.compile(r"[0-9a-f]{8}|[0-9a-f]{16,}")
_TIME_KEY = re.compile(r"(?<!create)[tT]ime|_ms$|_ns$|Ms$|^ts$")
# Seconds, ms, us and ns since the epoch, told by their size; and what makes ms of them.
_UNITS = ((1e9, 1e3), (1e12, 1.0), (1e15, 1e-3), (1e18, 1e-6))


class _Missing:
    def __repr__(self) -> str:
        return "<absent>"


MISSING: Any = _Missing()


def parse(text: str) -> Any:
    """MISSING for what is no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return MISSING


def join(path: str, key: str) -> str:
    key = "@" if ID_KEY.fullmatch(key) else key
    return f"{path}.{key}" if path else key


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with its path; an empty object or array is one."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, join(path, key))
    elif isinstance(value, list) and value:
        for item in value:
            yield from leaves(item, join(path, "#"))
    else:
        yield path, value


def dig(value: Any, dotted: str) -> Any:
    for key in filter(None, dotted.split(".")):
        value = value.get(key, MISSING) if isinstance(value, dict) else MISSING
    return value


def to_ms(value: Any) -> float:
    """A point in time, whatever its unit, in ms; 0 for anything else."""
    if isinstance(value, bool) or not (isinstance(value, int | float) or (isinstance(value, str) and value[:20].isdigit())):
        return 0.0
    number = float(value)
    return next((number * factor for low, factor in _UNITS if low <= number < low * 10), 0.0)


def touches(value: Any, span: tuple[float, float]) -> bool:
    """Does anything in it carry a time within the span (ms)?"""
    return any(_TIME_KEY.search(path.rsplit(".", 1)[-1]) and span[0] < to_ms(leaf) < span[1] for path, leaf in leaves(value))


def rows_of(answer: Any) -> list[Any]:
    """The rows of any list answer."""
    for path in ("data.result.result", "data.actors", "data.summary"):
        found = dig(answer, path)
        if isinstance(found, list):
            return found
        if isinstance(found, dict) and path == "data.actors":
            return list(found.values())
    return answer if isinstance(answer, list) else []


def named_timeline(rows: list[Any]) -> list[Any]:
    """A Chrome trace whose running pid and tid are replaced by the node and worker that they stand for."""
    if any(not isinstance(row, dict) for row in rows):
        return rows
    names = {(row.get("name"), row.get("pid"), row.get("tid")): dig(row, "args.name") for row in rows if row.get("ph") == "M"}
    return [
        {
            **row,
            "pid": names.get(("process_name", row.get("pid"), None), row.get("pid")),
            "tid": names.get(("thread_name", row.get("pid"), row.get("tid")), row.get("tid")),
        }
        for row in rows
        if row.get("ph") != "M"
    ]
