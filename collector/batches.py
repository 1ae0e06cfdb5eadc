"""One POST of Ray's aggregator agent, sorted: which event belongs to which session, node and directory.

Lines are kept as they came; of each event only its envelope and its job's id are decoded. The core in Rust does the same in a third of
the time, where it is installed.
Mirrors `categorize` of KubeRay's `historyserver/pkg/collector/eventcollector`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from shared.errors import SettingsError
from shared.ray.proto_json import to_hex

NODE_EVENTS = "node_events"
NO_SESSION = "no session"
_JOB_EVENTS = "job_events/"
_NODE_EVENT_TYPES = ("NODE_DEFINITION_EVENT", "NODE_LIFECYCLE_EVENT")
_SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


class Place(NamedTuple):
    """Where an event is stored: `{session}/{node}/{directory}/...`. `node` is empty where the event does not name one."""

    session: str
    node: str
    directory: str


class Group(NamedTuple):
    """Events of one place: `ids` (empty where Ray gave none), and as `text` their lines, each with its newline."""

    place: Place
    ids: list[str]
    text: bytes


@dataclass(slots=True)
class Batch:
    """`unfit` counts, by reason, what can be stored nowhere."""

    groups: list[Group] = field(default_factory=list)
    unfit: Counter[str] = field(default_factory=Counter)


Reader = Callable[[bytes], Batch]
"""Of a body; raises NotEvents."""


class NotEvents(ValueError):
    """A body that is no JSON array of objects."""


class _OfJob(msgspec.Struct, gc=False):
    jobId: str = ""  # noqa: N815 - Ray's spelling


class _Envelope(msgspec.Struct, gc=False):
    eventId: str = ""  # noqa: N815
    eventType: str = ""  # noqa: N815
    sessionName: str = ""  # noqa: N815
    nodeId: str = ""  # noqa: N815
    driverJobDefinitionEvent: _OfJob | None = None  # noqa: N815
    driverJobLifecycleEvent: _OfJob | None = None  # noqa: N815
    taskDefinitionEvent: _OfJob | None = None  # noqa: N815
    taskLifecycleEvent: _OfJob | None = None  # noqa: N815
    taskProfileEvents: _OfJob | None = None  # noqa: N815
    actorTaskDefinitionEvent: _OfJob | None = None  # noqa: N815
    actorDefinitionEvent: _OfJob | None = None  # noqa: N815


_PARTS = _Envelope.__struct_fields__[4:]
_PART_OF = {
    "TASK_LIFECYCLE_EVENT": "taskLifecycleEvent",
    "TASK_PROFILE_EVENT": "taskProfileEvents",
    "TASK_DEFINITION_EVENT": "taskDefinitionEvent",
    "ACTOR_TASK_DEFINITION_EVENT": "actorTaskDefinitionEvent",
}
_FIRST = b'[{"eventId": "'
_BETWEEN = b'}, {"eventId": "'
_decode_lines = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_envelopes = msgspec.json.Decoder(list[_Envelope]).decode


def read_batch(body: bytes) -> Batch:
    """Raises NotEvents. An event that does not fit is counted and left out: Ray would send a refused batch for ever."""
    try:
        if not body.isascii():
            body.decode()
        if b"\n" in body:  # between its parts; Ray sends none
            body = msgspec.json.format(body, indent=-1)
        if b"\n" in body:
            raise NotEvents("a line break within a string")
        envelopes, lines = _envelopes_and_lines(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise NotEvents(str(exc)) from None
    batch = Batch()
    groups: dict[Place, tuple[list[str], list[bytes]]] = {}
    for line, envelope in zip(lines, envelopes, strict=True):
        if envelope is None:
            batch.unfit["not an event"] += 1
        elif place := _place(envelope):
            ids, texts = groups.get(place) or groups.setdefault(place, ([], []))
            ids.append(envelope.eventId)
            texts.append(line)
        else:
            batch.unfit[NO_SESSION] += 1
    batch.groups = [Group(place, ids, b"\n".join([*texts, b""])) for place, (ids, texts) in groups.items()]
    return batch


def _envelopes_and_lines(body: bytes) -> tuple[list[_Envelope | None], list[bytes]]:
    """Each element's envelope, None for what is no object, and its text. Raises msgspec.MsgspecError."""
    try:
        envelopes: list[_Envelope | None] = [*_decode_envelopes(body)]
    except msgspec.ValidationError:
        lines = [bytes(line) for line in _decode_lines(body)]
        return [_lenient(line) for line in lines], lines
    return envelopes, _split(body, envelopes) or [bytes(line) for line in _decode_lines(body)]


