"""Compares one served answer with the recorded one, leaf by leaf."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Any

from tests.conformance.json_tree import ID_KEY, MISSING, dig, join, leaves, parse, to_ms, touches
from tests.conformance.recording import Recording
from tests.conformance.rules import ARBITRARY, EMPTY, GREW, LATE, LOST, Rule, covering

# What identifies a row: the first of these that every recorded row has.
_ROW_KEYS = (
    ("task_id", "attempt_number"), ("eventId",), ("actor_id",), ("actorId",), ("worker_id",), ("workerId",), ("placement_group_id",),
    ("node_id",), ("raylet.nodeId",), ("job_id", "submission_id"), ("key", "type"), ("replica_id",), ("dataset",), ("operator",),
    ("cat", "ts", "args.task_id", "args.attempt_number"), ("event_name", "start_time"), ("bundle_id.bundle_index",), ("state",), ("name",),
)  # fmt: skip
_TOP = "data.result.result.#"
_EMPTIES: tuple[Any, ...] = (None, "", {}, [])


@dataclass(frozen=True, slots=True)
class Difference:
    path: str
    row: str
    live: Any
    served: Any
    leaves: int


class Entity:
    """A row or the one thing that an answer is about; asked only when it differs why it may."""

    def __init__(self, recording: Recording, live: Any, served: Any, key: str = "", parent: Entity | None = None) -> None:
        self._recording, self.live, self._served, self.key, self._parent = recording, live, served, key, parent

    @cached_property
    def why(self) -> str:
        known = self._recording
        if any(touches(side, known.late) for side in (self._served, self.live)) or known.late_ids & set(self.key.split("/")):
            return LATE
        if self._parent:
            return self._parent.why
        return LOST if dig(self.live, "node_id") in known.lost_nodes else ""


class Comparison:
    """Counts equal leaves; keeps what differs, and why leaves were excused.

    `resource` is that of the URL, `grows` says that a log may have grown, `truncated` that live showed fewer rows than it found.
    """

    def __init__(self, recording: Recording, rule: Rule, resource: str = "", *, grows: bool = False, truncated: bool = False) -> None:
        self._recording, self._rule, self._resource, self._grows, self._truncated = recording, rule, resource, grows, truncated
        self.leaves = self.equal = 0
        self.differences: list[Difference] = []
        self.excused: Counter[str] = Counter()
        self._used: Counter[str] = Counter()

    def check(self, right: bool, path: str, live: Any, served: Any, entity: Entity | None = None, count: int = 1) -> None:
        """Count leaves as equal, or as different unless something excuses them."""
        why = "" if right or entity is None else entity.why
        if right:
            self.leaves, self.equal = self.leaves + count, self.equal + count
        elif why == LATE or (why == LOST and (served is MISSING or served in _EMPTIES)):
            self.excused[why] += count
        elif live is MISSING and served in _EMPTIES:
            self.excused[EMPTY] += count
        elif self._within_counts(path, live, served, entity):
            self.excused[LATE] += count
        else:
            self.leaves += count
            self.differences.append(Difference(path, entity.key if entity else "", live, served, count))

    def _within_counts(self, path: str, live: Any, served: Any, entity: Entity | None) -> bool:
        """Counters may be off by as many rows as changed late; so may lists of names."""
        covered = covering(self._rule.counts, path)
        if covered is None:
            return False
        resource = self._rule.counts[covered]
        if resource == "name":
            counted = path + str(entity and dig(entity.live, "name"))
            slack = sum(number for name, number in self._recording.late_names.items() if name in counted)
        else:
            slack = self._recording.late_counts[self._resource if resource == "auto" else resource]
        numbers = [0 if side is MISSING else side for side in (live, served)]
        if not any(isinstance(number, str) for number in numbers):
            return bool(abs((numbers[0] or 0) - (numbers[1] or 0)) <= slack)
        self._used[path] += 1
        return self._used[path] <= slack

    def walk(self, live: Any, served: Any, path: str = "", entity: Entity | None = None) -> None:
        rule = self._rule
        if path and (why := self._excuse(path, live)):
            self.excused[why] += sum(1 for _ in leaves(served if live is MISSING else live))
        elif isinstance(live, dict) and isinstance(served, dict) and (live or served):
            for key in [*live, *(key for key in served if key not in live)]:
                a, b = live.get(key, MISSING), served.get(key, MISSING)
                is_entity = ID_KEY.fullmatch(key) and (isinstance(a, dict) or isinstance(b, dict))
                self.walk(a, b, join(path, key), Entity(self._recording, a, b, key, entity) if is_entity else entity)
        elif isinstance(live, list) and isinstance(served, list) and (live or served):
            self._rows(live, served, join(path, "#"), entity)
        elif live != served and any(side is MISSING or isinstance(side, dict | list) for side in (live, served)):
            for below, leaf in leaves(served if live is MISSING else live, path):  # one side lacks a whole value
                if why := self._excuse(below, leaf):
                    self.excused[why] += 1
                else:
                    self.check(False, below, *((MISSING, leaf) if live is MISSING else (leaf, MISSING)), entity)
        elif isinstance(live, str) and isinstance(served, str) and covering(rule.lines, path):
            self.text(live, served, path)
        elif isinstance(live, str) and isinstance(served, str) and covering(rule.bag, path):
            self._bag(rule.substituted(live).splitlines(), rule.substituted(served).splitlines(), path, entity)
        else:
            self.check(self._same(live, served, path), path, live, served, entity)

    def _excuse(self, path: str, live: Any) -> str:
        rule = self._rule
        if covered := covering(rule.excuse, path):
            return rule.excuse[covered]
        if covered := covering(rule.excuse_value, path):
            pattern, why = rule.excuse_value[covered]
            return why if re.search(pattern, str(live)) else ""
        return ""

    def _same(self, live: Any, served: Any, path: str) -> bool:
        if isinstance(live, bool) or isinstance(served, bool) or live is None or served is None:
            return live is served
        if isinstance(live, str) != isinstance(served, str):
            return False
        covered = covering(self._rule.tolerance, path)
        if live == served or (covered and abs(to_ms(live) - to_ms(served)) <= self._rule.tolerance[covered]):
            return True
        if not isinstance(live, str):
            return False
        inner = parse(live) if live[:1] in ("{", "[") else MISSING  # JSON within JSON: spacing is free
        return self._rule.substituted(live) == self._rule.substituted(served) or (inner is not MISSING and inner == parse(served))

    def _bag(self, live: list[Any], served: list[Any], path: str, entity: Entity | None) -> None:
        a, b = Counter(live), Counter(served)
        for item in {**a, **b}:
            for place in range(max(a[item], b[item])):
                if covered := covering(self._rule.rows, str(item)):
                    self.excused[self._rule.rows[covered]] += 1
                else:
                    sides = item if place < a[item] else MISSING, item if place < b[item] else MISSING
                    self.check(place < min(a[item], b[item]), path, *sides, entity)

    def _rows(self, live: list[Any], served: list[Any], path: str, entity: Entity | None) -> None:
        """Rows are matched by key, scalars as a bag, lists within lists by position."""
        both = live + served
        if any(isinstance(item, list) for item in both) or len({isinstance(item, dict) for item in both}) > 1:
            for a, b in zip_longest(live, served, fillvalue=MISSING):
                self.walk(a, b, path, entity)
            return
        if not isinstance(both[0], dict):
            self._bag(live, served, path, entity)
            return
        key = next((fields for fields in _ROW_KEYS if all(dig(row, name) is not MISSING for row in live for name in fields)), ())
        of_live, of_served = _by_key(live, key), _by_key(served, key)
        if path == _TOP and self._truncated and key[:1] == ("task_id",):
            of_live = self._other_attempts(of_live, of_served)
        common = [name for name in of_live if name in of_served]
        window = self._truncated and path == _TOP and len(common) * 2 >= len(live)  # what is in it depends on the late rows
        for name in [*of_live, *(name for name in of_served if name not in of_live)]:
            a, b = of_live.get(name, MISSING), of_served.get(name, MISSING)
            shown = "/".join(name[:-1])
            if covered := covering(self._rule.rows, shown):
                self.excused[self._rule.rows[covered]] += sum(1 for _ in leaves(b if a is MISSING else a))
            elif window and (a is MISSING or b is MISSING):
                self.excused[LATE] += 1
            else:
                self.walk(a, b, path, Entity(self._recording, a, b, shown, entity))
        if window:
            self.check(len(live) == len(served), path + "(length)", len(live), len(served), entity)
        if self._rule.order and path == _TOP and len(common) > 1:
            order = [name[0] for name in of_live if name in of_served]
            mine = [name[0] for name in of_served if name in of_live]
            self.check(order == mine, path + "(order)", order[:3], mine[:3], entity)

    def _other_attempts(self, live: dict[tuple[str, ...], Any], served: dict[tuple[str, ...], Any]) -> dict[tuple[str, ...], Any]:
        """Live takes the attempts of a task from a Python set: the same question got different ones in one session.

        Where another attempt of the same task was served, that attempt as live showed it elsewhere is what to compare with.
        """
        chosen = {}
        for name, row in live.items():
            other = next((key for key in served if key[0] == name[0] and key not in live and key not in chosen), None)
            recorded = self._recording.attempts.get((other[0], int(other[1]))) if other and name not in served else None
            if recorded is None or other is None:
                chosen[name] = row
            else:
                self.excused[ARBITRARY] += 1
                chosen[other] = {column: recorded.get(column) for column in row}
        return chosen

    def text(self, live: str, served: str, path: str = "(line)", *, window: bool = False) -> None:
        """Lines, from both ends. `window`: the last lines of a file."""
        a, b = self._rule.substituted(live).splitlines(), self._rule.substituted(served).splitlines()
        shorter = min(len(a), len(b))
        start = next((i for i in range(shorter) if a[i] != b[i]), shorter)
        if self._grows and start == len(a):
            self.check(True, path, a, b, count=max(start, 1))
            self.excused[GREW] += len(b) - start
        elif self._grows and window:
            self.excused[GREW] += len(a)
            self.check(len(b) >= len(a), path, f"{len(a)} lines", f"{len(b)} lines")
        else:
            end = next((i for i in range(shorter - start) if a[-1 - i] != b[-1 - i]), shorter - start)
            differ = max(len(a), len(b)) - start - end
            self.check(True, path, a, b, count=start + end if differ else max(start + end, 1))
            if differ:
                sides = a[start] if start < len(a) else MISSING, b[start] if start < len(b) else MISSING
                self.check(False, path, *sides, count=differ)


def _by_key(rows: list[Any], key: tuple[str, ...]) -> dict[tuple[str, ...], Any]:
    """Rows by key, numbered where a key comes again; by place if they have none."""
    seen: Counter[tuple[str, ...]] = Counter()
    found = {}
    for place, row in enumerate(rows):
        name = tuple(str(dig(row, field)) for field in key) if key else (str(place),)
        seen[name] += 1
        found[(*name, str(seen[name]))] = row
    return found
