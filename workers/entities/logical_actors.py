"""Actors as the dashboard shows them (`/logical/actors`), in chunks by id, so that one actor costs one chunk.

Mirrors `node_head._actor_table_data_to_dict` and `datacenter.DataOrganizer._get_actor_info`. What live merges in from running
workers and their hosts (gpus, processStats, mem ...) is empty, as live shows it once they are gone; but a worker's id is known.
"""

from __future__ import annotations

import re
from typing import Any

from workers.entities.actors import Actor, exit_detail
from workers.entities.fields import amounts, part, text
from workers.entities.nodes import Node

ACTORS_PER_CHUNK = 200
INDEX = "logical_actors/index"
# GCS notes a node's death and its actors' restarts within moments, in any order.
_NOTICED_MS = 1000
# The dashboard sees an actor's address only when it stood so long; and how far the log's times and the events' are apart.
_SEEN_MS, _CLOCKS_MS = 2, 5
# Ray: PLACEMENT_GROUP_{INDEXED_BUNDLED,WILDCARD}_RESOURCE_PATTERN.
_IN_BUNDLE = re.compile(r"(.+)_group_(\d+)_([0-9a-zA-Z]+)")
_IN_GROUP = re.compile(r"(.+)_group_([0-9a-zA-Z]+)")


def chunk(number: int) -> str:
    """The document with the actors of one chunk, `{actor id: actor}`."""
    return f"logical_actors/{number}"


def logical_actor(actor: Actor, ip: str) -> dict[str, Any]:
    """`ip` is that of the node it runs on, or ran on last."""
    address = actor.address
    shown: dict[str, Any] = {
        "actorId": actor.id,
        "jobId": actor.job_id,
        "address": {
            "nodeId": address.node_id,
            "ipAddress": ip if actor.has_address and address.node_id else "",
            "port": address.port,
            "workerId": address.worker_id,
        },
        "name": actor.name,
        "className": actor.class_name,
        "state": actor.state,
        "numRestarts": str(actor.restarts),
        "timestamp": float(actor.timestamp),
        "pid": actor.pid,
        "startTime": actor.start,
        "endTime": actor.end,
        "reprName": actor.repr_name,
        "labelSelector": part(actor.definition, "labelSelector"),
        "actorClass": actor.class_name,
        "exitDetail": exit_detail(actor.death_cause),
        "requiredResources": own_resources(amounts(actor.definition, "requiredResources")),
        "gpus": [],
        "processStats": None,
        "mem": [],
        "tpus": [],
    }
    if actor.state == "ALIVE":
        shown["workerId"] = address.worker_id
    if actor.placement_group_id:
        shown["placementGroupId"] = actor.placement_group_id
    if call_site := text(actor.definition, "callSite"):
        shown["callSite"] = call_site
    return shown


def listed_on(actor: Actor, nodes: dict[str, Node], driver_nodes: dict[str, str]) -> list[str]:
    """Nodes that live lists an actor under: those it was on, also former ones, and those that were asked to restart it.

    GCS asks the owner's node first and tells the dashboard so (`gcs_actor_scheduler.SelectForwardingNode`), which misses what changes
    within a millisecond. Without the GCS's log the owner's node counts where the actor's own node died. `driver_nodes` by job: the owner
    is not exported unless the actor died of it.
    """
    if not actor.nodes:
        return [actor.address.node_id] if actor.has_address else []
    listed = list(actor.nodes)
    if actor.leased and actor.restarted_from:
        listed += _asked_at_restarts(actor)
    elif any(node_id in nodes and 0 < nodes[node_id].end <= ms + _NOTICED_MS for node_id, ms in actor.restarted_from):
        owner_ip = text(part(actor.death_cause, "actorDiedErrorContext"), "ownerIpAddress")
        owner = next((node.id for node in nodes.values() if node.ip == owner_ip), driver_nodes.get(actor.job_id))
        listed += [owner] if owner else []
    return list(dict.fromkeys(listed))


def _asked_at_restarts(actor: Actor) -> list[str]:
    first = min(ms for _, ms in actor.restarted_from) - _CLOCKS_MS
    following = [*actor.leased[1:], (actor.leased[-1][0] + _SEEN_MS, "")]
    asked = zip(actor.leased, following, strict=True)
    # A node that is asked again and again is asked for as long as that takes.
    return [node_id for (ms, node_id), (next_ms, next_node) in asked if ms >= first and (next_ms - ms >= _SEEN_MS or next_node == node_id)]


def own_resources(required: dict[str, float]) -> dict[str, float]:
    """Resources of a placement group by their plain names (Ray: `parse_pg_formatted_resources_to_original`)."""
    plain = {}
    for name, amount in required.items():
        match = _IN_BUNDLE.match(name) or _IN_GROUP.match(name)
        if match is None:
            plain[name] = amount
        elif match[1] != "bundle":
            plain[match[1]] = amount
    return plain


def chunks(actors: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Documents: chunks in id order, and the first id of each."""
    ids = sorted(actors)
    starts = ids[::ACTORS_PER_CHUNK]
    documents: dict[str, Any] = {INDEX: starts}
    for place in range(len(starts)):
        chosen = ids[place * ACTORS_PER_CHUNK : (place + 1) * ACTORS_PER_CHUNK]
        documents[chunk(place)] = {actor_id: actors[actor_id] for actor_id in chosen}
    return documents
