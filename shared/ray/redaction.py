"""What a browser may not see: the values of `env_vars` in runtime environments (Ray: `dashboard/runtime_env_redaction.py`)."""

from __future__ import annotations

import json
from typing import Any

import msgspec

REDACTED = "<redacted>"
_HIDDEN = "env_vars"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def redact_serialized_runtime_env(text: str | None) -> str | None:
    """A runtime environment in a string, without secret values. What can't be parsed is hidden as a whole."""
    if not text:
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return REDACTED
    if not isinstance(value, dict):
        return REDACTED
    return json.dumps(_without_values(value), sort_keys=True)


def redact(value: Any) -> Any:
    """A copy of a JSON tree with every runtime environment in it redacted, at any depth."""
    if isinstance(value, list):
        return [redact(item) for item in value]
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for key, item in value.items():
        if key == "runtime_env" and isinstance(item, dict):
            result[key] = _without_values(item)
        elif key == "serialized_runtime_env" and isinstance(item, str):
            result[key] = redact_serialized_runtime_env(item)
        else:
            result[key] = redact(item)
    return result


def redact_rows(rows: list[bytes]) -> list[bytes]:
    """The same for rows of JSON text; those without a runtime environment are not decoded."""
    return [_encode(redact(_decode(row))) if b"runtime_env" in row else row for row in rows]


def _without_values(runtime_env: dict[str, Any]) -> dict[str, Any]:
    secrets = runtime_env.get(_HIDDEN)
    return {**runtime_env, _HIDDEN: dict.fromkeys(secrets, REDACTED)} if isinstance(secrets, dict) else runtime_env
