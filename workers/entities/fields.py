"""Reading fields of decoded events: what is missing, null or of another kind reads as its proto default, and is noticed.

Bad values are counted by the `Skipped` of the surrounding `noticing`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from math import isfinite
from typing import Any, cast

from shared.ray.proto_json import id_or_none, ns, to_hex
from workers.bad_data import BAD_DATA, Skipped
from workers.task_events.lines import decode_event, packable

# The same few ids come in many events.
_known_hex = lru_cache(1 << 16)(to_hex)
# Nil ids in base64 and in hex, and the epoch.
_UNSET = re.compile(r"/{5,}w?={0,2}|f{8,}|1970-01-01T00:00:00(?:\.0+)?Z")
_CAPITAL = re.compile(r"(?<=[a-z0-9])[A-Z]")
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_UINT64 = 1 << 64
_noticed: ContextVar[Skipped | None] = ContextVar("noticed", default=None)


@contextmanager
def noticing(skipped: Skipped) -> Iterator[None]:
    token = _noticed.set(skipped)
    try:
        yield
    finally:
        _noticed.reset(token)


def _bad(name: str, value: object) -> None:
    if (skipped := _noticed.get()) is not None:
        skipped("bad_value", f"{name}: {str(value)[:100]!r}")


def part(event: dict[str, Any], name: str) -> dict[str, Any]:
    """A nested message; {} if it is not there."""
    value = event.get(name)
    if isinstance(value, dict):
        return value
    if value is not None:
        _bad(name, value)
    return {}


def parts(event: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A repeated message."""
    value = event.get(name)
    if isinstance(value, list):
        return [item for item in value if isinstance(item, dict)]
    if value is not None:
        _bad(name, value)
    return []


def text(event: dict[str, Any], name: str) -> str:
    value = event.get(name)
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    _bad(name, value)
    return str(value)


def number(event: dict[str, Any], name: str) -> int:
    """An integer, which proto3 JSON writes as text when it is 64 bits wide. 0 for anything else."""
    value = event.get(name)
    if (isinstance(value, float) and isfinite(value)) or (isinstance(value, str) and _INTEGER.fullmatch(value)):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _UINT64:
        return value
    if value is not None and value != "":
        _bad(name, value)
    return 0


def hex_id(event: dict[str, Any], name: str) -> str:
    """An id in lower-case hex; "" if it is not set."""
    value = event.get(name)
    try:
        return _known_hex(value) if value is not None else ""
    except BAD_DATA:
        _bad(name, value)
        return ""


def known_id(event: dict[str, Any], name: str) -> str:
    """The same, and "" for Ray's nil id, which is all ones."""
    return id_or_none(hex_id(event, name)) or ""


def is_default(value: Any) -> bool:
    """Is it what a proto field holds that nobody set? Ray 2.56 prints those, too."""
    if isinstance(value, str):
        return value in ("", "0") or value.endswith("UNSPECIFIED") or bool(_UNSET.fullmatch(value))
    return not value


def time_ns(event: dict[str, Any], name: str = "timestamp") -> int:
    """A proto timestamp in ns since the epoch; 0 if it is not set."""
    value = event.get(name)
    try:
        return ns(value) if value else 0
    except BAD_DATA:
        _bad(name, value)
        return 0


def amounts(event: dict[str, Any], name: str) -> dict[str, float]:
    """A map of resources."""
    found = {}
    for key, value in part(event, name).items():
        try:
            if isinstance(value, int | float | str) and isfinite(amount := float(value)):
                found[key] = amount
                continue
        except BAD_DATA:
            pass
        _bad(f"{name}.{key}", value)
    return found


def named(value: Any, enums: Mapping[str, Sequence[str]]) -> Any:
    """The same message with the names of enum values that came as numbers; `enums` by field."""
    if isinstance(value, list):
        return [named(item, enums) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _name(item, enums[key]) if key in enums else named(item, enums) for key, item in value.items()}


def _name(value: Any, names: Sequence[str]) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return names[value] if is_number and 0 <= value < len(names) else value


def decoded_object(body: bytes | str | None) -> dict[str, Any]:
    """A stored answer, or JSON in a text; {} for none. Raises BAD_DATA for what is no JSON object."""
    event = decode_event(body.encode(errors="replace") if isinstance(body, str) else body) if body else {}
    return cast("dict[str, Any]", packable(event))


def snake_case(value: Any, ids: frozenset[str]) -> Any:
    """A message with proto's own field names, as the State API shows it; fields named in `ids` come out as hex."""
    if isinstance(value, list):
        return [snake_case(item, ids) for item in value]
    if not isinstance(value, dict):
        return value
    renamed = {}
    for key, item in value.items():
        name = _CAPITAL.sub(lambda match: "_" + match[0].lower(), key)
        renamed[name] = hex_id(value, key) if name in ids and isinstance(item, str) else snake_case(item, ids)
    return renamed
