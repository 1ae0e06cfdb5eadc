"""Event files as no collector should write them, by name; and lines with bytes changed. For tests of what loads make of them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tests.task_lines import TASK, defined, lived, profiled
from tests.unit.session_events import actor_defined, actor_states, alive, b64

UNTOUCHED = [defined("ab" * 20 + "03000000", name="untouched"), lived(("RUNNING", 1), ("FINISHED", 2), task_id="ab" * 20 + "03000000")]
_MIB = 1 << 20


def _with(*lines: bytes) -> Callable[[], bytes]:
    """Untouched events before and behind."""
    return lambda: b"\n".join([UNTOUCHED[0], *lines, UNTOUCHED[1], b""])


def _changed(line: bytes, **changes: Any) -> bytes:
    """With other values in the part of the event: text is JSON as it stands."""
    event = json.loads(line)
    part = next(value for value in event.values() if isinstance(value, dict))
    part.update(dict.fromkeys(changes, "PLACE"))
    text = json.dumps(event)
    for value in changes.values():
        text = text.replace('"PLACE"', value, 1)
    return text.encode(errors="surrogatepass")


_ODD_VALUES = {
    "null": "null", "true": "true", "float": "1.5", "negative": "-1", "2^63": "9223372036854775808", "2^64": "18446744073709551616",
    "5000_digits": "9" * 5000, "1e999": "1e999", "minus_1e999": "-1e999", "list": "[]", "list_of_lists": "[[[]]]", "object": "{}",
    "empty": '""', "surrogate": '"\\ud800"', "half_pair": '"x\\udc00y"', "nul": '"a\\u0000b"', "long": '"' + "x" * 100_000 + '"',
    "deep_100": "[" * 100 + "]" * 100, "deep_1000": "[" * 1000 + "]" * 1000, "not_base64": '"!!!!"', "short_id": '"AAAA"', "text": '"x"',
}  # fmt: skip
_DEFINITION = dict.fromkeys(
    ("taskAttempt", "jobId", "taskType", "taskName", "taskFunc", "requiredResources", "labelSelector", "fallbackStrategy", "parentTaskId"),
    "",
)
_LIFECYCLE = dict.fromkeys(
    (
        "taskAttempt",
        "stateTransitions",
        "nodeId",
        "workerId",
        "workerPid",
        "rayErrorInfo",
        "taskLogInfo",
        "actorReprName",
        "isDebuggerPaused",
    ),
    "",
)


def _everywhere(value: str) -> Callable[[], bytes]:
    """One odd value in every field, each in an event of its own."""
    lines = [_changed(defined(), **{name: value}) for name in _DEFINITION]
    lines += [_changed(lived(("RUNNING", 1)), **{name: value}) for name in _LIFECYCLE]
    lines += [_changed(profiled(("a", 1, 2)), **{name: value}) for name in ("attemptNumber", "profileEvents", "taskId")]
    lines += [
        _changed(json.dumps(actor_defined()).encode(), **{name: value}) for name in ("actorId", "className", "requiredResources", "jobId")
    ]
    lines += [_changed(json.dumps(actor_states(alive(1))).encode(), **{name: value}) for name in ("actorId", "stateTransitions")]
    return _with(*lines)


def _array(text: bytes) -> Callable[[], bytes]:
    return lambda: text


_EVENTS = [*UNTOUCHED, defined(), lived(("RUNNING", 1)), profiled(("a", 1, 2))]
_ARRAY = b"[" + b",\n".join(_EVENTS) + b"]"
HOSTILE: dict[str, Callable[[], bytes]] = {
    **{f"every_field_{name}": _everywhere(value) for name, value in _ODD_VALUES.items()},
    "empty": _array(b""),
    "blank_lines": _array(b"\n\r\n  \n\t\n"),
    "only_garbage": _array(b"x\ny\n\xff\n"),
    "nul_padding": lambda: b"\n".join([*UNTOUCHED, b""]) + bytes(8192),
    "nul_hole": lambda: UNTOUCHED[0] + b"\n" + bytes(4096) + UNTOUCHED[1] + b"\n",
    "invalid_utf8": _with(defined(name="NAME").replace(b"NAME", b"\xff\xfe")),
    "cut_character": _with(lived(("RUNNING", 1))[:-30] + "\u6b7b".encode()[:2]),
    "cut_and_glued": _with(lived(("RUNNING", 1))[:-30] + b'{"eventId":"x",' + lived(("RUNNING", 1))[1:]),
    "cut_line_at_end": lambda: b"\n".join([*UNTOUCHED, lived(("RUNNING", 1))[:-9]]),
    "two_on_a_line": _with(lived(("RUNNING", 1)) + lived(("FINISHED", 2))),
    "carriage_returns": lambda: b"\r\n".join([*UNTOUCHED, b""]),
    "only_carriage_returns": lambda: b"\r".join(UNTOUCHED),
    "byte_order_mark": lambda: b"\xef\xbb\xbf" + b"\n".join(UNTOUCHED),
    "utf16": lambda: b"\n".join(UNTOUCHED).decode().encode("utf-16"),
    "control_characters": _with(defined(name="NAME").replace(b"NAME", b"a\x01b")),
    "scalars": _with(b"1", b"null", b'"x"', b"[]", b"true", b"[1,2]"),
    "empty_objects": _with(b"{}", b'{"eventType":""}', b'{"eventType":null}', b'{"eventType":7.5}', b'{"eventType":[]}'),
    "unknown_types": _with(b'{"eventType":"NEW"}', b'{"eventType":99}', b'{"eventType":"TASK_EXECUTION_EVENT","taskExecutionEvent":{}}'),
    "types_by_number": _with(b'{"eventType":2}', lived(("FINISHED", 2)).replace(b'"TASK_LIFECYCLE_EVENT"', b"2")),
    "type_without_part": _with(b'{"eventType":"TASK_LIFECYCLE_EVENT"}', b'{"eventType":"ACTOR_DEFINITION_EVENT","actorDefinitionEvent":7}'),
    "parts_of_other_kinds": _with(*[b'{"eventType":"TASK_LIFECYCLE_EVENT","taskLifecycleEvent":%s}' % v for v in (b"7", b"[]", b'"x"', b"null")]),
    "several_parts": _with(lived(("RUNNING", 1))[:-1] + b',"taskDefinitionEvent":{"taskId":"%s"}}' % b64(TASK).encode()),
    "keys_twice": _with(lived(("RUNNING", 1))[:-1] + b',"eventType":"NEW","timestamp":7}', b'{"eventType":"NEW",' + lived(("RUNNING", 1))[1:]),
    "deep": _with(b"[" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "trailing_comma": _with(lived(("RUNNING", 1))[:-1] + b",}"),
    "single_quotes": _with(lived(("RUNNING", 1)).replace(b'"', b"'")),
    "python_literals": _with(b'{"eventType":"TASK_LIFECYCLE_EVENT","taskLifecycleEvent":None}', b'{"a":NaN}', b'{"a":Infinity}'),
    "task_id_one_character": _with(lived(("RUNNING", 1)).replace(b64(TASK).encode()[:9], b64(TASK).encode()[:8] + b"*")),
    "task_id_lengths": _with(*[lived(("RUNNING", 1), task_id="ab" * length) for length in (0, 1, 16, 23, 25, 28, 100)]),
    "task_ids_in_hex": _with(lived(("RUNNING", 1)).replace(b64(TASK).encode(), TASK.upper().encode())),
    "times": _with(*[lived(("RUNNING", 1)).replace(b"2026-11-23T19:00:01.000000000Z", t) for t in (
        b"", b"x", b"2026-11-23", b"2026-11-23T19:00:60Z", b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59.999999999Z", b"2026-13-01T00:00:00Z",
        b"2026-11-23T19:00:01+25:00", b"2026-11-23t19:00:01.1234567890123z", "\uff12\uff10\uff12\uff16-11-23T19:00:01Z".encode(), b"292277026596-12-04T15:30:08Z")]),
    "attempts": _with(*[lived(("RUNNING", 1), attempt=number) for number in (-1, 1 << 31, (1 << 63) - 1, 1 << 63)], defined(attempt=-5)),
    "many_attempts": _with(*[defined(attempt=number) for number in range(2000)]),
    "states": _with(lived(*[(f"S{number}", number % 60) for number in range(3000)])),
    "spans": _with(profiled(*[(f"s{number}", number, number) for number in range(20_000)])),
    "spans_of_one_time": _with(profiled(*[(f"s{number % 3}", 5, 5) for number in range(5000)])),
    "extras": _with(*[profiled(("a", 1, 2), extra=text) for text in ("{", "[]", '{"a":NaN}', '{"a":1e999}', '{"a":"\\ud800"}', "\n{}", '{"a":' * 500, "x" * _MIB)]),
    "environments": _with(*[defined(attempt=number, serializedRuntimeEnv=text) for number, text in enumerate(
        ("{", "[]", '{"config":7,"env_vars":7}', '{"config":[],"env_vars":{"a":null}}', "[" * 5000, '{"env_vars":{"a":' + "9" * 5000 + "}}", '{"config":{"a":1e999}}'))]),
    "resources": _with(_changed(defined(), requiredResources='{"CPU":"1","a":null,"b":1e308,"c":-0.0,"":1,"e":true,"f":"NaN","g":1e-9}')),
    "fallbacks": _with(*[_changed(defined(attempt=number), fallbackStrategy=text) for number, text in enumerate(
        ('{"options":[{"labelSelector":{"a":"b"}}]}', "7", '"x"', "[18446744073709551616]", '{"a":"\\ud800"}'))]),
    "empty_text_states": _with(lived(("", 1), ('"', 2), ("\n", 3), ("\u2028", 4))),
    "snake_case": _with(b'{"event_type":"TASK_LIFECYCLE_EVENT","task_lifecycle_event":{"task_id":"%s","task_attempt":"x"}}' % b64(TASK).encode()),
    "a_key_of_a_megabyte": _with(b'{"' + b"k" * _MIB + b'":1}'),
    "a_thousand_keys": _with(b"{" + b",".join(b'"k%d":{}' % number for number in range(1000)) + b"}"),
    "a_line_that_is_too_long": lambda: b"\n".join([*UNTOUCHED, b'{"a":"' + b"x" * (3 * _MIB) + b'"}', b""]),
    "no_newline_in_megabytes": lambda: b"x" * (5 * _MIB),
    "array": _array(_ARRAY),
    "array_cut_off": _array(_ARRAY[:-40]),
    "array_cut_in_text": _array(_ARRAY[: _ARRAY.rindex(b"componentType") + 4]),
    "array_with_garbage": lambda: b'[1,null,"x",{},' + b",".join(_EVENTS) + b",[[{}]]]]]",
    "array_and_lines": lambda: _ARRAY + b"\n" + b"\n".join(UNTOUCHED),
    "array_of_arrays": lambda: b"[" + _ARRAY + b"]",
    "array_never_closed": lambda: b"[" * 10_000,
    "gzip": lambda: gzip.compress(b"\n".join(UNTOUCHED)),
    "gzip_cut_off": lambda: gzip.compress(b"\n".join(UNTOUCHED * 50))[:-20],
    "gzip_damaged": lambda: _flipped(gzip.compress(b"\n".join(UNTOUCHED * 500))),
    "gzip_twice": lambda: gzip.compress(gzip.compress(b"\n".join(UNTOUCHED))),
    "gzip_then_text": lambda: gzip.compress(UNTOUCHED[0] + b"\n") + UNTOUCHED[1],
    "gzip_head_only": _array(b"\x1f\x8b"),
    "gzip_bomb": lambda: gzip.compress(bytes(40 * _MIB), 1),
    "gzip_of_one_line": lambda: gzip.compress((UNTOUCHED[1] + b"\n") * 30_000, 1),
}  # fmt: skip


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


def mutated(lines: Sequence[bytes], share: float, random: Random) -> list[bytes]:
    """A share of the lines with something changed: bytes, a cut, a doubled or dropped piece, digits, another line's end."""
    found = list(lines)
    for at in random.sample(range(len(found)), max(1, round(len(found) * share))):
        line = found[at]
        if not line:
            continue
        place, length = random.randrange(len(line)), random.randrange(1, 30)
        found[at] = random.choice(
            [
                line[:place] + random.randbytes(random.randrange(1, 5)) + line[place + 1 :],
                line[:place],
                line[:place] + line[place + length :],
                line[:place] + line[place : place + length] * 2 + line[place + length :],
                line[:place] + bytes(random.choice(b'"{}[],:0123456789\\eE.-ntf ') for _ in range(3)) + line[place + 3 :],
                line[:place] + random.choice(found),
                line[:place] + bytes([line[place] ^ (1 << random.randrange(8))]) + line[place + 1 :],
                line.replace(b'"0"', b'"%d"' % random.getrandbits(70)).replace(b":0,", b":%d," % random.getrandbits(70)),
            ]
        )
    return found
