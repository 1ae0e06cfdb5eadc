"""Reading fields of a decoded event: null and absent are the proto's default, and a value of another kind costs only itself.

The freedoms of proto3 JSON are read: enums by name or number, 64-bit integers as text or number, ids in either base64 or in hex.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from shared.ray.proto_json import ns, to_hex
from workers.bad_data import BAD_DATA, Skipped

Fields = dict[str, Any]
TASK_ID_LENGTH = 48
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_INT64 = 1 << 63
# The same few ids come in many events.
known_hex = lru_cache(1 << 16)(to_hex)


def _bad(skipped: Skipped, name: str, value: object) -> None:
    skipped("bad_value", f"{name}: {str(value)[:100]!r}")


def message(fields: Fields, name: str, skipped: Skipped) -> Fields | None:
    value = fields.get(name)
    if isinstance(value, dict) or value is None:
        return value
    _bad(skipped, name, value)
    return None


def messages(fields: Fields, name: str, skipped: Skipped) -> list[Fields]:
    values = fields.get(name) or []
    found = [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    if found != values:
        _bad(skipped, name, values)
    return found


def optional_text(fields: Fields, name: str, skipped: Skipped) -> str | None:
    value = fields.get(name)
    if isinstance(value, str) or value is None:
        return value
    _bad(skipped, name, value)
    return None


def text(fields: Fields, name: str, skipped: Skipped) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else optional_text(fields, name, skipped) or ""


def enum(fields: Fields, name: str, names: Sequence[str], skipped: Skipped) -> str:
    """A name, also one that is not known yet; `names` are those of the numbers."""
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names) and names[value]:
        return names[value]
    return names[0] if value is None else text(fields, name, skipped)


def optional_integer(fields: Fields, name: str, skipped: Skipped) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if (isinstance(value, str) and _INTEGER.fullmatch(value)) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64:
        return value
    _bad(skipped, name, value)
    return None


def integer(fields: Fields, name: str, skipped: Skipped) -> int:
    return optional_integer(fields, name, skipped) or 0


def boolean(fields: Fields, name: str, skipped: Skipped) -> bool | None:
    value = fields.get(name)
    if isinstance(value, bool) or value is None:
        return value
    _bad(skipped, name, value)
    return None


def hex_id(fields: Fields, name: str, skipped: Skipped) -> str:
    """An id in lower-case hex; "" if it is not set."""
    value = text(fields, name, skipped)
    try:
        return known_hex(value)
    except ValueError:
        _bad(skipped, name, value)
        return ""


def time(fields: Fields, name: str, skipped: Skipped) -> int:
    """Nanoseconds since the epoch; 0 if it is not set."""
    value = text(fields, name, skipped)
    try:
        return ns(value) if value else 0
    except ValueError:
        _bad(skipped, name, value)
        return 0


def json_map(fields: Fields, name: str, kind: type[str | float], skipped: Skipped) -> str:
    """A map of texts or of doubles, as JSON text."""
    found = {}
    for key, given in (message(fields, name, skipped) or {}).items():
        is_integer = isinstance(given, int) and not isinstance(given, bool) and -_INT64 <= given < _INT64
        value = float(given) if kind is float and is_integer else given
        if isinstance(value, kind):
            found[key] = value
        else:
            _bad(skipped, f"{name}.{key}", given)
    return msgspec.json.encode(found).decode()


def json_value(fields: Fields, name: str, skipped: Skipped) -> str:
    """Any value as JSON text; "" if it is not set."""
    value = fields.get(name)
    try:
        return "" if value is None else msgspec.json.encode(value).decode()
    except BAD_DATA:
        _bad(skipped, name, value)
        return ""
