"""Nodes as the dashboard shows them: `/nodes?view=summary`, `?view=hostNameList` and `/nodes/{id}`.

Mirrors `datacenter.DataOrganizer.get_node_info`. What live merges in from running hosts (cpu, mem, disk, network, workers ...)
was never stored: those fields hold neutral values in the shapes that the pages read (`shared/ray/page_shapes.py`).
"""

from __future__ import annotations

from typing import Any

from shared.ray.google_style import google_style
from shared.ray.page_shapes import with_node_shapes
from workers.entities.nodes import Node

SUMMARY = "nodes/summary"
HOSTNAMES = "nodes/hostnames"
# KubeRay mounts it there on every node, and its collector reads it there.
TEMP_DIR = "/tmp/ray"  # noqa: S108 - a path of the recorded cluster


def detail(node_id: str) -> str:
    """The document of one node."""
    return f"nodes/id/{node_id}"


def node_documents(nodes: list[Node], actors: dict[str, dict[str, dict[str, Any]]], session: str) -> dict[str, Any]:
    """`actors` by the nodes that they were on, by id. The documents are the `data` of each answer.

    `session` names the nodes' directories; "" for Ray that does not show them.
    """
    documents: dict[str, Any] = {
        SUMMARY: {"summary": [google_style(_host(node, session)) for node in nodes], "nodeLogicalResources": {}},
        HOSTNAMES: {"hostNameList": list({node.hostname: None for node in nodes if node.state == "ALIVE"})},
    }
    for node in nodes:
        shown = {**_host(node, session), "actors": actors.get(node.id, {})}
        documents[detail(node.id)] = {"detail": google_style(shown)}
    return documents


def _host(node: Node, session: str) -> dict[str, Any]:
    return with_node_shapes({"hostname": node.hostname, "ip": node.ip, "raylet": _raylet(node, session)})


def _raylet(node: Node, session: str) -> dict[str, Any]:
    """The news of a node's death, which replaces all that live knew of it, says only why and when."""
    dead = node.state == "DEAD"
    known: dict[str, Any] = {
        "nodeManagerAddress": "" if dead else node.ip,
        "nodeManagerHostname": "" if dead else node.hostname,
        "resourcesTotal": {} if dead else node.resources,
        "nodeName": "" if dead else node.name,
        "instanceId": "" if dead else node.instance_id,
        "instanceTypeName": "" if dead else node.instance_type,
        "startTimeMs": "0" if dead else str(node.start),
        "isHeadNode": not dead and node.is_head,
        "labels": {} if dead else node.labels,
        "tempDir": "" if dead or not session else TEMP_DIR,
        "sessionDir": "" if dead or not session else f"{TEMP_DIR}/{session}",
    }
    ended = {"deathInfo": node.death} if node.death else {}
    return {
        "objectStoreUsedMemory": 0,
        "objectStoreAvailableMemory": 0,
        "nodeId": node.id,
        **known,
        "state": node.state,
        "endTimeMs": str(node.end),
        **ended,
        "stateMessage": node.state_message,
    }
