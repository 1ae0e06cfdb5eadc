"""Tasks grouped by who created them: the State API's summary by lineage (Ray: `TaskSummaries.to_summary_by_lineage`).

Every step walks lists instead of recursing: a chain of tasks may be deeper than Python's stack.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring
from typing import NamedTuple

import msgspec

_DRIVER = "f" * 40  # begins the ids of driver tasks
_RUNNING = frozenset({"RUNNING", "RUNNING_IN_RAY_GET", "RUNNING_IN_RAY_WAIT"})
_PENDING = frozenset({"PENDING_ARGS_AVAIL", "PENDING_NODE_ASSIGNMENT", "PENDING_OBJ_STORE_MEM_AVAIL", "PENDING_ARGS_FETCH"})
_CREATION = "ACTOR_CREATION_TASK"
_OF_ACTORS = frozenset({"ACTOR_TASK", _CREATION})
_ACTOR = "actor:"
_quote: Callable[[str], str] = encode_basestring
_encode = msgspec.json.encode
_RANKS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, 0))


class LineageTask(msgspec.Struct, array_like=True, gc=False):
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


class _Quoted(dict[str, str]):
    """Names, types and states as JSON text, each made once. Ids are hex digits and need no escapes."""

    def __missing__(self, text: str) -> str:
        made = self[text] = _quote(text)
        return made


class _Group:
    """A task, an actor, or several siblings of one name.

    `leaves`: of tasks with neither children nor other attempts only their place in the order, when they came, and their text.
    `came`: the same of a group.
    """

    __slots__ = ("came", "children", "counts", "key", "leaves", "link", "name", "oldest_child", "text", "timestamp", "type")

    def __init__(self, name: str, key: str, type_: str, timestamp: int | None, link: str) -> None:
        self.name, self.key, self.type, self.timestamp, self.link = name, key, type_, timestamp, link
        self.came = 0
        self.counts: dict[str, int] = {}
        self.children: list[_Group] = []
        self.leaves: list[tuple[int, int, bool, int, str]] = []
        self.oldest_child: int | None = None
        self.text = ""

    def add_leaf(self, task: LineageTask, came: int, quoted: _Quoted) -> None:
        state, kind, created = task.state, task.type, task.creation_ms
        text = (
            f'{{"name":{quoted[task.name]},"key":"{task.task_id}","type":{quoted[kind]},"timestamp":{created or "null"},'
            f'"state_counts":{{{quoted[state]}:1}},'
            f'"children":[],"link":{{"type":"task","id":"{task.task_id}"}}}}'
        )
        rank = 0 if state in _RUNNING else 1 if state in _PENDING else 2 if state == "FAILED" else 3
        self.leaves.append((rank, created or sys.maxsize, kind != _CREATION, came, text))
        self.counts[state] = self.counts.get(state, 0) + 1
        if created and created < (self.timestamp or sys.maxsize):
            self.timestamp = created

    def take_leaves(self, of: _Group) -> None:
        """Of a group of the same name that has nothing else."""
        self.leaves = of.leaves
        for state, count in of.counts.items():
            self.counts[state] = self.counts.get(state, 0) + count


class _Tree:
    """Puts tasks below their parents, actor tasks below their actors. What has no known parent is dropped, as live drops it."""

    def __init__(self, tasks: list[LineageTask], actors: dict[str, LineageActor]) -> None:
        self.tasks = {task.task_id: task for task in tasks}
        self.actors = actors
        self.creations = {task.actor_id: task for task in tasks if task.type == _CREATION and task.actor_id}
        self.groups: dict[str, _Group] = {}
        self.roots: list[_Group] = []
        self._grow(tasks)

    def _grow(self, tasks: list[LineageTask]) -> None:
        branching = {task.parent_task_id for task in tasks}
        if len(self.tasks) < len(tasks):
            branching.update(task_id for task_id, attempts in Counter(task.task_id for task in tasks).items() if attempts > 1)
        groups: dict[tuple[str, str], _Group | None] = {}
        quoted = _Quoted()
        for came, task in enumerate(tasks):
            if task.task_id in branching:
                self._add(task.task_id, task, came)
                counts = self.groups[task.task_id].counts
                counts[task.state] = counts.get(task.state, 0) + 1
                continue
            place = (_above(task), task.name)
            if place not in groups:
                groups[place] = self._new_leaves(task, place[0], came)
            group = groups[place]
            if group is not None:
                group.add_leaf(task, came, quoted)

    def _new_leaves(self, task: LineageTask, above: str, came: int) -> _Group | None:
        """An empty group below what the task hangs on; None if that is not known."""
        if above:
            self._add(above, task, came)
            if above not in self.groups:
                return None
        group = _Group(task.name, task.name, task.type, None, "null")
        (self.groups[above].children if above else self.roots).append(group)
        return group

    def _add(self, key: str, current: LineageTask, came: int) -> None:
        """Make a group, and those of every parent that are not there yet."""
        pending: str = key
        child: _Group | None = None
        while pending:
            group = self.groups.get(pending)
            known, above = group is not None, ""
            if group is None:
                group, above = self._make(pending, current)
            if child is not None and group is not None:
                group.children.append(child)
            if known or group is None:
                return
            group.came = came
            if not above:
                self.roots.append(group)
            child, pending = group, above

    def _make(self, key: str, current: LineageTask) -> tuple[_Group | None, str]:
        """A new group and the key of its parent ("": it is a root)."""
        if key.startswith(_ACTOR):
            actor_id = key.removeprefix(_ACTOR)
            creation = self.creations.get(actor_id)
            if creation is None:
                return None, ""
            # Live takes the time of the task at which it first meets the actor.
            link = f'{{"type":"actor","id":"{actor_id}"}}'
            group = self.groups[key] = _Group(self._actor_name(creation), key, "ACTOR", current.creation_ms, link)
            return group, _task_above(creation.parent_task_id)
        task = self.tasks.get(key)
        if task is None:
            return None, ""
        group = self.groups[key] = _Group(task.name, key, task.type, task.creation_ms, f'{{"type":"task","id":"{key}"}}')
        return group, _above(task)

    def _actor_name(self, creation: LineageTask) -> str:
        actor = self.actors.get(creation.actor_id or "")
        return (actor.repr_name or actor.class_name) if actor else creation.function.split(".")[0]


def _above(task: LineageTask) -> str:
    """The key of what a task hangs on; "" for a root."""
    if task.type in _OF_ACTORS:
        return f"{_ACTOR}{task.actor_id}"
    return _task_above(task.parent_task_id)


def _task_above(parent_id: str) -> str:
    return "" if parent_id.startswith(_DRIVER) else parent_id


def summary_by_lineage(tasks: Iterable[LineageTask], actors: dict[str, LineageActor]) -> bytes:
    """The JSON of one `TaskSummaries`. Tasks come in the order of the list API."""
    ordered = list(tasks)
    tree = _Tree(ordered, actors)
    types = Counter(task.type for task in ordered)
    roots = _merge_siblings(tree.roots)
    order = _bottom_up(roots)
    _add_up(order)
    roots.sort(key=_order)
    counted = tuple(types[kind] for kind in ("NORMAL_TASK", "ACTOR_TASK", _CREATION))
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
            # Leaves are in one group already.
            group = by_name[child.name] = child if child.leaves else _Group(child.name, child.name, "GROUP", None, "null")
        if child.leaves and group is not child:
            group.take_leaves(child)
        elif group is not child:
            group.children.append(child)
        if child.timestamp:
            group.timestamp = min(group.timestamp or sys.maxsize, child.timestamp)
            earliest = min(earliest or sys.maxsize, child.timestamp)
    merged = []
    for group in by_name.values():
        if len(group.children) + len(group.leaves) > 1:
            group.type = "GROUP"
            merged.append(group)
        else:
            merged.append(group if group.leaves else group.children[0])
    return merged, earliest


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
    return running, pending, failed, group.timestamp or sys.maxsize, 0 if group.type == _CREATION else 1


def _render(order: list[_Group], roots: list[_Group]) -> bytes:
    """Children before their parents, as `order` has them; what repeats (names, counts) is encoded once."""
    quoted = _Quoted()
    encoded: dict[tuple[tuple[str, int], ...], str] = {}
    for group in order:
        if len(group.leaves) == 1 and not group.children:
            group.text = group.leaves[0][-1]
            continue
        name = quoted[group.name]
        key = name if group.key is group.name else f'"{group.key}"'
        children = ",".join(_texts_below(group))
        for child in group.children:
            child.text = ""
        counted = tuple(sorted(group.counts.items()))
        counts = encoded.get(counted) or encoded.setdefault(counted, _encode(dict(counted)).decode())
        group.text = (
            f'{{"name":{name},"key":{key},"type":{quoted[group.type]},"timestamp":{group.timestamp or "null"},'
            f'"state_counts":{counts},"children":[{children}],"link":{group.link}}}'
        )
    return ",".join([root.text for root in roots]).encode()


def _texts_below(group: _Group) -> list[str]:
    """The JSON of what is below a group, in live's order."""
    leaves, group.leaves = group.leaves, []
    if not leaves:
        return [child.text for child in group.children]
    leaves.sort()
    if not group.children:
        return [text for *_, text in leaves]
    mixed = [((*_order(child), child.came), child.text) for child in group.children]
    mixed += [((*_RANKS[rank], created, is_other, came), text) for rank, created, is_other, came, text in leaves]
    return [text for _, text in sorted(mixed)]
