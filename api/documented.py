"""What the OpenAPI document says of answers, where FastAPI cannot read it off a route."""

from __future__ import annotations

from typing import Any

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
