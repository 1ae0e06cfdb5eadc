"""Failed attempts by error type and what their messages share: mergeable, and bounded however many different messages there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from shared.overview import Count, FailureGroup, TaskRef
from shared.ray.error_text import common_part, headline

# Groups of one range of tasks, the largest; what is beyond is counted together, by error type.
_MOST_GROUPS = 300
# Functions and nodes of one group.
_MOST_NAMES = 1000
_SHOWN_NAMES = 10
_EXAMPLE_START, _EXAMPLE_END = 500, 1500
_CUT = "\n...\n"
# No line is like it.
OTHERS = "\n"
_MANY = "(many different messages)"

# Job, error type, and what is common to the messages; OTHERS: nothing.
FailureKey = tuple[str, str, str]


class Example(msgspec.Struct, array_like=True):
    """The first attempt of a group."""

    task: TaskRef
    message: str


class Failures(msgspec.Struct, array_like=True):
    """A group: its line (of the example), and how many there were of each function and on each node. Times in ms, 0: not known."""

    message: str
    count: int = 0
    first: int = 0
    last: int = 0
    functions: dict[str, int] = {}
    nodes: dict[str, int] = {}
    example: Example | None = None

    def add(self, other: Failures) -> None:
        if other.first and (not self.first or other.first < self.first):
            self.first, self.example, self.message = other.first, other.example, other.message
        self.count += other.count
        self.last = max(self.last, other.last)
        self.functions = _most(self.functions, other.functions)
        self.nodes = _most(self.nodes, other.nodes)

    def group(self, error_type: str) -> FailureGroup:
        functions, functions_more = shown(self.functions)
        nodes, nodes_more = shown(self.nodes)
        return FailureGroup(
            error_type=error_type,
            message=self.message,
            count=self.count,
            first_ms=self.first or None,
            last_ms=self.last or None,
            functions=functions,
            functions_more=functions_more,
            nodes=nodes,
            nodes_more=nodes_more,
            example=self.example.task if self.example else None,
            example_message=_both_ends(self.example.message) if self.example else "",
        )


class Failed(msgspec.Struct, gc=False):
    """One failed attempt; `place` tells its row."""

    job_id: str
    error_type: str
    message: str
    ended: int
    function: str
    node_id: str
    place: int


def grouped(failed: Iterable[Failed]) -> dict[FailureKey, tuple[Failures, int]]:
    """The groups of one range, each with the place of its example, which is the first one that ended."""
    groups: dict[FailureKey, list[Failed]] = {}
    lines: dict[str, tuple[str, str]] = {}
    for one in failed:
        if one.message not in lines:
            line = headline(one.message)
            lines[one.message] = line, common_part(line)
        groups.setdefault((one.job_id, one.error_type, lines[one.message][1]), []).append(one)
    if len(groups) > _MOST_GROUPS:
        for key in sorted(groups, key=lambda key: -len(groups[key]))[_MOST_GROUPS:]:
            groups.setdefault((key[0], key[1], OTHERS), []).extend(groups.pop(key))
    return {key: _counted(of_group, _MANY if key[2] == OTHERS else None, lines) for key, of_group in groups.items()}


def _counted(of_group: list[Failed], line: str | None, lines: dict[str, tuple[str, str]]) -> tuple[Failures, int]:
    first = min(of_group, key=lambda one: (one.ended or 1 << 62, one.place))
    functions, nodes = Counter(one.function for one in of_group), Counter(one.node_id for one in of_group if one.node_id)
    message = lines[first.message][0] if line is None else line
    found = Failures(message, len(of_group), first.ended, max(one.ended for one in of_group), dict(functions), dict(nodes))
    return found, first.place


def shown(counts: dict[str, int], most: int = _SHOWN_NAMES) -> tuple[list[Count], int]:
    """The largest counts, and how many others there are."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Count(name, count) for name, count in ordered[:most]], max(0, len(ordered) - most)


def _most(known: dict[str, int], added: dict[str, int]) -> dict[str, int]:
    merged = Counter(known)
    merged.update(added)
    return dict(merged.most_common(_MOST_NAMES)) if len(merged) > _MOST_NAMES else dict(merged)


def _both_ends(message: str) -> str:
    if len(message) <= _EXAMPLE_START + _EXAMPLE_END:
        return message
    return message[:_EXAMPLE_START] + _CUT + message[-_EXAMPLE_END:]
