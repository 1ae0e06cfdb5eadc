"""Events and stored files of made-up sessions, in the shape in which a load hands them to `workers.entities.build`."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from shared.errors import ObjectNotFound
from shared.sessions import Session
from shared.storage.port import ObjectInfo
from workers.bad_data import Skipped
from workers.entities import Entities, build
from workers.event_files import Stored
from workers.log_pieces import LogPieces

SESSION = Session("default", "raycap", "session_2026-11-23_19-00-40_785172_1")
HEAD, WORKER_NODE = "aa" * 28, "bb" * 28
ACTOR, JOB = "01" * 12 + "03000000", "03000000"
PREFIX = "p/"
# Small, so that lines are cut.
_CHUNK = 37


def b64(hex_id: str) -> str:
    return base64.b64encode(bytes.fromhex(hex_id)).decode()


def at(seconds: float) -> str:
    """A point in time, in seconds after 2026-11-23 19:00 UTC."""
    whole = int(seconds)
    return f"2026-11-23T19:{whole // 60:02d}:{whole % 60:02d}.{round((seconds - whole) * 1e9):09d}Z"


def ms(seconds: float) -> int:
    """The same in ms since the epoch."""
    return 1795460400000 + round(seconds * 1000)


def event(kind: str, part: str, body: dict[str, Any], seconds: float = 0) -> dict[str, Any]:
    return {"eventType": kind, "timestamp": at(seconds), "eventId": "x", "sessionName": SESSION.session, part: body}


def state(name: str, seconds: float, **fields: Any) -> dict[str, Any]:
    return {"state": name, "timestamp": at(seconds), **fields}


def actor_defined(actor_id: str = ACTOR, **fields: Any) -> dict[str, Any]:
    body = {"actorId": b64(actor_id), "jobId": b64(JOB), "className": "Counter", "name": "", "requiredResources": {}, **fields}
    return event("ACTOR_DEFINITION_EVENT", "actorDefinitionEvent", body)


def actor_states(*steps: dict[str, Any], actor_id: str = ACTOR) -> dict[str, Any]:
    return event("ACTOR_LIFECYCLE_EVENT", "actorLifecycleEvent", {"actorId": b64(actor_id), "stateTransitions": list(steps)})


def alive(seconds: float, worker_id: str = "cc" * 28, node_id: str = WORKER_NODE, **fields: Any) -> dict[str, Any]:
    return state("ALIVE", seconds, nodeId=b64(node_id), workerId=b64(worker_id), pid=7, port=20001, **fields)


def died(seconds: float, message: str = "gone", **fields: Any) -> dict[str, Any]:
    return state("DEAD", seconds, deathCause={"actorDiedErrorContext": {"errorMessage": message, **fields}}, nodeId="", workerId="", pid=0)


def node_defined(node_id: str = HEAD, ip: str = "10.0.0.1", **fields: Any) -> dict[str, Any]:
    body = {"nodeId": b64(node_id), "nodeIpAddress": ip, "nodeName": ip, "hostname": f"host-{ip}", "startTimestamp": at(5), **fields}
    return event("NODE_DEFINITION_EVENT", "nodeDefinitionEvent", body)


def node_states(*steps: dict[str, Any], node_id: str = HEAD) -> dict[str, Any]:
    return event("NODE_LIFECYCLE_EVENT", "nodeLifecycleEvent", {"nodeId": b64(node_id), "stateTransitions": list(steps)})


def two_nodes() -> list[dict[str, Any]]:
    """A head and a worker node, both alive."""
    return [
        node_defined(),
        node_states(state("ALIVE", 5, resources={"node:__internal_head__": 1})),
        node_defined(WORKER_NODE, "10.0.0.2"),
        node_states(state("ALIVE", 6, resources={"CPU": 4}), node_id=WORKER_NODE),
    ]


def driver_job(job_id: str = JOB, *, metadata: dict[str, str] | None = None, finished: float | None = None, env: str = "{}") -> list[Any]:
    config = {"metadata": metadata or {}, "serializedRuntimeEnv": env}
    body = {"jobId": b64(job_id), "driverPid": "42", "driverNodeId": b64(HEAD), "entrypoint": "python main.py", "config": config}
    steps = [state("CREATED", 10)] + ([state("FINISHED", finished)] if finished else [])
    return [
        event("DRIVER_JOB_DEFINITION_EVENT", "driverJobDefinitionEvent", body),
        event("DRIVER_JOB_LIFECYCLE_EVENT", "driverJobLifecycleEvent", {"jobId": b64(job_id), "stateTransitions": steps}),
    ]


class Files:
    """Storage over a dict of keys below PREFIX."""

    def __init__(self, contents: dict[str, str]) -> None:
        self._contents = {PREFIX + key: text.encode() for key, text in contents.items()}

    def infos(self) -> list[ObjectInfo]:
        return [ObjectInfo(key, len(content)) for key, content in self._contents.items()]

    def read_range(self, key: str, start: int, length: int) -> bytes:
        if key not in self._contents:
            raise ObjectNotFound(key)
        return self._contents[key][start : start + length]

    def stream(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        content = self.read_range(key, start, len(self._contents[key]) if length is None else length)
        yield from (content[at : at + _CHUNK] for at in range(0, len(content), _CHUNK))


def stored(
    logs: dict[str, str] | None = None,
    endpoints: dict[str, bytes] | None = None,
    log_events: list[bytes] | None = None,
    sibling_metadata: bytes | None = None,
    temp_dirs: dict[str, str] | None = None,
) -> Stored:
    """`logs` by key below the session."""
    files = Files(logs or {})
    pieces = LogPieces(files, {info.key.removeprefix(PREFIX): info for info in files.infos()}, _no_loss)  # type: ignore[arg-type]
    texts = [(f"{HEAD}/logs/events/event_X.log", b"\n".join(log_events or []))]
    return Stored(endpoints or {}, texts, pieces, sibling_metadata, temp_dirs=temp_dirs or {})


def _no_loss(key: str, code: str, message: str) -> None:
    raise AssertionError((key, code, message))


def built(
    events: list[dict[str, Any]], files: Stored | None = None, session: Session = SESSION, skipped: Skipped | None = None
) -> Entities:
    return build(events, files or stored(), session, skipped or Skipped())
