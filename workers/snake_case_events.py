"""Events of collectors that kept proto field names (`PRESERVE_PROTO_FIELD_NAME`): snake_case keys to the usual camelCase ones."""

from __future__ import annotations

import re
from typing import Any

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
    """The same event with camelCase field names."""
    if isinstance(value, list):
        return [camel_case(item) for item in value]
    if not isinstance(value, dict):
        return value
    renamed = {}
    for key, item in value.items():
        name = _UNDERSCORE.sub(lambda match: match[1].upper(), key)
        renamed[name] = item if name in _MAPS else camel_case(item)
    return renamed
