"""Nodes: from their events to rows of the State API (`state_aggregator.list_nodes`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from workers.entities.fields import amounts, part, text, time_ns
from workers.entities.histories import History

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
