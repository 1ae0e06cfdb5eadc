"""Everything of a session that is not a task, from its events, stored dashboard answers, log events and pieces of log files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import structlog

from shared.ray.versions import NODE_DIRECTORIES
from shared.sessions import Session
from workers.bad_data import PASSING, Skipped
from workers.entities.actors import Actor, actor_of, actor_row, complete_process, place_unstarted
from workers.entities.cluster_facts import NO_FACTS, cluster_facts, cluster_status
from workers.entities.ends import TaskEnds
from workers.entities.fields import noticing
from workers.entities.histories import (
    ACTOR,
    DRIVER_JOB,
    NODE,
    PLACEMENT_GROUP,
    SUBMISSION_JOB,
    WORKER,
    Histories,
    Malformed,
    each,
    histories,
)  # fmt: skip
from workers.entities.jobs import former_drivers, job_rows
from workers.entities.log_events import cluster_event_rows, event_documents, read_log_events
from workers.entities.logged_workers import GcsLog, driver_exits, logged_worker_rows, logged_workers, read_gcs_log
from workers.entities.logical_actors import chunks, listed_on, logical_actor
from workers.entities.nodes import TEMP_DIR, Node, node_documents, node_of, node_row
from workers.entities.old_ray import old_ray
from workers.entities.placement_groups import placement_group_rows
from workers.entities.session_end import session_documents
from workers.entities.stored_answers import answer_documents, with_stored_jobs
from workers.entities.submissions import submissions
from workers.entities.workers import deaths, driver_node, driver_rows, worker_row
from workers.event_files import Stored

log = structlog.get_logger()
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Entities:
    """What a load publishes beside tasks.

    `rows`: State API rows by resource, all columns, in live order. `docs`: JSON documents by name. `ends`: what ended task
    attempts from outside. `defects`: kinds that a defect of ours cost, and its message. `files`: how many are stored beside
    event files.
    """

    rows: dict[str, list[dict[str, Any]]]
    docs: dict[str, Any]
    ends: TaskEnds
    ray_version: str | None
    defects: dict[str, str] = field(default_factory=dict)
    files: int = 0


class _Kinds:
    """Makes one kind of entities after the other: a defect of ours in one of them costs that kind, is logged and is said."""

    def __init__(self) -> None:
        self.defects: dict[str, str] = {}

    def __call__(self, kind: str, make: Callable[[], _T], otherwise: Any) -> _T:
        try:
            return make()
        except PASSING:
            raise
        except Exception as exc:
            log.exception("entities lost", kind=kind)
            self.defects[kind] = f"{type(exc).__name__}: {exc}"
            return cast("_T", otherwise)


def build(events: list[dict[str, Any]], stored: Stored, session: Session, skipped: Skipped) -> Entities:
    """`events` are decoded (camelCase), in any order, and may be repeated. Whatever is malformed is counted in `skipped`."""
    with noticing(skipped):
        return _build(events, stored, session, Malformed(skipped))


def _build(events: list[dict[str, Any]], stored: Stored, session: Session, malformed: Malformed) -> Entities:
    made = _Kinds()
    found = histories(events, session.session, malformed)
    drivers = found[DRIVER_JOB]
    nodes = made("nodes", lambda: each(found[NODE].values(), node_of, malformed), [])
    for node in nodes:
        node.temp_dir = stored.temp_dirs.get(node.id, TEMP_DIR)
    ips = {node.id: node.ip for node in nodes}
    actors = made("actors", lambda: each(found[ACTOR].values(), actor_of, malformed), [])
    log_events = made("log events", lambda: read_log_events(stored.log_events, malformed), [])
    facts = made("cluster facts", lambda: cluster_facts(stored.endpoints, stored.sibling_metadata, stored.logs, nodes, session), NO_FACTS)
    restarted_or_unstarted = any(actor.restarted_from or not actor.nodes for actor in actors)
    gcs_log = GcsLog()
    if restarted_or_unstarted or not found[WORKER]:
        gcs_log = made("GCS log", lambda: read_gcs_log(stored.logs, facts.offset), gcs_log)
    node_of_ip = {node.ip: node.id for node in nodes}
    for actor in actors:
        actor.leased = gcs_log.leases.get(actor.id, [])
        made("actors", lambda actor=actor: place_unstarted(actor, node_of_ip), None)  # type: ignore[misc]
    submitted = made("jobs", lambda: submissions(drivers, found[SUBMISSION_JOB], actors, log_events, stored.logs), [])
    # Ray before 2.58 exports no WORKER_* events.
    logged = {} if found[WORKER] else made("workers", lambda: logged_workers(stored.logs, gcs_log.crashes, facts.offset), {})
    for actor in actors:
        if worker := logged.get(actor.address.worker_id):
            complete_process(actor, worker.pid, worker.port)

    def workers() -> list[dict[str, Any]]:
        return [
            *each(found[WORKER].values(), lambda history: worker_row(history, ips), malformed),
            *logged_worker_rows(logged.values(), ips),
            *driver_rows(drivers, stored.logs.keys, driver_exits(stored.logs), ips, malformed),
        ]

    def jobs() -> list[dict[str, Any]]:
        return with_stored_jobs(job_rows(drivers, submitted, ips, session, malformed), stored.endpoints, malformed)

    tables: dict[str, tuple[str, Callable[[], list[dict[str, Any]]]]] = {
        "actors": ("actor_id", lambda: each(actors, actor_row, malformed)),
        "nodes": ("node_id", lambda: each(nodes, node_row, malformed)),
        "workers": ("worker_id", workers),
        "jobs": ("job_id", jobs),
        "placement_groups": ("placement_group_id", lambda: placement_group_rows(stored.endpoints, found[PLACEMENT_GROUP], malformed)),
    }
    rows = {name: made(name, lambda key=key, make=make: _sorted(make(), key), []) for name, (key, make) in tables.items()}  # type: ignore[misc]
    rows["cluster_events"] = made("cluster_events", lambda: cluster_event_rows(log_events, facts.offset), [])
    shown = made("actors", lambda: _shown(actors, ips, malformed), {})
    directories = session.session if NODE_DIRECTORIES.in_ray(facts.ray_version) else ""
    documents: dict[str, Callable[[], dict[str, Any]]] = {
        "stored answers": lambda: answer_documents(stored.endpoints, facts, session, malformed),
        "log events": lambda: event_documents(log_events),
        "nodes": lambda: node_documents(nodes, _on_nodes(actors, nodes, shown, drivers, malformed), directories),
        "actors": lambda: chunks(shown),
        "jobs": lambda: former_drivers(submitted, rows["jobs"], ips),
        "session's end": lambda: session_documents(events, nodes, stored.logs, facts.offset, session),
        "cluster status": lambda: {"cluster_status": cluster_status(stored.logs, nodes, facts.offset)},
    }
    docs: dict[str, Any] = {}
    for kind, make_docs in documents.items():
        docs |= made(kind, make_docs, {})
    job_ends = {history.id: end.ns for history in drivers.values() if (end := history.last("FINISHED")) and end.ns}
    died = made("worker deaths", lambda: deaths(found[WORKER], logged.values(), actors, log_events), {})
    # Before Ray 2.58 the head's directory was that of all nodes.
    temp_dir = next((node.temp_dir for node in nodes if node.is_head), TEMP_DIR)
    old = old_ray(facts.ray_version, stored.logs.keys, logged, f"{temp_dir}/{session.session}/logs/")
    ends = TaskEnds(died, job_ends, old)
    return Entities(rows, docs, ends, facts.ray_version, made.defects, stored.files)


def _shown(actors: list[Actor], ips: dict[str, str], malformed: Malformed) -> dict[str, dict[str, Any]]:
    return dict(each(actors, lambda actor: (actor.id, logical_actor(actor, ips.get(actor.address.node_id, ""))), malformed))


def _on_nodes(
    actors: list[Actor], nodes: list[Node], shown: dict[str, dict[str, Any]], drivers: Histories, malformed: Malformed
) -> dict[str, dict[str, dict[str, Any]]]:
    """Actors by the nodes that they are listed under, by id."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    by_id = {node.id: node for node in nodes}
    driver_nodes = dict(each(drivers.values(), lambda job: (job.id, driver_node(job)), malformed))
    for actor in actors:
        if actor.id in shown:
            for node_id in listed_on(actor, by_id, driver_nodes):
                found.setdefault(node_id, {})[actor.id] = shown[actor.id]
    return found


def _sorted(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row[key] or "")
