"""Reading fields of decoded events: whatever is missing, null or of another type reads as its proto default."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from shared.ray.ids import id_or_none, to_hex
from shared.ray.times import ns

# The same few ids come in many events.
_known_hex = lru_cache(1 << 16)(to_hex)
# Nil ids in base64 and in hex, and the epoch.
_UNSET = re.compile(r"/{5,}w?={0,2}|f{8,}|1970-01-01T00:00:00(?:\.0+)?Z")
_CAPITAL = re.compile(r"(?<=[a-z0-9])[A-Z]")


def part(event: dict[str, Any], name: str) -> dict[str, Any]:
    """A nested message; {} if it is not there."""
    value = event.get(name)
    return value if isinstance(value, dict) else {}


def parts(event: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A repeated message."""
    value = event.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(event: dict[str, Any], name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else "" if value is None else str(value)


def number(event: dict[str, Any], name: str) -> int:
    """An integer, which proto3 JSON writes as text when it is 64 bits wide. 0 for anything else."""
    value = event.get(name)
    try:
        return int(value) if value else 0
    except (TypeError, ValueError):
        return 0


def hex_id(event: dict[str, Any], name: str) -> str:
    """An id in lower-case hex; "" if it is not set. Raises ValueError if it is no id."""
    value = event.get(name)
    return _known_hex(value) if isinstance(value, str) else ""


def known_id(event: dict[str, Any], name: str) -> str:
    """The same, and "" for Ray's nil id, which is all ones."""
    return id_or_none(hex_id(event, name)) or ""


def is_default(value: Any) -> bool:
    """Is it what a proto field holds that nobody set? Ray 2.56 prints those, too."""
    if isinstance(value, str):
        return value in ("", "0") or value.endswith("UNSPECIFIED") or bool(_UNSET.fullmatch(value))
    return not value


def time_ns(event: dict[str, Any], name: str = "timestamp") -> int:
    """A proto timestamp in ns since the epoch; 0 if it is not set. Raises ValueError for other text."""
    value = event.get(name)
    return ns(value) if isinstance(value, str) and value else 0


def amounts(event: dict[str, Any], name: str) -> dict[str, float]:
    """A map of resources."""
    return {key: float(value) for key, value in part(event, name).items() if isinstance(value, int | float)}


def snake_case(value: Any, ids: frozenset[str]) -> Any:
    """A message with proto's own field names, as the State API shows it; fields named in `ids` come out as hex."""
    if isinstance(value, list):
        return [snake_case(item, ids) for item in value]
    if not isinstance(value, dict):
        return value
    renamed = {}
    for key, item in value.items():
        name = _CAPITAL.sub(lambda match: "_" + match[0].lower(), key)
        renamed[name] = to_hex(item) if name in ids and isinstance(item, str) else snake_case(item, ids)
    return renamed
