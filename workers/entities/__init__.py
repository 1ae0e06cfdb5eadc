"""Everything of a session that is not a task, from its events, stored dashboard answers, log events and pieces of log files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.sessions import Session
from workers.entities.actors import actor_of, actor_row, place_unstarted
from workers.entities.cluster_facts import cluster_facts
from workers.entities.cluster_status import cluster_status
from workers.entities.ends import TaskEnds
from workers.entities.gcs_log import GcsLog, read_gcs_log
from workers.entities.histories import ACTOR, DRIVER_JOB, NODE, PLACEMENT_GROUP, SUBMISSION_JOB, WORKER, Malformed, each, histories
from workers.entities.jobs import former_drivers, job_rows
from workers.entities.log_events import cluster_event_rows, event_documents, read_log_events
from workers.entities.logged_workers import driver_exits, logged_worker_rows, logged_workers
from workers.entities.logical_actors import chunks, listed_on, logical_actor
from workers.entities.node_details import node_documents
from workers.entities.nodes import node_of, node_row
from workers.entities.placement_groups import placement_group_rows
from workers.entities.stored_answers import answer_documents
from workers.entities.stored_jobs import with_stored_jobs
from workers.entities.submissions import submissions
from workers.entities.workers import deaths, driver_node, driver_rows, worker_row
from workers.event_files import Stored


@dataclass(frozen=True, slots=True)
class Entities:
    """What a load publishes beside tasks.

    `rows`: State API rows by resource, all columns, in live order. `docs`: JSON documents by name. `ends`: what ended task
    attempts from outside. `malformed`: events and entities that had to be left out. `strays`: events of other sessions. `files`: how
    many are stored beside event files.
    """

    rows: dict[str, list[dict[str, Any]]]
    docs: dict[str, Any]
    ends: TaskEnds
    ray_version: str | None
    malformed: int = 0
    strays: int = 0
    files: int = 0


def build(events: list[dict[str, Any]], stored: Stored, session: Session) -> Entities:
    """`events` are decoded (camelCase), in any order, and may be repeated. Malformed ones never fail a load."""
    malformed = Malformed()
    found = histories(events, session.session, malformed)
    nodes = each(found[NODE].values(), node_of, malformed)
    ips = {node.id: node.ip for node in nodes}
    actors = each(found[ACTOR].values(), actor_of, malformed)
    log_events = read_log_events(stored.log_events, malformed)
    facts = cluster_facts(stored.endpoints, stored.nearby_metadata, stored.logs, nodes, session)
    restarted_or_unstarted = any(actor.restarted_from or not actor.nodes for actor in actors)
    gcs_log = read_gcs_log(stored.logs, facts.offset) if restarted_or_unstarted or not found[WORKER] else GcsLog()
    node_of_ip = {node.ip: node.id for node in nodes}
    for actor in actors:
        actor.leased = gcs_log.leases.get(actor.id, [])
        place_unstarted(actor, node_of_ip)
    submitted = submissions(found[DRIVER_JOB], found[SUBMISSION_JOB], actors, log_events, stored.logs)
    # Ray before 2.58 exports no WORKER_* events.
    logged = {} if found[WORKER] else logged_workers(stored.logs, gcs_log.crashes, facts.offset)
    workers = [
        *each(found[WORKER].values(), lambda history: worker_row(history, ips), malformed),
        *logged_worker_rows(logged.values(), ips),
        *driver_rows(found[DRIVER_JOB], stored.logs.keys, driver_exits(stored.logs), ips, malformed),
    ]
    jobs = with_stored_jobs(job_rows(found[DRIVER_JOB], submitted, ips, session, malformed), stored.endpoints, malformed)
    rows = {
        "actors": _sorted(each(actors, actor_row, malformed), "actor_id"),
        "nodes": _sorted([node_row(node) for node in nodes], "node_id"),
        "workers": _sorted(workers, "worker_id"),
        "jobs": _sorted(jobs, "job_id"),
        "placement_groups": _sorted(placement_group_rows(stored.endpoints, found[PLACEMENT_GROUP], malformed), "placement_group_id"),
        "cluster_events": cluster_event_rows(log_events, facts.offset),
    }
    shown = dict(each(actors, lambda actor: (actor.id, logical_actor(actor, ips.get(actor.address.node_id, ""))), malformed))
    on_nodes: dict[str, dict[str, dict[str, Any]]] = {}
    by_id = {node.id: node for node in nodes}
    driver_nodes = dict(each(found[DRIVER_JOB].values(), lambda job: (job.id, driver_node(job)), malformed))
    for actor in actors:
        if actor.id not in shown:
            continue
        for node_id in listed_on(actor, by_id, driver_nodes):
            on_nodes.setdefault(node_id, {})[actor.id] = shown[actor.id]
    docs = {
        **answer_documents(stored.endpoints, facts, session),
        **event_documents(log_events),
        **node_documents(nodes, on_nodes, session.session),
        **chunks(shown),
        **former_drivers(submitted, jobs, ips),
        "cluster_status": cluster_status(stored.logs, nodes, facts.offset),
    }
    job_ends = {history.id: end.ns for history in found[DRIVER_JOB].values() if (end := history.last("FINISHED"))}
    ends = TaskEnds(deaths(found[WORKER], logged.values(), actors, log_events), job_ends)
    return Entities(rows, docs, ends, facts.ray_version, malformed.count, malformed.strays, stored.files)


def _sorted(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row[key] or "")
