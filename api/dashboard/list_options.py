"""The query string of the State API's lists, checked as live checks it (Ray: `state_api_utils.options_from_req`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import QueryParams

from api.snapshots.filters import BadFilter, Filter, make_filter, to_bool
from shared.ray.columns import Resource
from shared.ray.proto_json import to_hex

DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000
ALL = "all"
# The hex digits of the ids that live decodes before it filters by them.
_HEX = re.compile("[0-9a-fA-F]*")
_ID_DIGITS: Mapping[str, int] = {"job_id": 8, "actor_id": 32, "task_id": 48}
_ID_BYTES: Mapping[str, int] = {
    "job_id": 4, "actor_id": 16, "placement_group_id": 18, "task_id": 24, "parent_task_id": 24, "node_id": 28, "worker_id": 28,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ListOptions:
    """`limit`: None for all rows, our own option. `source` filters count towards `total` at some resources, as live applies them first."""

    limit: int | None
    detail: bool
    exclude_driver: bool
    source: tuple[Filter, ...]
    filters: tuple[Filter, ...]


def list_options(resource: Resource, query: QueryParams) -> ListOptions:
    """Raises BadFilter."""
    limit = _limit(query.get("limit", str(DEFAULT_LIMIT)))
    _int("timeout", query.get("timeout", "30"))
    given = given_filters(query)
    detail = to_bool(query.get("detail", "false"))
    exclude_driver = to_bool(query.get("exclude_driver", "true"))
    source, others = split_filters(resource, given)
    return ListOptions(limit, detail, exclude_driver, source, others)


def _limit(text: str) -> int | None:
    if text == ALL:
        return None
    limit = _int("limit", text)
    if limit > MAX_LIMIT:
        raise BadFilter(
            f"Given limit {limit} exceeds the supported limit {MAX_LIMIT}. Use a lower limit, or limit={ALL} to have every row."
        )
    if limit < 0:
        raise BadFilter(f"limit={limit} is less than nothing")
    return limit


def given_filters(query: QueryParams) -> list[tuple[str, str, str]]:
    """(key, predicate, value) of every filter. Raises BadFilter."""
    keys, predicates, values = (query.getlist(f"filter_{part}") for part in ("keys", "predicates", "values"))
    if not len(keys) == len(predicates) == len(values):
        raise BadFilter("filter_keys, filter_predicates and filter_values must be given equally often")
    return list(zip(keys, predicates, values, strict=True))


def split_filters(resource: Resource, given: list[tuple[str, str, str]]) -> tuple[tuple[Filter, ...], tuple[Filter, ...]]:
    """Filters that live applies at the source, and the others."""
    source, others = [], []
    for key, predicate, text in given:
        value = _spelled_as_rows_do(key, text)
        made = make_filter(resource, key, predicate, value)
        if key in resource.source_filters:
            if resource.name == "tasks":
                _check_id(key, value)
            source.append(made)
        else:
            others.append(made)
    return tuple(source), tuple(others)


def _spelled_as_rows_do(key: str, text: str) -> str:
    """Events in the bucket write ids in base64: who copies one from there finds it, too."""
    size = _ID_BYTES.get(key.lower())
    if size is None or len(text) == 2 * size:
        return text
    try:
        # An unescaped `+` of a query string is a blank.
        found = to_hex(text.replace(" ", "+"))
    except ValueError:
        return text
    return found if len(found) == 2 * size else text


def _check_id(key: str, value: str) -> None:
    digits = _ID_DIGITS.get(key)
    if digits is None:
        return
    # `bytes.fromhex` would let white space pass.
    if not _HEX.fullmatch(value):
        raise BadFilter("Non-hexadecimal digit found")
    if len(value) % 2:
        raise BadFilter("Odd-length string")
    size = len(value) // 2
    if size * 2 != digits:
        raise BadFilter(f"ID string needs to have length {digits // 2}, got {size}")


def _int(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadFilter(f"{name}={text[:80]!r} is no whole number") from None
