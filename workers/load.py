"""One cold load in one process: parse, merge, publish. Large sessions run the same steps as a canvas (`fan_out.py`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import structlog

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.ray.function_summary import CountKey
from shared.snapshots.format import PartIndex
from shared.storage.port import ObjectInfo, Storage
from workers.entities import Entities, build
from workers.event_files import SessionFiles, read_stored
from workers.load_run import LoadRun
from workers.partition import Lines, Ranges, UnreadableFile, partition, unpack
from workers.session_warnings import session_warnings
from workers.snapshot_end import entity_fields, lineage_actors, lineage_fields, meta_field, summary_fields, task_table
from workers.task_range import TaskRange, merge_range

log = structlog.get_logger()


# Lineage is computed at load for jobs up to this size; beyond it live's own limit, a page of rows, is what a request looks at.
LINEAGE_TASKS = 200_000


def load(run: LoadRun, storage: Storage, files: SessionFiles) -> None:
    """Load `run.session` and publish it. Raises StaleGeneration if the claim is lost, StorageUnavailable if no file can be read."""
    lines = parse(run, storage, files.events, Ranges(1))
    entities = merge_all_entities(run, storage, files, lines.entities)
    run.progress("merging")
    merged = merge_range(0, ([text] for text in next(lines.texts())), entities.ends)
    publish(run, entities, merged, lines.skipped)


def parse(run: LoadRun, storage: Storage, files: Iterable[ObjectInfo], ranges: Ranges) -> Lines:
    """Read event files and sort their lines by range. What can't be read is a loss, by name, and the others go on."""
    lines = Lines.of(ranges)
    run.progress("parsing")
    for file, data in storage.read_many(files):
        run.check()
        known, skipped = lines.events, lines.skipped.total()
        problem: ObjectNotFound | StorageUnavailable | UnreadableFile | None
        if isinstance(data, bytes):
            text, problem = unpack(data)
            try:
                partition(text, ranges, lines)
            except UnreadableFile as exc:
                problem = exc
        else:
            problem = data
        if problem is not None:
            run.loss(file.key, problem.code, str(problem))
        run.progress(
            files_read=0 if problem else 1,
            files_failed=1 if problem else 0,
            bytes_read=file.size,
            events=lines.events - known,
            events_skipped=lines.skipped.total() - skipped,
        )
    return lines


def merge_all_entities(run: LoadRun, storage: Storage, files: SessionFiles, events: list[dict[str, object]]) -> Entities:
    """Everything that is not a task, from its events, the stored snapshots and the log events."""
    entities = build(events, read_stored(run, storage, files), run.session)
    if left_out := entities.malformed + entities.strays:
        run.progress(events_skipped=left_out)
    return entities


def publish(run: LoadRun, entities: Entities, tasks: TaskRange, skipped: Counter[str]) -> None:
    """Write the snapshot of a session whose tasks are all in one range, and flip the loaded marker."""
    run.put(tasks.fields)
    run.progress("publishing", events_skipped=tasks.bad_events)
    if tasks.bad_events:
        skipped["bad_event"] += tasks.bad_events
    actors = lineage_actors(entities)
    for job, of_job in tasks.lineage.items():
        run.put(lineage_fields(job, of_job, actors))
    finish(run, entities, [tasks.index], tasks.counts, skipped)


def finish(
    run: LoadRun,
    entities: Entities,
    parts: list[PartIndex],
    counts: dict[str, Counter[CountKey]],
    skipped: Counter[str],
) -> None:
    """Everything after task rows and lineage: small tables, documents, summaries, `meta`, and the loaded marker."""
    tables, fields = entity_fields(entities)
    run.put(fields | summary_fields(counts))
    tables["tasks"] = task_table(parts)
    losses, loss_count = run.losses()
    if entities.malformed:
        skipped["malformed"] += entities.malformed
    if entities.strays:
        skipped["other_session"] += entities.strays
    version = entities.ray_version
    rows = {name: table.rows for name, table in tables.items()}
    warned = session_warnings(version, files=entities.files, event_files=run.event_files, rows=rows)
    run.warn(warned)
    run.put(meta_field(tables, losses=losses, loss_count=loss_count, counts=dict(skipped), ray_version=version, warnings=warned))
    run.publish()
    log.info("session loaded", attempts=tables["tasks"].rows, losses=loss_count, skipped=dict(skipped))
