"""The steps of a large load: parse parts, then everything but tasks, then merge ranges, then lineage, then publish.

What one step leaves for the next lies in the load's own hash in Redis, compressed, and goes with the load. Its fields:
`files:{part}`, `stored`; `l:{range}:{part}:{chunk}` task records; `e:{part}` other events; `s:{part}` what a part says of these; `ends`,
`entities`; `m:{range}` what a merged range leaves for all later steps, `d:{range}` its digest, `n:{range}:{job}` what lineage needs of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from shared.ray.function_summary import CountKey
from shared.settings import LoadSettings
from shared.snapshot_format import PartIndex, compress_passing, decompress
from shared.storage.port import ObjectInfo, Storage
from shared.store.protocol.ledger import Step
from workers.bad_data import Skipped
from workers.engine import engine_for
from workers.entities import Entities
from workers.entities.ends import TaskEnds
from workers.event_files import SessionFiles, read_stored
from workers.load import LINEAGE_TASKS, digest_range, finish, lineage_fields, merge_all_entities, merge_one_range
from workers.load_run import Listing, LoadRun
from workers.overview.task_digest import TaskDigest
from workers.parse_files import parse
from workers.snapshot_end import lineage_actors, task_table
from workers.task_events.log_starts import with_log_starts
from workers.task_events.ranges import Ranges
from workers.task_timeline import timeline_fields

# What a task attempt takes in event files, and how much gzip makes of them: measured on recorded sessions.
_BYTES_PER_ATTEMPT = 4_800
_GZ_RATIO = 12
# Jobs are shared out among so many steps.
LINEAGE_STEPS = 4
# A range's share of this many parts comes in one round trip.
_PARTS_AT_ONCE = 16

PARSE, ENTITIES, MERGE, LINEAGE, PUBLISH = "parse", "entities", "merge", "lineage", "publish"

_pack = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Plan:
    """How a large session is cut: files by part, and into how many ranges of task ids."""

    files: SessionFiles
    by_part: list[list[ObjectInfo]]
    ranges: int

    @property
    def phases(self) -> list[tuple[str, int]]:
        """How many steps of each phase: a phase begins when the one before it is done."""
        return [(PARSE, len(self.by_part)), (ENTITIES, 1), (MERGE, self.ranges), (LINEAGE, LINEAGE_STEPS), (PUBLISH, 1)]


class _Planned(msgspec.Struct, array_like=True):
    parts: int
    ranges: int
    listing: str
    taken_at: int


class _Stored(msgspec.Struct, array_like=True):
    endpoints: dict[str, ObjectInfo]
    log_events: list[ObjectInfo]
    logs: list[ObjectInfo]
    temp_dirs: dict[str, str] = {}


class _Parsed(msgspec.Struct, array_like=True):
    """What a parsed part says: which ranges each chunk of its records has, and what was left out."""

    chunks: list[list[int]]
    skipped: list[tuple[str, int]]
    samples: list[tuple[str, str, str]]


class _Merged(msgspec.Struct, array_like=True):
    """What a merged range leaves for all later steps."""

    index: PartIndex
    counts: dict[str, list[tuple[CountKey, int]]]


def unpacked_size(file: ObjectInfo) -> int:
    """Estimated: a gzip file does not say before it is read."""
    return file.size * _GZ_RATIO if file.key.endswith(".gz") else file.size


def plan(files: SessionFiles, settings: LoadSettings) -> Plan | None:
    """None for a session that one task loads at once."""
    total = sum(map(unpacked_size, files.events))
    if total <= settings.part_bytes:
        return None
    parts: list[list[ObjectInfo]] = [[]]
    size = 0
    for file in files.events:
        if parts[-1] and size + unpacked_size(file) > settings.part_bytes:
            parts.append([])
            size = 0
        parts[-1].append(file)
        size += unpacked_size(file)
    ranges = Ranges(-(-total // (_BYTES_PER_ATTEMPT * settings.range_tasks)))
    return Plan(files, parts, ranges.count)


def write_plan(run: LoadRun, cut: Plan) -> None:
    run.write_intermediate(
        {f"files:{number}": compress_passing(_pack(files)) for number, files in enumerate(cut.by_part)}
        | {"plan": compress_passing(_pack(_Planned(len(cut.by_part), cut.ranges, run.listing.digest, run.listing.taken_at)))}
        | {"stored": compress_passing(_pack(_Stored(cut.files.endpoints, cut.files.log_events, cut.files.logs, cut.files.temp_dirs)))}
    )


def parse_part(run: LoadRun, storage: Storage, parts: int, ranges: int, number: int) -> None:  # noqa: ARG001 - one signature for all steps
    files = _read(run, f"files:{number}", list[ObjectInfo])
    chunks: list[list[int]] = []

    def hand_on(records: list[bytes]) -> None:
        held = [at for at, of_range in enumerate(records) if of_range]
        run.write_intermediate({f"l:{at}:{number}:{len(chunks)}": compress_passing(records[at]) for at in held})
        chunks.append(held)

    parsed = parse(run, storage, files, Ranges.in_total(ranges), hand_on)
    report = _Parsed(chunks, list(parsed.skipped.counts.items()), parsed.skipped.samples)
    run.write_intermediate({f"e:{number}": compress_passing(_pack(parsed.others)), f"s:{number}": compress_passing(_pack(report))})


def merge_entities(run: LoadRun, storage: Storage, parts: int, ranges: int, number: int) -> None:  # noqa: ARG001
    run.progress("merging")
    stored = _read(run, "stored", _Stored)
    events = [event for part in range(parts) for event in _read(run, f"e:{part}", list[dict[str, Any]])]
    files = SessionFiles(endpoints=stored.endpoints, log_events=stored.log_events, logs=stored.logs, temp_dirs=stored.temp_dirs)
    skipped = Skipped()
    entities = merge_all_entities(run, read_stored(run, storage, files), events, skipped)
    report = _Parsed([], list(skipped.counts.items()), skipped.samples)
    run.write_intermediate({"s:entities": compress_passing(_pack(report))})
    ends = with_log_starts(entities.ends, (chunk for at in range(ranges) for chunk in _records(run, parts, at)))
    run.write_intermediate({"entities": compress_passing(_pack(entities)), "ends": compress_passing(_pack(ends))})


def merge_range(run: LoadRun, storage: Storage, parts: int, ranges: int, number: int) -> None:  # noqa: ARG001
    merged = merge_one_range(run, number, list(_records(run, parts, number)), _read(run, "ends", TaskEnds))
    run.put(merged.fields)
    counts = {job: list(of_job.items()) for job, of_job in merged.counts.items()}
    left = {f"m:{number}": _Merged(merged.index, counts), f"d:{number}": digest_range(run, number, merged)}
    lineage = {f"n:{number}:{job}": compress_passing(tasks) for job, tasks in merged.lineage.items()}
    run.write_intermediate({name: compress_passing(_pack(of_range)) for name, of_range in left.items()} | lineage)
    run.drop_intermediate(_record_names(run, parts, number))


def _record_names(run: LoadRun, parts: int, number: int) -> list[str]:
    """Where one range's share of every part is kept."""
    return [
        f"l:{number}:{part}:{chunk}"
        for part in range(parts)
        for chunk, held in enumerate(_read(run, f"s:{part}", _Parsed).chunks)
        if number in held
    ]


