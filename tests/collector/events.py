"""Events as Ray's aggregator agent posts them."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

SESSION = "session_2026-11-29_10-11-12_123456_1"
NODE = "5d" * 28
JOB = "04000000"


def base64_of(hex_id: str) -> str:
    return base64.b64encode(bytes.fromhex(hex_id)).decode()


def event(event_id: str, *, job: str = JOB, session: str = SESSION, node: str = NODE, kind: str = "TASK_LIFECYCLE_EVENT") -> dict[str, Any]:
    part = {"TASK_LIFECYCLE_EVENT": "taskLifecycleEvent", "NODE_LIFECYCLE_EVENT": "nodeLifecycleEvent"}[kind]
    return {
        "eventId": event_id,
        "eventType": kind,
        "message": 'quotes ", and a \u4f60',
        "nodeId": base64_of(node) if node else "",
        "sessionName": session,
        "severity": "INFO",
        "sourceType": "CORE_WORKER",
        "timestamp": "2026-11-29T10:11:13.123456789Z",
        part: {"jobId": base64_of(job), "stateTransitions": [], "taskAttempt": 0, "taskId": "2MGtFYYQKJf///////////////8EAAAA"},
    }


def body(events: list[dict[str, Any]]) -> bytes:
    """As aiohttp's client writes it."""
    return json.dumps(events).encode()


def random_id(generator: random.Random) -> str:
    return base64.b64encode(generator.randbytes(28)).decode()
