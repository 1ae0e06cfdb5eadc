"""Actors: from their events to what Ray's GCS keeps of them (`ActorTableData`), and to rows of the State API.

Mirrors `gcs_actor_manager.cc` (which transition sets which field) and `state_aggregator.list_actors`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from workers.entities.fields import amounts, hex_id, known_id, number, part, snake_case, text
from workers.entities.histories import History, Transition

NIL_NODE_ID = "f" * 56
_JOB_DIGITS = 8
# The ids that live decodes in an actor's message; others stay base64.
_DECODED = frozenset({"actor_id", "owner_id", "job_id", "node_id", "placement_group_id"})


@dataclass(slots=True)
class Address:
    """Where an actor's worker is, or was last. Ids are nil (all f) before the first start, empty while it restarts."""

    node_id: str = NIL_NODE_ID
    worker_id: str = NIL_NODE_ID
    port: int = 0


@dataclass(slots=True)
class Actor:
    """One actor as GCS knows it at the end of the session. Times in ms since the epoch, 0 = not yet.

    `nodes` are those it was started on, `restarted_from` the node that it left at each restart, and when; `leased` the nodes that were
    asked for a worker for it (`read_gcs_log`).
    """

    id: str
    definition: dict[str, Any]
    state: str = "DEPENDENCIES_UNREADY"
    address: Address = field(default_factory=Address)
    node_id: str = ""
    nodes: list[str] = field(default_factory=list)
    restarted_from: list[tuple[str, int]] = field(default_factory=list)
    leased: list[tuple[int, str]] = field(default_factory=list)
    pid: int = 0
    repr_name: str = ""
    registered: int = 0
    timestamp: int = 0
    start: int = 0
    end: int = 0
    restarts: int = 0
    lineage_restarts: int = 0
    preemption_restarts: int = 0
    death_cause: dict[str, Any] = field(default_factory=dict)
    deaths: list[WorkerEnd] = field(default_factory=list)

    @property
    def job_id(self) -> str:
        return hex_id(self.definition, "jobId") or self.id[-_JOB_DIGITS:]

    @property
    def class_name(self) -> str:
        return text(self.definition, "className")

    @property
    def name(self) -> str:
        return text(self.definition, "name")

    @property
    def placement_group_id(self) -> str | None:
        return known_id(self.definition, "placementGroupId") or None

    @property
    def has_address(self) -> bool:
        """Was it ever on a node? Of one that is not, live shows no address."""
        return bool(self.nodes) or bool(self.address.node_id and self.address.node_id != NIL_NODE_ID)


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """The end of a worker that an actor ran in: when it ended (ms), and what the actor's death cause says of it."""

    worker_id: str
    ms: int
    message: str


def actor_of(history: History) -> Actor:
    actor = Actor(history.id, history.definition)
    for step in history.transitions:
        _apply(actor, step)
    return actor


def _apply(actor: Actor, step: Transition) -> None:
    restarting = actor.state == "RESTARTING"
    died_before = actor.state == "DEAD"
    actor.registered = actor.registered or step.ms
    actor.state = step.state or actor.state
    actor.repr_name = text(step.fields, "reprName") or actor.repr_name
    if step.state == "ALIVE":
        # Told again, it may be with nothing but defaults.
        former = actor.address if died_before or (actor.nodes and not restarting) else Address()
        node_id = known_id(step.fields, "nodeId") or former.node_id
        actor.address = Address(node_id, known_id(step.fields, "workerId") or former.worker_id, number(step.fields, "port") or former.port)
        if node_id != NIL_NODE_ID:
            actor.node_id = node_id
            if node_id not in actor.nodes:
                actor.nodes.append(node_id)
        actor.pid = number(step.fields, "pid") or actor.pid
        actor.timestamp = step.ms
        if not restarting:
            actor.start = step.ms
    elif step.state == "RESTARTING":
        _end_worker(actor, step, "")
        actor.restarted_from.append((actor.node_id, step.ms))
        actor.restarts += 1
        reason = text(step.fields, "restartReason")
        actor.lineage_restarts += reason == "LINEAGE_RECONSTRUCTION"
        actor.preemption_restarts += reason == "NODE_PREEMPTION"
        # Emptied, so that the former worker is not mistaken for the new one.
        actor.address = Address("", "", 0)
        actor.end = 0
        actor.death_cause = {}
    elif step.state == "DEAD":
        cause = part(step.fields, "deathCause")
        _end_worker(actor, step, exit_detail(cause))
        actor.timestamp = step.ms
        # Exported again when its owner dies later; the end is the first one, and what is said last stays.
        actor.end = actor.end if died_before and actor.end else step.ms
        actor.death_cause = cause or actor.death_cause


def place_unstarted(actor: Actor, node_of_ip: dict[str, str]) -> None:
    """Where an actor died that never started: its death cause names process and host, the GCS's log the node that was asked last."""
    if actor.state != "DEAD" or actor.nodes:
        return
    died = part(actor.death_cause, "actorDiedErrorContext")
    actor.pid = actor.pid or number(died, "pid")
    node_id = actor.leased[-1][1] if actor.leased else node_of_ip.get(text(died, "nodeIpAddress"))
    if node_id:
        actor.address = Address(node_id, "", 0)


def complete_process(actor: Actor, pid: int, port: int) -> None:
    """Process and port of the worker that it runs in, or ran in last: Ray 2.54 exports 0 for both."""
    actor.pid = actor.pid or pid
    actor.address.port = actor.address.port or port


def _end_worker(actor: Actor, step: Transition, message: str) -> None:
    worker = actor.address.worker_id
    if worker and worker != NIL_NODE_ID and all(end.worker_id != worker for end in actor.deaths):
        actor.deaths.append(WorkerEnd(worker, step.ms, message))


def exit_detail(cause: dict[str, Any]) -> str:
    """Why an actor is dead, from whichever context is there; "-" if none is (Ray: `node_head._actor_table_data_to_dict`)."""
    for context in ("actorDiedErrorContext", "runtimeEnvFailedContext", "actorUnschedulableContext"):
        if context in cause:
            return text(part(cause, context), "errorMessage")
    if "creationTaskFailureContext" in cause:
        return text(part(cause, "creationTaskFailureContext"), "formattedExceptionString")
    return "-"


def actor_row(actor: Actor) -> dict[str, Any]:
    """A row of the State API (`ActorState`): counters are text there, as in the proto's JSON."""
    definition = actor.definition
    return {
        "actor_id": actor.id,
        "class_name": actor.class_name,
        "state": actor.state,
        "job_id": actor.job_id,
        "name": actor.name,
        "node_id": actor.node_id or None,
        "pid": actor.pid,
        "ray_namespace": text(definition, "rayNamespace"),
        "serialized_runtime_env": text(definition, "serializedRuntimeEnv"),
        "required_resources": amounts(definition, "requiredResources"),
        "death_cause": snake_case(actor.death_cause, _DECODED) or None,
        "is_detached": bool(definition.get("isDetached")),
        "placement_group_id": actor.placement_group_id,
        "repr_name": actor.repr_name,
        "num_restarts": str(actor.restarts),
        "num_restarts_due_to_lineage_reconstruction": str(actor.lineage_restarts),
        "num_restarts_due_to_node_preemption": str(actor.preemption_restarts),
        "call_site": text(definition, "callSite") or None,
        "label_selector": part(definition, "labelSelector"),
        "fallback_strategy": None,
    }
