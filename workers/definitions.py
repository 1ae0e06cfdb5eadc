"""Task definitions: decoded and rendered once for all attempts whose definitions differ only in the ids of task, parent and actor.

Mirrors the part of Ray's `protobuf_to_task_state_dict` that depends on the definition alone.
"""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any

import msgspec

from shared.ray.ids import Hexer, id_or_none
from shared.ray.redaction import redact_serialized_runtime_env
from workers.ray_events import DEFINITION_DECODER, Definition, Function

_PARENT = b'"parentTaskId":"'
_OF_ACTOR = b'{"actorFunc":'
_ACTOR = b'"actorId":"'
_LABELS = b'"labelSelector":'
_TASK = b'"taskId":"'
_ID_LENGTH = 32
_ACTOR_ID_LENGTH = 24
_KEPT = 10_000
_DEFAULT_CONFIG = '{"setup_timeout_seconds":600,"eager_install":true,"log_files":[]}'
_NO_FALLBACK = '{"options":[]}'
_quote: Callable[[str], str] = encode_basestring
_decode = DEFINITION_DECODER.decode


class Shape(msgspec.Struct, gc=False, frozen=True):
    """What a definition contributes to rows: values of filter columns (ids in hex, None for none), and pieces of JSON text."""

    attempt: int
    kind: str
    name: str
    named_by_user: bool
    function: str
    job_id: str
    placement_group: str | None
    language: str
    name_text: str
    after_name: str
    after_actor: str
    before_events: str
    tail: str


UNDEFINED = Shape(0, "", "", False, "", "", None, "", "", "", "", "", "")


class Definitions:
    """Of one range. `redactions` maps JSON text that holds secrets to the text a browser may see."""

    def __init__(self, hexer: Hexer) -> None:
        self._hex = hexer
        self._shapes: dict[bytes, Shape] = {}
        self._actors: dict[bytes, str | None] = {}
        self._runtime_envs: dict[tuple[str, bool], str] = {}
        self.redactions: dict[str, str] = {}

    def find(self, text: bytes) -> tuple[Shape, str, str | None]:
        """The shape of a definition, its parent's id in hex, and its actor's (None for none).

        Raises msgspec.DecodeError, and ValueError for an id that is none.
        """
        # The last ones: in the collector's order of keys, maps with users' own keys come before.
        task = text.rfind(_TASK) + len(_TASK)
        parent = text.rfind(_PARENT, 0, task) + len(_PARENT)
        after_parent, after_task = parent + _ID_LENGTH, task + _ID_LENGTH
        if parent < len(_PARENT) or text[after_parent : after_parent + 1] + text[after_task : after_task + 1] != b'""':
            return self._decoded(text)
        actor = after_actor = 0
        if (found := text.find(_ACTOR)) >= 0:
            actor = found + len(_ACTOR)
            after_actor = actor + _ACTOR_ID_LENGTH
            if not text.startswith(_OF_ACTOR) or text.find(_LABELS, 0, found) >= 0 or text[after_actor : after_actor + 1] != b'"':
                return self._decoded(text)
        key = text[:actor] + text[after_actor:parent] + text[after_parent:task] + text[after_task:]
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= _KEPT:
                self._shapes.clear()
            shape = self._shapes[key] = self._shape(_decode(text))
        return shape, self._hex(text[parent:after_parent].decode()), self._actor(text[actor:after_actor])

    def _decoded(self, text: bytes) -> tuple[Shape, str, str | None]:
        """The same where ids are spelled otherwise, keys stand in another order, or users' keys look like ours."""
        definition = _decode(text)
        return self._shape(definition), self._hex(definition.parentTaskId), id_or_none(self._hex(definition.actorId))

    def _actor(self, text: bytes) -> str | None:
        known = self._actors.get(text)
        if known is None and text not in self._actors:
            known = self._actors[text] = id_or_none(self._hex(text.decode()))
        return known

    def _shape(self, d: Definition) -> Shape:
        function = _call_name(d.taskFunc or d.actorFunc)
        name = d.taskName or d.actorTaskName
        job_id, placement_group = self._hex(d.jobId), id_or_none(self._hex(d.placementGroupId))
        driver = d.taskType == "DRIVER_TASK"
        fallback = _raw(d.fallbackStrategy)
        return Shape(
            d.taskAttempt,
            d.taskType,
            name,
            name != function,
            function,
            job_id,
            placement_group,
            d.language,
            _quote(name),
            f',"job_id":"{job_id}","actor_id":',
            f',"type":{_quote(d.taskType)},"func_or_class_name":{_quote(function)},"parent_task_id":"',
            f',"language":{_quote(d.language)},"required_resources":{_raw(d.requiredResources)},'
            f'"runtime_env_info":{self._runtime_env(d.serializedRuntimeEnv, driver=driver)},'
            f'"placement_group_id":{id_json(placement_group)},"events":[',
            f',"call_site":{"null" if d.callSite is None else _quote(d.callSite)},"label_selector":{_raw(d.labelSelector)},'
            f'"fallback_strategy":{fallback if fallback != "null" or driver else _NO_FALLBACK}}}',
        )

    def _runtime_env(self, serialized: str, *, driver: bool) -> str:
        """`runtime_env_info`; live gives a config to all but drivers."""
        known = self._runtime_envs.get((serialized, driver))
        if known is None:
            text = f'"serialized_runtime_env":{_quote(serialized)}'
            shown = f'"serialized_runtime_env":{_quote(redact_serialized_runtime_env(serialized) or "")}'
            if shown != text and "env_vars" in serialized:
                self.redactions[text] = shown
            known = f"{{{text}}}" if driver else f'{{{text},"runtime_env_config":{_config(serialized)}}}'
            self._runtime_envs[serialized, driver] = known
        return known


def id_json(hex_id: str | None) -> str:
    return f'"{hex_id}"' if hex_id else "null"


def _call_name(function: Function | None) -> str:
    """Ray's `_call_string`: the last dotted component of class and function."""
    if function is None:
        return ""
    if (python := function.pythonFunctionDescriptor) is not None:
        name = python.functionName.rsplit(".", 1)[-1]
        return f"{python.className.rsplit('.', 1)[-1]}.{name}" if python.className else name
    if (java := function.javaFunctionDescriptor) is not None:
        return f"{java.className}.{java.functionName}" if java.className else java.functionName
    return function.cppFunctionDescriptor.functionName if function.cppFunctionDescriptor else ""


def _config(serialized: str) -> str:
    """The runtime env's own config, or Ray's defaults (`RuntimeEnvConfig`)."""
    if '"config"' not in serialized:
        return _DEFAULT_CONFIG
    try:
        config: Any = msgspec.json.decode(serialized).get("config")
    except (msgspec.DecodeError, AttributeError):
        return _DEFAULT_CONFIG
    if not isinstance(config, dict):
        return _DEFAULT_CONFIG
    return msgspec.json.encode({**msgspec.json.decode(_DEFAULT_CONFIG), **config}).decode()


def _raw(raw: msgspec.Raw) -> str:
    return bytes(raw).decode()