def _records(run: LoadRun, parts: int, number: int) -> Iterator[bytes]:
    names = _record_names(run, parts, number)
    for at in range(0, len(names), _PARTS_AT_ONCE):
        yield from map(decompress, run.read_intermediate(names[at : at + _PARTS_AT_ONCE]))


def summarise_lineage(run: LoadRun, storage: Storage, parts: int, ranges: int, number: int) -> None:  # noqa: ARG001
    """Of every LINEAGE_STEPS-th job, if it is small enough, one at a time. The last step, which has the fewest jobs, makes the timeline."""
    merged = [_read(run, f"m:{at}", _Merged) for at in range(ranges)]
    actors = lineage_actors(_read(run, "entities", Entities))
    for at, (job, of_job) in enumerate(_counts(merged).items()):
        if at % LINEAGE_STEPS == number and of_job.total() <= LINEAGE_TASKS:
            found = run.read_intermediate([f"n:{at_range}:{job}" for at_range, left in enumerate(merged) if job in left.counts])
            run.put(lineage_fields(run, job, map(decompress, found), actors))
    if number == LINEAGE_STEPS - 1:
        made = engine_for(run.settings.engine).new_trace()
        run.put(timeline_fields(task_table([left.index for left in merged]), run.written, made))


def finish_load(run: LoadRun, storage: Storage, parts: int, ranges: int, number: int) -> None:  # noqa: ARG001
    run.progress("publishing")
    skipped = Skipped()
    for name in [*map(str, range(parts)), "entities"]:
        report = _read(run, f"s:{name}", _Parsed)
        skipped.add(Skipped(report.skipped, report.samples))
    merged = [_read(run, f"m:{at}", _Merged) for at in range(ranges)]
    entities = _read(run, "entities", Entities)
    # One after the other: those of a hundred ranges take 180 MB.
    digests = (_read(run, f"d:{at}", TaskDigest) for at in range(ranges))
    finish(run, entities, [left.index for left in merged], _counts(merged), digests, skipped)


def _counts(merged: list[_Merged]) -> dict[str, Counter[CountKey]]:
    """Attempts by job, and by name, type and state, over all ranges."""
    counts: dict[str, Counter[CountKey]] = {}
    for left in merged:
        for job, of_job in left.counts.items():
            known = counts.setdefault(job, Counter())
            for key, count in of_job:
                known[key] += count
    return counts


def _read(run: LoadRun, name: str, type_: Any) -> Any:
    (data,) = run.read_intermediate([name])
    return msgspec.msgpack.decode(decompress(data), type=type_)


_STEPS = {PARSE: parse_part, ENTITIES: merge_entities, MERGE: merge_range, LINEAGE: summarise_lineage, PUBLISH: finish_load}


def do_step(run: LoadRun, storage: Storage, step: Step) -> None:
    """Raises RecordMissing when something that an earlier step wrote is not there."""
    planned = _read(run, "plan", _Planned)
    run.listing = Listing(planned.listing, planned.taken_at)
    _STEPS[step.phase](run, storage, planned.parts, planned.ranges, step.number)
