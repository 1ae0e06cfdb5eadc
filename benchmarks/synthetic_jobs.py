"""One job of a synthetic session: its driver, actors and tasks. Jobs are made apart from each other, so processes can share them out."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.event_writer import EventWriter, Written
from benchmarks.recorded_events import SECOND, Event, Recorded, rfc3339
from benchmarks.synthetic_cluster import BEGIN, Node, NodeEvent, Worker, make_workers, stamped, worker_events
from benchmarks.synthetic_tasks import TaskFiller
from benchmarks.templates import Archetype, archetypes

# How tasks go, in shares of all of them.
_MIX = {
    "ok": 0.56,
    "nested": 0.20,
    "actor_task": 0.16,
    "retry": 0.05,
    "failed": 0.02,
    "cancelled": 0.004,
    "running": 0.004,
    "pending": 0.002,
}
_FUNCTIONS = 25
_WORKERS_PER_NODE = 4
_PARENTS_KEPT = 200
_SURVIVING_ACTORS = 0.2


@dataclass(frozen=True, slots=True)
class JobPlan:
    """`number` counts from 0; `tasks` includes actors' creations but not the driver."""

    number: int
    tasks: int
    actors: int
    seed: int
    file_bytes: int
    gz: bool

    @property
    def id(self) -> bytes:
        return (self.number + 1).to_bytes(4, "little")


@dataclass(slots=True)
class JobMade:
    """What other parts of the session must hold of a job, and what a reader must find."""

    job: str
    attempts: int
    events: int
    states: Counter[str]
    written: Written
    node_events: list[NodeEvent] = field(default_factory=list)
    log_events: list[dict[str, Any]] = field(default_factory=list)


def make_job(plan: JobPlan, nodes: list[Node], recorded: Recorded, session: Path) -> JobMade:
    """Write a job's own event files below the session's directory."""
    writer = EventWriter(session, plan.file_bytes, gz=plan.gz)
    made = _Job(plan, nodes, recorded, writer).make()
    made.written = writer.close()
    return made


