"""Event times (RFC 3339 text with 0 to 9 decimals), and offsets of zones as Ray's dashboard tells them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|z|[+-]\d\d:\d\d)", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)", re.ASCII)
_LAST = 1 << 63


def ns(timestamp: str) -> int:
    """Nanoseconds since the epoch. Raises ValueError for other text, and for times that no clock of a cluster shows (before 1970,
    beyond the year 2262, where a signed 64-bit count of ns ends).
    """
    match = _RFC3339.fullmatch(timestamp)
    if not match:
        raise ValueError(f"{timestamp[:100]!r} is no RFC 3339 time")
    day, clock, fraction, zone = match.groups()
    moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
    found = int(moment.timestamp()) * 10**9 + int((fraction or "").ljust(9, "0"))
    if not 0 <= found < _LAST:
        raise ValueError(f"{timestamp!r} is out of range")
    return found


def utc_offset(shown: str) -> timedelta | None:
    """Of `+09:00`; None for any other text."""
    match = _OFFSET.fullmatch(shown)
    if not match:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -offset if match[1] == "-" else offset
