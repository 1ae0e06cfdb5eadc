"""Keys as live's JSON shows them: `snake_case` to `snakeCase` (Ray: `dashboard/utils.to_google_style`)."""

from __future__ import annotations

from typing import Any


def google_style(value: Any) -> Any:
    """The same JSON tree with every key converted, keys that are data included, as live does it."""
    if isinstance(value, list):
        return [google_style(item) if isinstance(item, dict) else item for item in value]
    if isinstance(value, dict):
        return {_camel(key): google_style(item) for key, item in value.items()}
    return value


def _camel(key: str) -> str:
    first, *others = key.split("_")
    return first + "".join(word.title() for word in others) if others else key
