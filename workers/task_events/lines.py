"""Lines of event files to decoded events. A line that a collector did not finish costs only itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from math import isfinite
from typing import Any

import msgspec

from shared.ray.proto_json import EVENT_TYPES
from workers.bad_data import BAD_DATA, Skipped

_UNDERSCORE = re.compile(r"_([a-z0-9])")
# Their keys are data, not field names.
_MAPS = frozenset(
    {
        "requiredResources",
        "labelSelector",
        "refIds",
        "labels",
        "resources",
        "metadata",
        "customFields",
        "envVars",
        "unitResources",
        "customResources",
    }
)


def camel_case(value: Any) -> Any:
    """The same event with camelCase field names: some collectors keep proto's own (`PRESERVE_PROTO_FIELD_NAME`)."""
    if isinstance(value, list):
        return [camel_case(item) for item in value]
    if not isinstance(value, dict):
        return value
    renamed = {}
    for key, item in value.items():
        name = _UNDERSCORE.sub(lambda match: match[1].upper(), key)
        renamed[name] = item if name in _MAPS else camel_case(item)
    return renamed


_decode = msgspec.json.Decoder(Any).decode
_pack = msgspec.msgpack.Encoder().encode
_SURROGATE = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
_lone_surrogates = re.compile(_SURROGATE, re.DOTALL)
_numbers = re.compile(r'"(?:[^"\\]++|\\.)*+"|(-?\d[\d.eE+-]*)', re.DOTALL)
_LONGEST_NUMBER = 300
# What is deeper could not be written again.
DEEPEST = 100
_BEGINNINGS = (b'{"eventId":', b'{"event_id":')
_INT64 = 1 << 63


def decode_lines(text: bytes, skipped: Skipped) -> Iterator[dict[str, Any]]:
    """The events of a text of whole lines, with camelCase names, their type by name."""
    for line in text.split(b"\n"):
        if line := line.strip():
            yield from _events_in(line, skipped)


def _events_in(line: bytes, skipped: Skipped) -> Iterator[dict[str, Any]]:
    try:
        whole = _event(line)
    except BAD_DATA as exc:
        skipped("bad_line", f"{exc}: {line[:100].decode(errors='replace')}")
    else:
        yield whole
        return
    # A collector that was killed within a line goes on behind it, with a whole event.
    at = max(line.rfind(beginning) for beginning in _BEGINNINGS)
    if at > 0:
        with suppress(*BAD_DATA):
            yield _event(line[at:])


def _event(line: bytes) -> dict[str, Any]:
    event = decode_event(line)
    if "eventType" not in event and "event_type" in event:
        event = camel_case(event)
    kind = event.get("eventType")
    if isinstance(kind, int) and not isinstance(kind, bool) and 0 <= kind < len(EVENT_TYPES):
        event["eventType"] = EVENT_TYPES[kind]
    return event


def decode_event(line: bytes) -> dict[str, Any]:
    """A JSON object. Raises BAD_DATA for what is none, or nested too deeply."""
    event = decode_json(line)
    if not isinstance(event, dict):
        raise TypeError("it is no JSON object")
    return event


def decode_json(text: bytes) -> Any:
    """Any JSON, repaired where that is possible. Raises BAD_DATA."""
    try:
        value = _decode(text)
    except BAD_DATA:
        value = _decode(_repaired(text.decode(errors="replace")))
    if text.count(b"{") + text.count(b"[") > DEEPEST and _depth(value) > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} levels deep")
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value] if isinstance(value, dict | list) else []
    while level:
        depth += 1
        children = (item for parent in level for item in (parent.values() if isinstance(parent, dict) else parent))
        level = [item for item in children if isinstance(item, dict | list)]
    return depth


def _repaired(text: str) -> str:
    """Half of a surrogate pair is no character, and a number may be beyond all types: each costs itself."""
    text = _lone_surrogates.sub(lambda found: "\\ufffd" if found[1] else found[0], text)
    return _numbers.sub(lambda found: f'"{found[1][:20]}..."' if found[1] and _is_huge(found[1]) else found[0], text)


def _is_huge(number: str) -> bool:
    try:
        return len(number) > _LONGEST_NUMBER or not isfinite(float(number))
    except ValueError:
        return False


def packable(value: Any) -> Any:
    """The same tree without integers beyond 64 bits, which msgpack cannot hold."""
    try:
        _pack(value)
    except OverflowError:
        return _without_huge(value)
    return value


def _without_huge(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_huge(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_huge(item) for item in value]
    return str(value) if isinstance(value, int) and not -_INT64 <= value < _INT64 else value
