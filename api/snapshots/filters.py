"""The State API's filters: `key=value` and `key!=value`, compared as live compares them (Ray: `state_api_utils.do_filter`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.ray.columns import Column, Resource
from shared.snapshot_format import Scalar

_TRUE, _FALSE = ("True", "true", "1"), ("False", "false", "0")


class BadFilter(ValueError):
    """A filter that live refuses. The message is live's."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter on one column; several mean AND."""

    column: str
    equal: bool
    matches: Callable[[Scalar], bool]
    text: str


def make_filter(resource: Resource, key: str, predicate: str, text: str) -> Filter:
    """Raises BadFilter with live's message."""
    if predicate not in ("=", "!="):
        raise BadFilter(f"Unsupported filter predicate {predicate} is given. Available predicates: =, !=.")
    column = resource.filterable.get(key.lower())
    if column is None:
        raise BadFilter(
            f"The given filter column {key.lower()} is not supported. "
            "Enter filters with –-filter key=value or –-filter key!=value "  # noqa: RUF001 - live's own dash
            f"Supported filter columns: {set(resource.filterable)}"
        )
    matches = _matcher(column, text, equal=predicate == "=")
    if column.absent:
        present = matches
        matches = lambda value: value is not None and present(value)  # noqa: E731
    return Filter(column.name, predicate == "=", matches, text)


def _matcher(column: Column, text: str, *, equal: bool) -> Callable[[Scalar], bool]:
    wanted: Scalar = text if column.nullable else _converted(column, text)
    if not isinstance(wanted, str):
        return (lambda value: value == wanted) if equal else (lambda value: value != wanted)
    folded = wanted.lower()
    if not equal:
        return lambda value: not isinstance(value, str) or value.lower() != folded
    # Live converts the text only once it meets a value of another type.
    return lambda value: value.lower() == folded if isinstance(value, str) else _equal(value, wanted)


def _equal(value: Scalar, text: str) -> bool:
    if isinstance(value, bool):
        return value == to_bool(text)
    if isinstance(value, int):
        return value == _int(text)
    return False


def _converted(column: Column, text: str) -> Scalar:
    try:
        if column.type == "int":
            return int(text)
        if column.type == "float":
            return float(text)
        if column.type == "bool":
            return to_bool(text)
    except ValueError:
        raise BadFilter(f"Invalid filter `--filter {column.name} {text}` for a {column.type} type column.") from None
    return text


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadFilter(f"Failed to convert a value {text} of type <class 'str'> to <class 'int'>") from None


def to_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise BadFilter(f"Failed to convert a value {text} of type <class 'str'> to <class 'bool'>")
