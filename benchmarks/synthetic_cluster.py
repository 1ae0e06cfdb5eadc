"""The cluster of a synthetic session: its nodes and worker processes, and their events."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from random import Random

from benchmarks.recorded_events import SECOND, Event, Recorded, go_json, rfc3339

SESSION = "session_2026-11-24_08-00-00_000000_1"
BEGIN = 1_795_507_200 * SECOND
NODE_EVENTS = "node_events"


@dataclass(frozen=True, slots=True)
class Node:
    """The first node of a cluster is its head, which owns all tasks and runs some when it is alone."""

    hex: str
    base64: bytes
    name: str
    ip: str


@dataclass(slots=True)
class Worker:
    """A worker process; `stdout` and `stderr` are where its log files end so far."""

    id: bytes
    pid: int
    node: Node
    job: str
    stdout: int
    stderr: int

    @property
    def log(self) -> str:
        """The log files' path without suffix."""
        return f"/tmp/ray/{SESSION}/logs/worker-{self.id.hex()}-{self.job}-{self.pid}"


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """A line for one node's `node_events`."""

    node: str
    when: int
    line: bytes


def make_nodes(count: int, random: Random) -> list[Node]:
    nodes = []
    for n in range(count):
        node = random.randbytes(28)
        name = f"synthetic-worker-{n}" if n else "synthetic-head"
        nodes.append(Node(node.hex(), b64encode(node), name, f"10.0.{n // 250}.{n % 250 + 1}"))
    return nodes


def stamped(event: Event, emitter: Node, when: int, random: Random) -> bytes:
    """An event's line, sent by a node at a time, with an id of its own."""
    about = {
        "eventId": b64encode(random.randbytes(28)).decode(),
        "nodeId": emitter.base64.decode(),
        "sessionName": SESSION,
        "timestamp": rfc3339(when).decode(),
    }
    return go_json(event | about) + b"\n"


def node_events(nodes: list[Node], cpus: int, recorded: Recorded, random: Random) -> list[NodeEvent]:
    """Definition and ALIVE of each node."""
    head = nodes[0]
    definition = recorded.first("NODE_DEFINITION_EVENT")
    alive = recorded.first("NODE_LIFECYCLE_EVENT", lambda e: e["nodeLifecycleEvent"]["stateTransitions"][0]["state"] == "ALIVE")
    events = []
    for number, node in enumerate(nodes):
        group = "small-group" if number else "headgroup"
        definition["nodeDefinitionEvent"] |= {
            "nodeId": node.base64.decode(),
            "nodeIpAddress": node.ip,
            "nodeName": node.ip,
            "hostname": node.name,
            "instanceId": node.name,
            "startTimestamp": rfc3339(BEGIN - SECOND).decode(),
            "labels": {"ray.io/node-id": node.hex, "ray.io/node-group": group},
        }
        resources = {"CPU": cpus if number else 0, "memory": 64e9, "object_store_memory": 20e9, f"node:{node.ip}": 1}
        when = BEGIN + number * 10**6
        alive["nodeLifecycleEvent"] |= {
            "nodeId": node.base64.decode(),
            "stateTransitions": [
                {
                    "aliveSubState": "UNSPECIFIED",
                    "state": "ALIVE",
                    "timestamp": rfc3339(when).decode(),
                    "resources": resources if number else resources | {"node:__internal_head__": 1},
                }
            ],
        }
        events.append(NodeEvent(head.hex, when, stamped(definition, head, when, random)))
        events.append(NodeEvent(head.hex, when + 500, stamped(alive, head, when + 500, random)))
    return events


def make_workers(nodes: list[Node], each: int, first_pid: int, job: bytes, random: Random) -> list[Worker]:
    """`each` workers on every node but the head, unless it is alone."""
    begin = len(f":job_id:{job.hex()}\n")
    places = [node for node in nodes[1:] or nodes for _ in range(each)]
    return [Worker(random.randbytes(28), first_pid + n, node, job.hex(), begin, begin) for n, node in enumerate(places)]


def worker_events(workers: list[Worker], head: Node, recorded: Recorded, random: Random) -> list[NodeEvent]:
    """Definition and ALIVE of each worker."""
    definition = recorded.first("WORKER_DEFINITION_EVENT")
    alive = recorded.first("WORKER_LIFECYCLE_EVENT", lambda e: e["workerLifecycleEvent"]["stateTransitions"][0]["state"] == "ALIVE")
    when, ms = BEGIN + SECOND, BEGIN // 10**6
    events = []
    for worker in workers:
        worker_id = b64encode(worker.id).decode()
        definition["workerDefinitionEvent"] |= {"nodeId": worker.node.base64.decode(), "pid": worker.pid, "workerId": worker_id}
        reached = {
            "endTimeMs": "0",
            "startTimeMs": str(ms + 1000),
            "state": "ALIVE",
            "timestamp": rfc3339(when).decode(),
            "workerLaunchTimeMs": str(ms),
            "workerLaunchedTimeMs": str(ms + 900),
        }
        alive["workerLifecycleEvent"] |= {"workerId": worker_id, "jobId": "", "stateTransitions": [reached]}
        events.append(NodeEvent(head.hex, when, stamped(definition, head, when, random)))
        events.append(NodeEvent(head.hex, when + 500, stamped(alive, head, when + 500, random)))
    return events
