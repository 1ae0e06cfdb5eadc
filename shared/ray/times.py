"""Event times: RFC 3339 text with 0 to 9 decimals, to whole milliseconds as live shows them (rounded down)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# By the text up to the decimal point.
_SECONDS: dict[str, str] = {}
_SECONDS_KEPT = 100_000
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|z|[+-]\d\d:\d\d)")


def ms_text(timestamp: str) -> str:
    """Milliseconds since the epoch, as digits. Raises ValueError for other text."""
    head = timestamp[:20]
    second = _SECONDS.get(head)
    if second is None and head[19:] == ".":
        second = _second(head)
    if second is not None and len(timestamp) >= 24 and timestamp[-1] == "Z":
        return second + timestamp[20:23]
    return str(ns(timestamp) // 10**6)


def ns(timestamp: str) -> int:
    """Nanoseconds since the epoch. Raises ValueError for other text."""
    match = _RFC3339.fullmatch(timestamp)
    if not match:
        raise ValueError(f"{timestamp!r} is no RFC 3339 time")
    day, clock, fraction, zone = match.groups()
    moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
    return int(moment.timestamp()) * 10**9 + int((fraction or "").ljust(9, "0"))


def _second(head: str) -> str:
    if len(_SECONDS) >= _SECONDS_KEPT:
        _SECONDS.clear()
    text = _SECONDS[head] = str(int(datetime.fromisoformat(head[:-1]).replace(tzinfo=UTC).timestamp()))
    return text