def _split(body: bytes, envelopes: list[_Envelope | None]) -> list[bytes]:
    """The elements where Ray's client has put them, each beginning with its id; empty when that does not hold for all of them.

    Within a string a quote stands behind a backslash, so no text can look like the border between two events.
    """
    if not body.startswith(_FIRST) or not body.endswith(b"}]"):
        return []
    parts = body[len(_FIRST) : -len(b"}]")].split(_BETWEEN)
    if len(parts) != len(envelopes):
        return []
    if not all(part.startswith(envelope.eventId.encode() + b'"') for part, envelope in zip(parts, envelopes, strict=True) if envelope):
        return []
    return [b'{"eventId": "%b}' % part for part in parts]


def _lenient(line: bytes) -> _Envelope | None:
    """Fields of other types than Ray's count as not there."""
    event = msgspec.json.decode(line)
    if not isinstance(event, dict):
        return None
    event_id, kind, session, node = (_text(event.get(name)) for name in ("eventId", "eventType", "sessionName", "nodeId"))
    envelope = _Envelope(eventId=event_id, eventType=kind, sessionName=session, nodeId=node)
    for name in _PARTS:
        setattr(envelope, name, _of_job(event.get(name)))
    return envelope


def _of_job(part: Any) -> _OfJob | None:
    return _OfJob(_text(part.get("jobId"))) if isinstance(part, dict) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _place(envelope: _Envelope) -> Place | None:
    job = ""
    if envelope.eventType not in _NODE_EVENT_TYPES:
        part = getattr(envelope, _PART_OF.get(envelope.eventType, "taskLifecycleEvent"))
        if part is None:
            part = next((part for name in _PARTS if (part := getattr(envelope, name)) is not None and part.jobId), None)
        job = part.jobId if part is not None else ""
    return place_of(envelope.sessionName, envelope.nodeId, job)


@lru_cache(4096)
def place_of(session: str, node: str, job: str) -> Place | None:
    """Of an event that names them so. None without a session to store it in."""
    if not _SAFE.fullmatch(session):
        return None
    node_id = _hex(node)
    name = _hex(job) or job
    return Place(session, node_id if len(node_id) == 56 else "", _JOB_EVENTS + name if _SAFE.fullmatch(name) else NODE_EVENTS)


def _hex(text: str) -> str:
    try:
        return to_hex(text)
    except ValueError:
        return ""


def batch_reader(wanted: str) -> Reader:
    """`read_batch`, or the core's. `wanted` is RAY_HISTORY_ENGINE: "auto", "native" or "python".

    Raises SettingsError when the core is wanted and not installed.
    """
    if wanted == "python":
        return read_batch
    try:
        from ray_history_core import sort_batch  # noqa: PLC0415 - it may be missing
    except ImportError:
        if wanted == "native":
            raise SettingsError("RAY_HISTORY_ENGINE=native, and the core is not installed (pip install ./core)") from None
        return read_batch

    def read(body: bytes) -> Batch:
        groups = sort_batch(body)
        if groups is None:  # unusual in some way
            return read_batch(body)
        batch = Batch()
        for session, node, job, ids, text in groups:
            if place := place_of(session, node, job):
                batch.groups.append(Group(place, ids, text))
            else:
                batch.unfit[NO_SESSION] += len(ids)
        return batch

    return read
