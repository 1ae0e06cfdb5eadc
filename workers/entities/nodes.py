"""Nodes: from their events to rows of the State API, and as the dashboard shows them (`/nodes?view=...`, `/nodes/{id}`).

Mirrors `state_aggregator.list_nodes` and `datacenter.DataOrganizer.get_node_info`. What live merges in from running hosts (cpu, network,
workers ...) was never stored. A page that does not find such a field throws and stays white, so `NODE_SHAPES` holds the emptiest value that
each page can show. `cpus`, `mem` and `disk` are left out: their pages show nothing then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.ray.proto_json import google_style
from workers.entities.fields import amounts, part, text, time_ns
from workers.entities.histories import History


class Shape(NamedTuple):
    """One field of `/nodes/{id}` and `/nodes?view=summary`. `read_by` are components below `dashboard/client/src/pages/node` of Ray."""

    field: str
    value: Any
    read_by: str


NODE_SHAPES = (
    Shape("cpu", 0, "NodeRow, NodeCard, NodeDetail: `{cpu}%`"),
    # Two triples: of the node, and per CPU. Empty ones are skipped.
    Shape("loadAvg", [None, None], "NodeDetail: `loadAvg[0] && ...`, `loadAvg[1] && ...`"),
    Shape("bootTime", 0, "NodeDetail: a date of `bootTime * 1000`"),
    Shape("networkSpeed", [0, 0], "NodeRow, NodeCard, NodeDetail: `memoryConverter(networkSpeed[0])`"),
    Shape("cmdline", [], "NodeDetail, tab Raylet: `cmdline.join(' ')`"),
    Shape("gpus", [], "GPUColumn, GRAMColumn, AcceleratorColumn: a row for each"),
    Shape("tpus", [], "AcceleratorColumn: a row for each"),
    Shape("workers", [], "NodeDetail, NodeRows, WorkerTable: a row for each"),
)


def with_node_shapes(node: dict[str, Any]) -> dict[str, Any]:
    """The node, with a neutral value for every field that it lacks."""
    return {shape.field: shape.value for shape in NODE_SHAPES} | node


SUMMARY = "nodes/summary"
HOSTNAMES = "nodes/hostnames"
# Where no report of our collector says otherwise: KubeRay mounts it there on every node, and its collector reads it there.
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
        "tempDir": "" if dead or not session else node.temp_dir,
        "sessionDir": "" if dead or not session else f"{node.temp_dir}/{session}",
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


HEAD_RESOURCE = "node:__internal_head__"
# Ray: `dashboard/utils.compose_state_message`.
_REASONS = {
    "EXPECTED_TERMINATION": "Expected termination",
    "UNEXPECTED_TERMINATION": "Unexpected termination",
    "AUTOSCALER_DRAIN_PREEMPTED": "Terminated due to preemption",
    "AUTOSCALER_DRAIN_IDLE": "Terminated due to idle (no Ray activity)",
}


@dataclass(slots=True)
class Node:
    """One node at the end of the session. Times in ms since the epoch, `end` 0 = alive."""

    id: str
    ip: str
    name: str
    hostname: str
    instance_id: str
    instance_type: str
    labels: dict[str, str]
    start: int
    state: str = "ALIVE"
    end: int = 0
    resources: dict[str, float] = field(default_factory=dict)
    death: dict[str, Any] = field(default_factory=dict)
    temp_dir: str = TEMP_DIR

    @property
    def is_head(self) -> bool:
        return HEAD_RESOURCE in self.resources

    @property
    def expected_end(self) -> bool:
        return text(self.death, "reason") == "EXPECTED_TERMINATION"

    @property
    def state_message(self) -> str | None:
        reason, message = _REASONS.get(text(self.death, "reason")), text(self.death, "reasonMessage")
        return f"{reason}: {message}" if reason and message else reason or message or None


def node_of(history: History) -> Node:
    definition = history.definition
    alive = history.first("ALIVE")
    ip = text(definition, "nodeIpAddress")
    node = Node(
        history.id,
        ip,
        text(definition, "nodeName") or ip,
        text(definition, "hostname"),
        text(definition, "instanceId"),
        text(definition, "instanceTypeName"),
        part(definition, "labels"),
        time_ns(definition, "startTimestamp") // 10**6 or (alive.ms if alive else 0),
    )
    for step in history.transitions:
        node.state = step.state or node.state
        if step.state == "DEAD":
            node.end = node.end or step.ms
            node.death = part(step.fields, "deathInfo") or node.death
        else:
            node.resources = amounts(step.fields, "resources") or node.resources
    return node


def node_row(node: Node) -> dict[str, Any]:
    return {
        "node_id": node.id,
        "node_ip": node.ip,
        "is_head_node": node.is_head,
        "state": node.state,
        "state_message": node.state_message,
        "node_name": node.name,
        "resources_total": node.resources,
        "labels": node.labels,
        "start_time_ms": node.start,
        "end_time_ms": node.end,
    }
