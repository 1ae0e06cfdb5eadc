"""What the OpenAPI document says of answers, where FastAPI cannot read it off a route."""

from __future__ import annotations

from typing import Annotated, Any, cast

import msgspec
from fastapi import Path, Query

from shared.sessions import KINDS

Responses = dict[int | str, dict[str, Any]]

_PROBLEM = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable; docs/errors.md lists them."},
    },
    "required": ["type", "title", "status", "detail", "code"],
}
# Of every route: whatever is wrong. It takes the place of FastAPI's own 422, which is never sent.
PROBLEM: Responses = {
    "default": {"description": "Problem details (RFC 9457)", "content": {"application/problem+json": {"schema": _PROBLEM}}}
}


def answer(description: str, content_type: str = "application/json") -> dict[str, Any]:
    """One more answer of a route; `content_type` "": it has no body."""
    return {"description": description, **({"content": {content_type: {"schema": {}}}} if content_type else {})}


def schema_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON schema of a body, whole: an OpenAPI document has its definitions in another place."""
    schema = msgspec.json.schema(struct)
    return cast("dict[str, Any]", _inlined(schema, schema.pop("$defs")))


def _inlined(value: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_inlined(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _inlined(definitions[value["$ref"].rpartition("/")[2]], definitions)
    return {key: _inlined(item, definitions) for key, item in value.items()}


# Said, not checked here: what reads a parameter checks it, and says what is wrong in its own words.
def valid_if(pattern: str, description: str = "") -> Any:
    """A parameter of a query: what matches `pattern` is valid."""
    return Query(description=description or None, json_schema_extra={"pattern": f"^{pattern}$"})


def one_of(*values: str, description: str = "") -> Any:
    """A parameter of a query that has one of these values."""
    return Query(description=description or None, json_schema_extra={"enum": list(values)})


_NAME = r"^[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?$"
_DATE = r"20\d\d-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])"
_TIME = rf"session_{_DATE}_([01]\d|2[0-3])-[0-5]\d-[0-5]\d_\d{{1,6}}(_\d{{1,9}})?"
MOMENT = rf"({_DATE}(T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ)?|\d{{1,10}})?"
Namespace = Annotated[str, Path(json_schema_extra={"pattern": _NAME})]
Kind = Annotated[str, Path(json_schema_extra={"enum": list(KINDS)})]
Name = Annotated[str, Path(json_schema_extra={"pattern": _NAME})]
SessionName = Annotated[str, Path(json_schema_extra={"pattern": f"^(latest|live|{_TIME})$"})]
