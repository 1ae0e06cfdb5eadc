"""Actors as the dashboard shows them (`/logical/actors`), in chunks by id, so that one actor costs one chunk.

Mirrors `node_head._actor_table_data_to_dict` and `datacenter.DataOrganizer._get_actor_info`. What live merges in from running
workers and their hosts (gpus, processStats, mem ...) is empty, as live shows it once they are gone.
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
            "ipAddress": ip if actor.nodes and address.node_id else "",
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
    if actor.placement_group_id:
        shown["placementGroupId"] = actor.placement_group_id
    if call_site := text(actor.definition, "callSite"):
        shown["callSite"] = call_site
    return shown


def listed_on(actor: Actor, nodes: dict[str, Node], driver_nodes: dict[str, str]) -> list[str]:
    """Nodes that live lists an actor under: those it was on, also former ones.

    And its owner's, when its node died: GCS asks the owner's node for a new worker first and tells the dashboard so
    (`gcs_actor_scheduler.SelectForwardingNode`). `driver_nodes` by job: the owner is not exported unless the actor died of it.
    """
    listed = list(actor.nodes)
    if any(node_id in nodes and 0 < nodes[node_id].end <= ms + _NOTICED_MS for node_id, ms in actor.restarted_from):
        owner_ip = text(part(actor.death_cause, "actorDiedErrorContext"), "ownerIpAddress")
        owner = next((node.id for node in nodes.values() if node.ip == owner_ip), driver_nodes.get(actor.job_id))
        if owner and owner not in listed:
            listed.append(owner)
    return listed


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