class _Job:
    def __init__(self, plan: JobPlan, nodes: list[Node], recorded: Recorded, writer: EventWriter) -> None:
        self._plan = plan
        self._head = nodes[0]
        self._recorded = recorded
        self._archetypes = archetypes(recorded)
        self._random = Random(f"{plan.seed}/{plan.number}")
        self._writer = writer
        self._begin = BEGIN + (2 + plan.number) * SECOND
        self._driver = b"\xff" * 20 + plan.id
        self._submission = f"synthetic-job-{plan.number:02}"
        self._tasks = TaskFiller(plan.id, self._begin, writer, self._random)
        first_pid = 100 + 1000 * plan.number
        self._workers = make_workers(nodes, _WORKERS_PER_NODE, first_pid, plan.id, self._random)
        self._actors: list[tuple[bytes, Worker]] = []
        self._made = JobMade(plan.id.hex(), 0, 0, Counter(), Written(), worker_events(self._workers, self._head, recorded, self._random))

    def make(self) -> JobMade:
        self._start()
        self._work()
        self._end()
        made, tasks = self._made, self._tasks
        made.attempts = tasks.attempts + 1
        made.events += tasks.events + len(made.node_events)
        made.states = tasks.states + Counter({"FINISHED": 1})
        return made

    def _work(self) -> None:
        random, head = self._random, self._head
        names, shares = list(_MIX), list(_MIX.values())
        functions = [b"fn_%02d_%03d" % (self._plan.number, n) for n in range(_FUNCTIONS)]
        parents: list[tuple[bytes, Worker]] = []
        every = max(1, self._plan.tasks // max(1, self._plan.actors))
        for number in range(self._plan.tasks):
            if number % every == 0 and len(self._actors) < self._plan.actors:
                self._create_actor()
                continue
            (kind,) = random.choices(names, shares)
            if (kind == "actor_task" and not self._actors) or (kind == "nested" and not parents):
                kind = "ok"
            # A few functions make most of the tasks.
            function = functions[int(random.random() ** 2 * _FUNCTIONS)]
            if kind == "actor_task":
                actor, worker = random.choice(self._actors)
                self._fill(kind, random.randbytes(8) + actor, self._driver, worker, head, b"method_" + function[-3:], actor)
                continue
            worker = random.choice(self._workers)
            task = random.randbytes(8) + b"\xff" * 12 + self._plan.id
            if kind == "nested":
                parent, on = random.choice(parents)
                self._fill(kind, task, parent, worker, on.node, function)
                continue
            self._fill(kind, task, self._driver, worker, head, function)
            if kind == "ok" and random.random() < 0.05:
                parents = [*parents[-_PARENTS_KEPT:], (task, worker)]

    def _fill(self, kind: str, task: bytes, parent: bytes, worker: Worker, owner: Node, function: bytes, actor: bytes = b"") -> None:
        archetype: Archetype = self._archetypes[kind]
        self._tasks.fill(archetype, task, parent, worker, owner, function, actor)

    def _create_actor(self) -> None:
        actor = self._random.randbytes(12) + self._plan.id
        worker = self._random.choice(self._workers)
        self._fill("actor_creation", b"\xff" * 8 + actor, self._driver, worker, self._head, b"__init__", actor)
        when, actor_id = self._tasks.clock, b64encode(actor).decode()
        definition = self._recorded.first("ACTOR_DEFINITION_EVENT", lambda e: e["actorDefinitionEvent"]["className"] == "Counter")
        name = f"actor-{len(self._actors)}" if self._random.random() < 0.3 else ""
        definition["actorDefinitionEvent"] |= {"actorId": actor_id, "jobId": self._job_id(), "name": name, "isDetached": False}
        self._emit(definition, when)
        place = {"nodeId": worker.node.base64.decode(), "workerId": b64encode(worker.id).decode(), "pid": worker.pid, "port": 20_000}
        self._actor_reached(
            actor,
            when + 10**8,
            _reached("DEPENDENCIES_UNREADY", when),
            _reached("PENDING_CREATION", when + 10**5),
            _reached("ALIVE", when + 10**8) | place,
        )
        self._actors.append((actor, worker))

    def _actor_reached(self, actor: bytes, when: int, *reached: dict[str, Any]) -> None:
        lifecycle = self._recorded.first("ACTOR_LIFECYCLE_EVENT")
        lifecycle["actorLifecycleEvent"] |= {"actorId": b64encode(actor).decode(), "stateTransitions": list(reached)}
        self._made.node_events.append(NodeEvent(self._head.hex, when, stamped(lifecycle, self._head, when, self._random)))

    def _start(self) -> None:
        begin = self._begin
        definition = self._recorded.first("DRIVER_JOB_DEFINITION_EVENT")
        definition["driverJobDefinitionEvent"] |= {
            "jobId": self._job_id(),
            "driverNodeId": self._head.base64.decode(),
            "driverPid": str(5000 + self._plan.number),
            "entrypoint": f"python synthetic.py --job {self._plan.number}",
        }
        metadata = {"job_name": self._submission, "job_submission_id": self._submission}
        definition["driverJobDefinitionEvent"]["config"]["metadata"] = metadata
        self._emit(definition, begin)
        self._job_reached("CREATED", begin + 1000)
        driver = self._recorded.first("TASK_DEFINITION_EVENT", _is_driver)
        driver["taskDefinitionEvent"] |= {"taskId": b64encode(self._driver).decode(), "jobId": self._job_id()}
        self._emit(driver, begin + 2000)
        self._driver_reached("RUNNING", begin + 2000)
        self._log(f"Started a ray job {self._submission}.", begin)

    def _end(self) -> None:
        end = self._tasks.clock + 5 * SECOND
        self._job_reached("FINISHED", end)
        self._driver_reached("FINISHED", end)
        for actor, worker in self._actors:
            if self._random.random() >= _SURVIVING_ACTORS:
                self._actor_reached(actor, end + SECOND, self._killed(actor, worker, end + SECOND))
        status = "FAILED" if self._plan.number % 5 == 4 else "SUCCEEDED"
        self._log(f"Completed a ray job {self._submission} with a status {status}.", end)

    def _killed(self, actor: bytes, worker: Worker, when: int) -> dict[str, Any]:
        """Died with its owner."""
        died = self._recorded.first("ACTOR_LIFECYCLE_EVENT", lambda e: any(map(_has_death_context, _transitions(e))))
        reached = next(filter(_has_death_context, _transitions(died)))
        owner = self._plan.id + b"\xff" * 24
        reached["deathCause"]["actorDiedErrorContext"] |= {
            "actorId": b64encode(actor).decode(),
            "className": "Counter",
            "name": "",
            "nodeIpAddress": worker.node.ip,
            "pid": worker.pid,
            "ownerIpAddress": self._head.ip,
            "ownerId": b64encode(owner).decode(),
            "rayNamespace": "synthetic",
            "reason": "OWNER_DIED",
            "errorMessage": f"The actor is dead because its owner has died. Owner Id: {owner.hex()}",
        }
        return reached | {"timestamp": rfc3339(when).decode()}

    def _job_reached(self, state: str, when: int) -> None:
        event = self._recorded.first("DRIVER_JOB_LIFECYCLE_EVENT")
        event["driverJobLifecycleEvent"] |= {"jobId": self._job_id(), "stateTransitions": [_at(state, when)]}
        self._emit(event, when)

    def _driver_reached(self, state: str, when: int) -> None:
        event = self._recorded.first("TASK_LIFECYCLE_EVENT", lambda e: _states(e) == [state])
        about = {"taskId": b64encode(self._driver).decode(), "jobId": self._job_id(), "stateTransitions": [_at(state, when)]}
        event["taskLifecycleEvent"] |= {**about, "nodeId": "", "workerId": "", "workerPid": 0, "taskAttempt": 0}
        self._emit(event, when)

    def _emit(self, event: Event, when: int) -> None:
        self._writer.put(self._head.hex, self._tasks.folder, when, stamped(event, self._head, when, self._random))
        self._made.events += 1

    def _log(self, message: str, when: int) -> None:
        self._made.log_events.append(
            {
                "event_id": self._random.randbytes(18).hex(),
                "source_type": "JOBS",
                "source_hostname": self._head.name,
                "source_pid": 300,
                "message": message,
                "timestamp": str(when // SECOND),
                "custom_fields": {"submission_id": self._submission},
                "severity": "INFO",
                "label": "",
            }
        )

    def _job_id(self) -> str:
        return b64encode(self._plan.id).decode()


def _at(state: str, when: int) -> dict[str, str]:
    return {"state": state, "timestamp": rfc3339(when).decode()}


def _reached(state: str, when: int) -> dict[str, Any]:
    nothing = {"nodeId": "", "pid": 0, "port": 0, "reprName": "", "restartReason": "ACTOR_FAILURE", "workerId": ""}
    return {**nothing, **_at(state, when)}


def _is_driver(event: Event) -> bool:
    return bool(event["taskDefinitionEvent"]["taskType"] == "DRIVER_TASK")


def _states(event: Event) -> list[str]:
    return [reached["state"] for reached in event["taskLifecycleEvent"]["stateTransitions"]]


def _transitions(event: Event) -> list[dict[str, Any]]:
    transitions: list[dict[str, Any]] = event["actorLifecycleEvent"]["stateTransitions"]
    return transitions


def _has_death_context(reached: dict[str, Any]) -> bool:
    return "actorDiedErrorContext" in reached.get("deathCause", {})
