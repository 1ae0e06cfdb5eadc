"""Tasks grouped by who created them: the State API's summary by lineage (Ray: `TaskSummaries.to_summary_by_lineage`).

Every step walks lists instead of recursing: a chain of tasks may be deeper than Python's stack.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring
from typing import NamedTuple

import msgspec

_DRIVER = "f" * 40  # begins the ids of driver tasks
_RUNNING = frozenset({"RUNNING", "RUNNING_IN_RAY_GET", "RUNNING_IN_RAY_WAIT"})
_PENDING = frozenset({"PENDING_ARGS_AVAIL", "PENDING_NODE_ASSIGNMENT", "PENDING_OBJ_STORE_MEM_AVAIL", "PENDING_ARGS_FETCH"})
_quote: Callable[[str], str] = encode_basestring
_encode = msgspec.json.encode


class LineageTask(NamedTuple):
    """What lineage needs of one attempt. `name` is the task's name, or else its function's."""

    task_id: str
    name: str
    function: str
    type: str
    state: str
    parent_task_id: str
    actor_id: str | None
    creation_ms: int | None


class LineageActor(NamedTuple):
    """What lineage needs of an actor."""

    repr_name: str
    class_name: str


class _Group:
    """A task, an actor, or several siblings of one name."""

    __slots__ = ("children", "counts", "key", "link", "name", "oldest_child", "text", "timestamp", "type")

    def __init__(self, name: str, key: str, type_: str, timestamp: int | None, link: str) -> None:
        self.name, self.key, self.type, self.timestamp, self.link = name, key, type_, timestamp, link
        self.counts: dict[str, int] = {}
        self.children: list[_Group] = []
        self.oldest_child: int | None = None
        self.text = ""


class _Tree:
    """Puts tasks below their parents, actor tasks below their actors. What has no known parent is dropped, as live drops it."""

    def __init__(self, tasks: list[LineageTask], actors: dict[str, LineageActor]) -> None:
        self.tasks = {task.task_id: task for task in tasks}
        self.actors = actors
        self.creations = {task.actor_id: task for task in tasks if task.type == "ACTOR_CREATION_TASK" and task.actor_id}
        self.groups: dict[str, _Group] = {}
        self.roots: list[_Group] = []

    def add(self, task: LineageTask) -> None:
        """Make the group of a task, and of every parent that is not there yet."""
        pending: str | None = task.task_id
        child: _Group | None = None
        while pending is not None:
            group = self.groups.get(pending)
            known = group is not None
            if group is None:
                group, parent = self._make(pending, task)
            if child is not None and group is not None:
                group.children.append(child)
            if known or group is None:
                return
            if parent is None:
                self.roots.append(group)
            child, pending = group, parent

    def _make(self, key: str, current: LineageTask) -> tuple[_Group | None, str | None]:
        """A new group and the key of its parent (None: it is a root)."""
        if key.startswith("actor:"):
            actor_id = key[6:]
            creation = self.creations.get(actor_id)
            if creation is None:
                return None, None
            actor = self.actors.get(actor_id)
            name = (actor.repr_name or actor.class_name) if actor else creation.function.split(".")[0]
            # Live takes the time of the task at which it first meets the actor.
            group = _Group(name, key, "ACTOR", current.creation_ms, f'{{"type":"actor","id":"{actor_id}"}}')
            parent_id = creation.parent_task_id
        else:
            task = self.tasks.get(key)
            if task is None:
                return None, None
            group = _Group(task.name, key, task.type, task.creation_ms, f'{{"type":"task","id":"{key}"}}')
            if task.type in ("ACTOR_TASK", "ACTOR_CREATION_TASK"):
                self.groups[key] = group
                return group, f"actor:{task.actor_id}"
            parent_id = task.parent_task_id
        self.groups[key] = group
        return group, parent_id if parent_id and not parent_id.startswith(_DRIVER) else None


def summary_by_lineage(tasks: Iterable[LineageTask], actors: dict[str, LineageActor]) -> bytes:
    """The JSON of one `TaskSummaries`. Tasks come in the order of the list API."""
    ordered = list(tasks)
    tree = _Tree(ordered, actors)
    totals = {"NORMAL_TASK": 0, "ACTOR_TASK": 0, "ACTOR_CREATION_TASK": 0}
    for task in ordered:
        tree.add(task)
        counts = tree.groups[task.task_id].counts
        counts[task.state] = counts.get(task.state, 0) + 1
        if task.type in totals:
            totals[task.type] += 1
    roots = _merge_siblings(tree.roots)
    order = _bottom_up(roots)
    _add_up(order)
    roots.sort(key=_order)
    counted = tuple(totals.values())
    after = b'],"total_tasks":%d,"total_actor_tasks":%d,"total_actor_scheduled":%d,"summary_by":"lineage"}' % counted
    return b'{"summary":[' + _render(order, roots) + after


def _bottom_up(roots: list[_Group]) -> list[_Group]:
    """Every group after its children."""
    order, stack = [], list(roots)
    while stack:
        group = stack.pop()
        order.append(group)
        stack += group.children
    return order[::-1]


def _merge_siblings(roots: list[_Group]) -> list[_Group]:
    for group in _bottom_up(roots):
        if group.children:
            group.children, group.oldest_child = _merged(group.children)
    return _merged(roots)[0]


def _merged(siblings: list[_Group]) -> tuple[list[_Group], int | None]:
    """Siblings of one name become one group; also the earliest time among them."""
    by_name: dict[str, _Group] = {}
    earliest: int | None = None
    for child in siblings:
        if child.oldest_child and child.oldest_child < (child.timestamp or sys.maxsize):
            child.timestamp = child.oldest_child
        group = by_name.get(child.name)
        if group is None:
            group = by_name[child.name] = _Group(child.name, child.name, "GROUP", None, "null")
        group.children.append(child)
        if child.timestamp and child.timestamp < (group.timestamp or sys.maxsize):
            group.timestamp = child.timestamp
            earliest = min(earliest or sys.maxsize, child.timestamp)
    return [group if len(group.children) > 1 else group.children[0] for group in by_name.values()], earliest


def _add_up(order: list[_Group]) -> None:
    for group in order:
        if group.children:
            counts = group.counts
            for child in group.children:
                for state, count in child.counts.items():
                    counts[state] = counts.get(state, 0) + count
            group.children.sort(key=_order)


def _order(group: _Group) -> tuple[int, int, int, int, int]:
    """Running first, then pending, failed, older; an actor's creation before what else is of the same time."""
    running = pending = failed = 0
    for state, count in group.counts.items():
        if state in _RUNNING:
            running -= count
        elif state in _PENDING:
            pending -= count
        elif state == "FAILED":
            failed -= count
    return running, pending, failed, group.timestamp or sys.maxsize, 0 if group.type == "ACTOR_CREATION_TASK" else 1


def _render(order: list[_Group], roots: list[_Group]) -> bytes:
    """Children before their parents, as `order` has them; what repeats (names, counts) is encoded once."""
    names: dict[str, str] = {}
    encoded: dict[tuple[tuple[str, int], ...], str] = {}
    for group in order:
        name = names.get(group.name) or names.setdefault(group.name, _quote(group.name))
        # Ids need no escapes.
        key = name if group.key is group.name else f'"{group.key}"'
        children = ",".join([child.text for child in group.children])
        for child in group.children:
            child.text = ""
        counted = tuple(group.counts.items())
        counts = encoded.get(counted) or encoded.setdefault(counted, _encode(group.counts).decode())
        group.text = (
            f'{{"name":{name},"key":{key},"type":"{group.type}","timestamp":{group.timestamp or "null"},'
            f'"state_counts":{counts},"children":[{children}],"link":{group.link}}}'
        )
    return ",".join([root.text for root in roots]).encode()
