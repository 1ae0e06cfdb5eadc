"""Ray's ids as events write them (base64, sometimes URL-safe, or hex) and as every answer shows them (lower-case hex)."""

from __future__ import annotations

import base64
import re

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
# Byte lengths of ids: job 4, actor 16, placement group 18, task 24, object/node/worker 28.
_LENGTHS = (4, 16, 18, 24, 28)


def to_hex(text: str) -> str:
    """Lower-case hex of an id; "" stays "". Raises ValueError if it is neither base64 nor hex."""
    if _HEX.fullmatch(text) and len(text) // 2 in _LENGTHS:
        return text.lower()
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True).hex()
    except ValueError as exc:  # binascii.Error, and text that is not ASCII
        raise ValueError(f"{text[:100]!r} is no id: neither base64 nor hex") from exc


def id_or_none(hex_id: str) -> str | None:
    """None for no id, and for Ray's nil id, which is all ones."""
    return hex_id if hex_id.strip("f") else None
