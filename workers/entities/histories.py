"""Events of one kind, in any order and perhaps repeated, to one history per entity: what defines it, and its states in time order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import structlog

from workers.entities.fields import hex_id, is_default, part, parts, text, time_ns

log = structlog.get_logger()

# What a malformed entity may raise: bad ids and times, and values of other types than the proto's.
MALFORMED = (ValueError, TypeError, KeyError, AttributeError, OverflowError)
_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Kind:
    """The names of the two parts of an entity's events (proto `oneof`), and of the field that identifies it."""

    definition: str
    lifecycle: str
    id_field: str
    id_is_text: bool = False


ACTOR = Kind("actorDefinitionEvent", "actorLifecycleEvent", "actorId")
NODE = Kind("nodeDefinitionEvent", "nodeLifecycleEvent", "nodeId")
WORKER = Kind("workerDefinitionEvent", "workerLifecycleEvent", "workerId")
DRIVER_JOB = Kind("driverJobDefinitionEvent", "driverJobLifecycleEvent", "jobId")
SUBMISSION_JOB = Kind("submissionJobDefinitionEvent", "submissionJobLifecycleEvent", "submissionId", id_is_text=True)
PLACEMENT_GROUP = Kind("placementGroupDefinitionEvent", "placementGroupLifecycleEvent", "placementGroupId")
KINDS = (ACTOR, NODE, WORKER, DRIVER_JOB, SUBMISSION_JOB, PLACEMENT_GROUP)


@dataclass(frozen=True, slots=True)
class Transition:
    """One state of an entity, when it was reached (ns), and everything else that its event says."""

    state: str
    ns: int
    fields: dict[str, Any]

    @property
    def ms(self) -> int:
        return self.ns // 10**6


@dataclass(slots=True)
class History:
    """One entity. `definition` is {} when only states of it are known."""

    id: str
    definition: dict[str, Any] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)

    @property
    def state(self) -> str:
        """The last state; "" before the first."""
        return self.transitions[-1].state if self.transitions else ""

    def first(self, state: str) -> Transition | None:
        return next((step for step in self.transitions if step.state == state), None)

    def last(self, state: str) -> Transition | None:
        return next((step for step in reversed(self.transitions) if step.state == state), None)


Histories = dict[str, History]


class Malformed:
    """Counts entities and events that had to be left out, and logs the first few; `strays` are events of other sessions."""

    def __init__(self) -> None:
        self.count = 0
        self.strays = 0

    def __call__(self, what: str, error: Exception) -> None:
        self.count += 1
        if self.count <= _SAMPLES:
            log.warning("malformed event skipped", of=what, error=repr(error))


def histories(events: Iterable[dict[str, Any]], session: str, malformed: Malformed) -> dict[Kind, Histories]:
    """All kinds at once, each in order of first appearance by event time. Malformed events are skipped and counted.

    So are those that name another session: a collector that outlives its node's session files the next one's first events under it.
    """
    found: dict[Kind, Histories] = {kind: {} for kind in KINDS}
    for event in sorted(events, key=lambda event: text(event, "timestamp")):
        if text(event, "sessionName") not in ("", session):
            malformed.strays += 1
            continue
        try:
            _add(event, found)
        except MALFORMED as exc:
            malformed(text(event, "eventType"), exc)
    for kind in KINDS:
        for history in found[kind].values():
            history.transitions = _in_order(history.transitions)
    return found


def _add(event: dict[str, Any], found: dict[Kind, Histories]) -> None:
    for kind in KINDS:
        definition, lifecycle = part(event, kind.definition), part(event, kind.lifecycle)
        body = definition or lifecycle
        if not body:
            continue
        entity_id = text(body, kind.id_field) if kind.id_is_text else hex_id(body, kind.id_field)
        if not entity_id:
            raise ValueError(f"{kind.id_field} is not set")
        steps = [Transition(text(step, "state"), time_ns(step), step) for step in parts(lifecycle, "stateTransitions")]
        history = found[kind].setdefault(entity_id, History(entity_id))
        if definition:
            history.definition = merged(history.definition, definition)
        history.transitions += steps


def _in_order(steps: list[Transition]) -> list[Transition]:
    """By time, and each once: an event may be delivered several times."""
    once: dict[tuple[int, str], Transition] = {}
    for step in steps:
        known = once.get((step.ns, step.state))
        once[step.ns, step.state] = Transition(step.state, step.ns, merged(known.fields, step.fields)) if known else step
    return sorted(once.values(), key=lambda step: step.ns)


def merged(known: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """What two messages about the same thing say; a default of the later one never replaces a value (Ray 2.56 prints all defaults)."""
    if not known:
        return later
    both = dict(known)
    for name, value in later.items():
        former = known.get(name)
        if isinstance(former, dict) and isinstance(value, dict):
            both[name] = merged(former, value)
        elif name not in known or not is_default(value) or is_default(former):
            both[name] = value
    return both


class HasId(Protocol):
    """An entity at any stage."""

    id: str


Entity = TypeVar("Entity", bound=HasId)
Made = TypeVar("Made")


def each(found: Iterable[Entity], make: Callable[[Entity], Made], malformed: Malformed) -> list[Made]:
    """What `make` makes of each entity; those that it can't make anything of are skipped and counted."""
    made = []
    for entity in found:
        try:
            made.append(make(entity))
        except MALFORMED as exc:
            malformed(entity.id, exc)
    return made
