"""Events of one kind, in any order and perhaps repeated, to one history per entity: what defines it, and its states in time order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from workers.bad_data import BAD_DATA, Skipped
from workers.entities.ends import EXIT_TYPES
from workers.entities.fields import hex_id, is_default, named, part, parts, text, time_ns


@dataclass(frozen=True, slots=True)
class Kind:
    """The names of the two parts of an entity's events (proto `oneof`), and of the field that identifies it."""

    definition: str
    lifecycle: str
    id_field: str
    states: tuple[str, ...]
    id_is_text: bool = False


# Numbers of other enums, by field (Ray's common.proto, gcs.proto and events_*.proto).
_ENUMS = {
    "restartReason": ("ACTOR_FAILURE", "LINEAGE_RECONSTRUCTION", "NODE_PREEMPTION"),
    "aliveSubState": ("UNSPECIFIED", "DRAINING"),
    "reason": ("UNSPECIFIED", "EXPECTED_TERMINATION", "UNEXPECTED_TERMINATION", "AUTOSCALER_DRAIN_PREEMPTED", "AUTOSCALER_DRAIN_IDLE"),
    "workerType": ("WORKER", "DRIVER", "SPILL_WORKER", "RESTORE_WORKER"),
    "exitType": EXIT_TYPES,
    "schedulingState": (
        "QUEUED", "SCHEDULING_REMOVED", "SCHEDULING_STARTED", "NO_RESOURCES", "INFEASIBLE", "FAILED_TO_COMMIT_RESOURCES", "FINISHED",
    ),
}  # fmt: skip
ACTOR = Kind(
    "actorDefinitionEvent", "actorLifecycleEvent", "actorId", ("DEPENDENCIES_UNREADY", "PENDING_CREATION", "ALIVE", "RESTARTING", "DEAD")
)  # fmt: skip
NODE = Kind("nodeDefinitionEvent", "nodeLifecycleEvent", "nodeId", ("ALIVE", "DEAD"))
WORKER = Kind("workerDefinitionEvent", "workerLifecycleEvent", "workerId", ("ALIVE", "DEAD"))
DRIVER_JOB = Kind("driverJobDefinitionEvent", "driverJobLifecycleEvent", "jobId", ("UNSPECIFIED", "CREATED", "FINISHED"))
SUBMISSION_JOB = Kind(
    "submissionJobDefinitionEvent", "submissionJobLifecycleEvent", "submissionId",
    ("UNSPECIFIED", "PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"), id_is_text=True,
)  # fmt: skip
PLACEMENT_GROUP = Kind(
    "placementGroupDefinitionEvent", "placementGroupLifecycleEvent", "placementGroupId",
    ("PENDING", "PREPARED", "CREATED", "REMOVED", "RESCHEDULING"),
)  # fmt: skip
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
    """Counts entities and events that had to be left out."""

    def __init__(self, skipped: Skipped) -> None:
        self.skipped = skipped

    def __call__(self, what: str, error: Exception) -> None:
        self.skipped("malformed", f"{what}: {error}")


def histories(events: Iterable[dict[str, Any]], session: str, malformed: Malformed) -> dict[Kind, Histories]:
    """All kinds at once, each in order of first appearance by event time. Malformed events are skipped and counted.

    So are those that name another session: a collector that outlives its node's session files the next one's first events under it.
    """
    found: dict[Kind, Histories] = {kind: {} for kind in KINDS}
    for event in sorted(events, key=time_ns):
        if text(event, "sessionName") not in ("", session):
            malformed.skipped("other_session", text(event, "sessionName"))
            continue
        try:
            _add(event, found)
        except BAD_DATA as exc:
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
        enums = {**_ENUMS, "state": kind.states}
        entity_id = text(body, kind.id_field) if kind.id_is_text else hex_id(body, kind.id_field)
        if not entity_id:
            raise ValueError(f"{kind.id_field} is not set")
        told = [named(step, enums) for step in parts(lifecycle, "stateTransitions")]
        # A time that can't be read costs only itself: the event was recorded soon after the state was reached.
        steps = [Transition(text(step, "state"), time_ns(step) or time_ns(event), step) for step in told]
        history = found[kind].setdefault(entity_id, History(entity_id))
        if definition:
            history.definition = merged(history.definition, named(definition, enums))
        history.transitions += steps


def _in_order(steps: list[Transition]) -> list[Transition]:
    """By time, and each once: an event may be delivered several times. What has no time is taken for the latest news."""
    latest = max((step.ns for step in steps), default=0)
    once: dict[tuple[int, str], Transition] = {}
    for step in steps:
        key = step.ns or latest, step.state
        known = once.get(key)
        once[key] = Transition(step.state, key[0], merged(known.fields, step.fields) if known else step.fields)
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
        except BAD_DATA as exc:
            malformed(entity.id, exc)
    return made
