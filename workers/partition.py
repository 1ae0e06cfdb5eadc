"""Event files to lines: those of a task together (still as bytes), tasks by range of their ids, everything else decoded at once.

Only the id in the bytes is looked at; whatever looks unusual is decoded and put where its value belongs. So a line is fully
decoded once, by the merge of its range, and right before its task is merged and rendered, while it is in the CPU's caches.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import Any, cast

import msgspec
import structlog
from isal import igzip, isal_zlib

from shared.ray.ids import to_hex
from workers.ray_events import ENTITY_EVENTS, TASK_EVENTS, AnyEvent, TaskEvent
from workers.spelling import camel_case

log = structlog.get_logger()

_MARK = b'"taskId":"'
_PARTS = (b'"taskDefinitionEvent":', b'"taskLifecycleEvent":', b'"taskProfileEvents":')
# The collector's Go writes keys in order: most events begin so, then come their envelope, with the type first, and the task's part.
# The envelope is compared; the id before it, which nobody needs, is not looked at.
_BEGIN = b'{"eventId":"'
_ENVELOPE_AT = len(_BEGIN) + 40
_TYPE_AT = _ENVELOPE_AT + len(b'","eventType":"')
_TYPE_END = _TYPE_AT + len("TASK_LI")
_NO_ENVELOPE = (b"{", 1)
_NEEDED = frozenset(TaskEvent.__struct_fields__)
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VALUE = {bytes([c]): i for i, c in enumerate(_ALPHABET)} | {b"-": 62, b"_": 63}
_ALL_ONES = b"//////////"
# First characters of an id that decide where it goes; those of creation tasks and drivers all begin alike.
_DECISIVE = [bytes(pair) for pair in product(_ALPHABET, repeat=2) if bytes(pair) != _ALL_ONES[:2]]
_QUOTE, _BRACE = b'"{'
# isal's type stubs do not know that it is an exception.
_GZIP_ERROR = cast("type[Exception]", isal_zlib.error)
_URL_SAFE = re.compile(rb"[-_]")
_PLAIN = bytes.maketrans(b"-_", b"+/")
_PLAIN_ID = re.compile(rb"[A-Za-z0-9+/]{32}")
_SAMPLES = 3
_SALVAGE = 1 << 12
# What is unpacked and cut into lines at a time should stay in the CPU's caches until it is merged. But lines that are alike are better
# packed together: so many slices in each range, unless there were too many in all.
_SLICES, _SLICES_IN_ALL = 8, 256

_decode_event = msgspec.json.Decoder(AnyEvent).decode
_decode_dict = msgspec.json.Decoder(dict[str, Any]).decode
_decode_lines = msgspec.json.Decoder(list[msgspec.Raw]).decode


class UnreadableFile(Exception):
    """An event file that is not what its bytes promise. `code` is `bad_gzip` or `bad_json`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Ranges:
    """Splits task ids into `count` ranges in id order, and a further fifth for ids that begin with eight ff (creation tasks, drivers).

    Each is cut into some slices, in id order, too.
    """

    def __init__(self, count: int) -> None:
        plain, ones = max(1, count), _ranges_of_ones(count)
        self.count = plain + ones
        self.slices = max(1, min(_SLICES, _SLICES_IN_ALL // self.count))
        self._plain, self._ones = plain * self.slices, ones * self.slices
        self.by_prefix = {
            a + b: (((va << 6) | vb) * self._plain) >> 12 for a, va in _VALUE.items() for b, vb in _VALUE.items()
        }  # fmt: skip

    @classmethod
    @lru_cache(maxsize=8)
    def in_total(cls, count: int) -> Ranges:
        """The ranges that are `count` altogether, the further ones included."""
        return cls(next(plain for plain in range(1, count + 1) if plain + _ranges_of_ones(plain) == count))

    def of(self, task_id: bytes) -> int:
        """The slice of a base64 id, counted over all ranges."""
        if self._ones and task_id.startswith(_ALL_ONES):
            low = ((_VALUE[task_id[10:11]] & 3) << 6) | _VALUE[task_id[11:12]]
            return self._plain + (low * self._ones >> 8)
        return self.by_prefix[task_id[:2]]


def _ranges_of_ones(plain: int) -> int:
    return 0 if plain <= 1 else max(1, plain // 5)


@dataclass(slots=True)
class Lines:
    """What one or more files held: lines by slice of all ranges, other events decoded, and what was skipped, by reason."""

    by_slice: list[list[bytes]]
    # So many in each range.
    slices: int
    entities: list[dict[str, Any]] = field(default_factory=list)
    events: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    # By the first two characters of an id; made once, as a session may have thousands of small files.
    appends: dict[bytes, Callable[[bytes], None]] = field(default_factory=dict)
    # By the first letters of an event's type: the last envelope seen, from behind the event's id, and where the task's part begins.
    envelopes: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, ranges: Ranges) -> Lines:
        return cls([[] for _ in range(ranges.count * ranges.slices)], ranges.slices)

    def texts(self) -> Iterator[list[bytes]]:
        """For each range the texts of its slices, which `tasks_in` reads. The lines are released."""
        lines, self.by_slice, self.appends = self.by_slice, [], {}
        lines.reverse()
        while lines:
            yield [b"\n".join(lines.pop()) for _ in range(self.slices)]

    def part_of(self, line: bytes) -> int:
        """Where what the merge needs of a line begins: at the task's part, if nothing is needed before it, or behind the opening brace."""
        part = line.find(b',"task') + 1
        if line.startswith(_PARTS, part) and line.startswith(_BEGIN):
            try:
                before = _decode_dict(line[: part - 1] + b"}")
            except msgspec.DecodeError:
                return 1
            if _NEEDED.isdisjoint(before):
                end = line.index(b":", part)
                self.envelopes[line[_TYPE_AT:_TYPE_END]] = line[_ENVELOPE_AT:end], part
                return part
        return 1


def tasks_in(texts: Iterable[bytes]) -> dict[bytes, list[bytes]]:
    """Lines by task (its id in plain base64) out of several texts of one slice. Each lacks its opening brace."""
    tasks: defaultdict[bytes, list[bytes]] = defaultdict(list)
    mark = _MARK
    for text in texts:
        for line in text.split(b"\n") if text else ():
            at = line.rfind(mark) + 10
            tasks[line[at : at + 32]].append(line)
    for task_id in [task_id for task_id in tasks if _URL_SAFE.search(task_id)]:
        # Another spelling of an id: its events belong together with those of the plain one.
        tasks[task_id.translate(_PLAIN)] += tasks.pop(task_id)
    return tasks


def unpack(data: bytes) -> tuple[bytes, UnreadableFile | None]:
    """The text of an event file, and what was wrong with it; gzip is told by its first bytes, not by its name.

    Of a damaged gzip file what came before the damage is kept.
    """
    if data[:2] != b"\x1f\x8b":
        return data, None
    try:
        return igzip.decompress(data), None
    except (EOFError, OSError, _GZIP_ERROR) as exc:
        problem = UnreadableFile("bad_gzip", f"damaged gzip: {exc}")
    whole = isal_zlib.decompressobj(31)
    text = bytearray()
    try:
        for at in range(0, len(data), _SALVAGE):
            text += whole.decompress(data[at : at + _SALVAGE])
    except _GZIP_ERROR:
        pass
    return bytes(text), problem


def as_lines(text: bytes) -> bytes:
    """JSON lines, which the one JSON array that older collectors wrote is made to be. Raises UnreadableFile."""
    if text.lstrip()[:1] != b"[":
        return text
    try:
        return b"\n".join([bytes(raw).replace(b"\n", b" ").replace(b"\r", b" ") for raw in _decode_lines(text)])
    except msgspec.DecodeError as exc:
        raise UnreadableFile("bad_json", f"not readable as a JSON array: {exc}") from exc


def partition(text: bytes, ranges: Ranges, into: Lines) -> None:
    """Add the lines of one event file. A bad line is counted and sampled, and never fails the file. Raises UnreadableFile."""
    buckets, mark, quote, brace, events = into.by_slice, _MARK, _QUOTE, _BRACE, 0
    envelopes, envelope_at, type_at, type_end = into.envelopes, _ENVELOPE_AT, _TYPE_AT, _TYPE_END
    if not into.appends:
        into.appends = {prefix: buckets[ranges.by_prefix[prefix]].append for prefix in _DECISIVE}
    appends = into.appends
    text = as_lines(text)
    find, rfind, startswith, last = text.find, text.rfind, text.startswith, len(text) - 1
    begin = 0
    # Places in the text: a line is copied once, where it belongs.
    while begin <= last:
        end = find(b"\n", begin)
        if end < 0:
            end = last + 1
        envelope, part = envelopes.get(text[begin + type_at : begin + type_end], _NO_ENVELOPE)
        if not startswith(envelope, begin + envelope_at):
            part = into.part_of(text[begin:end])
        start = begin + part
        # Only a key can look like this: within a string its quotes are escaped, and a definition's parent has a key of its own.
        # In the collector's order of keys it is the last one: maps with users' own keys come before.
        at = rfind(mark, start, end) + 10
        if 9 < at < end - 32 and text[at + 32] == quote and (part > 1 or (text[begin] == brace and find(mark, begin) == at - 10)):
            append = appends.get(text[at : at + 2])
            if append is None and _PLAIN_ID.fullmatch(text, at, at + 32):
                append = buckets[ranges.of(text[at : at + 32])].append
            if append is not None:
                append(text[start:end])
                events += 1
                begin = end + 1
                continue
        if line := text[begin:end].strip():
            _slowly(line, ranges, into)
        begin = end + 1
    into.events += events


def _slowly(line: bytes, ranges: Ranges, into: Lines) -> None:
    """A line that is not a plain task event: decode it to see what it is."""
    try:
        event = _decode_event(line)
        if not event.eventType:
            line = msgspec.json.encode(camel_case(_decode_dict(line)))
            event = _decode_event(line)
        if event.eventType in TASK_EVENTS:
            task_id = _task_id(event)
            into.by_slice[ranges.of(task_id)].append(_with_plain_id(line, event, task_id)[1:])
        elif event.eventType in ENTITY_EVENTS:
            into.entities.append(_decode_dict(line))
        else:
            into.skipped["unknown_type" if event.eventType else "no_type"] += 1
            return
        into.events += 1
    except (msgspec.DecodeError, ValueError, KeyError) as exc:
        into.skipped["bad_line"] += 1
        if into.skipped["bad_line"] <= _SAMPLES:
            log.warning("bad event line", error=str(exc), line=line[:200].decode(errors="replace"))


def _with_plain_id(line: bytes, event: AnyEvent, task_id: bytes) -> bytes:
    """The line as the merge looks at it: its last `taskId` is the task's, in plain base64."""
    decoded = _decode_dict(line)
    for name in ("taskLifecycleEvent", "taskProfileEvents", "taskDefinitionEvent", "actorTaskDefinitionEvent"):
        if getattr(event, name) is not None:
            part = {key: value for key, value in decoded.pop(name).items() if key != "taskId"}
            return msgspec.json.encode({**decoded, name: {**part, "taskId": task_id.decode()}})
    raise ValueError("a task event without a task")


def _task_id(event: AnyEvent) -> bytes:
    """The id in plain base64, whatever its spelling."""
    part = event.taskLifecycleEvent or event.taskProfileEvents or event.taskDefinitionEvent or event.actorTaskDefinitionEvent
    if part is None or not part.taskId:
        raise ValueError("a task event without a task")
    return msgspec.json.encode(bytes.fromhex(to_hex(part.taskId)))[1:-1]
