"""One cold load in one process: parse, merge, publish. Large sessions run the same steps as a canvas (`fan_out.py`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from types import MappingProxyType

import structlog

from shared.ray.function_summary import CountKey
from shared.ray.lineage import LineageActor
from shared.snapshot_format import PartIndex, Tally, doc_field, doc_pieces, pack
from shared.storage.port import Storage
from workers.bad_data import PASSING, Skipped
from workers.engine import engine_for
from workers.entities import Entities, build
from workers.entities.ends import TaskEnds
from workers.event_files import SessionFiles, Stored, read_stored
from workers.job_index.loaded import tell_jobs
from workers.load_run import LoadRun
from workers.overview.documents import overview_fields
from workers.overview.task_digest import TaskDigest, digest
from workers.parse_files import parse
from workers.session_warnings import session_warnings
from workers.snapshot_end import entity_fields, lineage_actors, meta_field, summary_fields, task_table
from workers.task_events.log_starts import with_log_starts
from workers.task_events.ranges import Ranges
from workers.task_events.task_range import TaskRange
from workers.task_timeline import timeline_fields

log = structlog.get_logger()


# Lineage is computed at load for jobs up to this size; beyond it live's own limit, a page of rows, is what a request looks at.
LINEAGE_TASKS = 200_000


def load(run: LoadRun, storage: Storage, files: SessionFiles) -> None:
    """Load `run.session` and publish it. Raises StaleGeneration if the claim is lost, StorageUnavailable if no file can be read."""
    chunks: list[bytes] = []
    # Both wait for the store most of the time: at once.
    with ThreadPoolExecutor(1, thread_name_prefix="read-stored") as reader:
        stored = reader.submit(copy_context().run, read_stored, run, storage, files)
        parsed = parse(run, storage, files.events, Ranges(1), chunks.extend)
        entities = merge_all_entities(run, stored.result(), parsed.others, parsed.skipped)
    run.progress("merging")
    merged = merge_one_range(run, 0, chunks, with_log_starts(entities.ends, chunks))
    finish_in_one_task(run, entities, merged, parsed.skipped)


def merge_one_range(run: LoadRun, number: int, chunks: Iterable[bytes], ends: TaskEnds) -> TaskRange:
    """A defect of ours in one range costs its tasks: it is logged with its trace, and said as a loss."""
    engine, chunks = engine_for(run.settings.engine), list(chunks)
    try:
        return engine.merge_range(number, chunks, ends)
    except PASSING:
        raise
    except Exception as exc:
        log.exception("task range lost", range=number, engine=engine.name)
        run.loss(f"task events, range {number}", "internal_error", f"{type(exc).__name__}: {exc}")
        return engine.merge_range(number, [], ends)


def digest_range(run: LoadRun, number: int, tasks: TaskRange) -> TaskDigest:
    """What the overview needs of one range. A defect of ours costs the range its place in it."""
    try:
        return digest(tasks.rows)
    except PASSING:
        raise
    except Exception as exc:
        log.exception("task range not in the overview", range=number)
        run.loss(f"overview, range {number}", "internal_error", f"{type(exc).__name__}: {exc}")
        return TaskDigest()


def lineage_fields(run: LoadRun, job: str, chunks: Iterable[bytes], actors: dict[str, LineageActor]) -> dict[str, bytes]:
    """The task summary by lineage of one job, of what its ranges left for it. A defect of ours costs this summary."""
    pieces: list[bytes] = []
    try:
        engine_for(run.settings.engine).lineage(chunks, actors, lambda text: pieces.extend(doc_pieces(text)))
    except PASSING:
        raise
    except Exception as exc:
        log.exception("lineage lost", job=job)
        run.loss(f"lineage of job {job}", "internal_error", f"{type(exc).__name__}: {exc}")
        return {}
    return {doc_field(f"tasks/by_lineage/{job}"): pack(pieces)}


def merge_all_entities(run: LoadRun, stored: Stored, events: list[dict[str, object]], skipped: Skipped) -> Entities:
    """Everything that is not a task, from its events, the stored snapshots and the log events."""
    known = skipped.total
    entities = build(events, stored, run.session, skipped)
    for kind, message in entities.defects.items():
        run.loss(f"all {kind}", "internal_error", message)
    run.progress(events_skipped=skipped.total - known)
    return entities


def finish_in_one_task(run: LoadRun, entities: Entities, tasks: TaskRange, skipped: Skipped) -> None:
    """Write the snapshot of a session whose tasks are all in one range, and flip the loaded marker."""
    run.progress("publishing")
    actors = lineage_actors(entities)
    fields = dict(tasks.fields)
    for job, of_job in tasks.lineage.items():
        fields |= lineage_fields(run, job, [of_job], actors)
    made = engine_for(run.settings.engine).new_trace()
    fields |= timeline_fields(task_table([tasks.index]), lambda names: [tasks.fields.get(name) for name in names], made)
    finish(run, entities, [tasks.index], tasks.counts, [digest_range(run, 0, tasks)], skipped, fields)


def finish(
    run: LoadRun,
    entities: Entities,
    parts: list[PartIndex],
    counts: dict[str, Counter[CountKey]],
    digests: Iterable[TaskDigest],
    skipped: Skipped,
    fields: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Small tables, documents, summaries, overviews, `meta`, loaded marker. `fields`: rows and lineage of tasks, if not yet written.

    One `put` for all of them: a small session is written in one round trip.
    """
    tables, of_entities = entity_fields(entities)
    tables["tasks"] = task_table(parts)
    overviews = _overviews(run, entities, digests, tables["tasks"].tally)
    losses, loss_count = run.losses()
    version = entities.ray_version
    rows = {name: table.rows for name, table in tables.items()}
    warned = session_warnings(version, files=entities.files, event_files=run.event_files, rows=rows)
    run.warn(warned)
    meta = meta_field(tables, losses=losses, loss_count=loss_count, counts=dict(skipped.counts), ray_version=version, warnings=warned)
    run.put({**fields, **of_entities, **summary_fields(counts), **overviews, **meta})
    run.report(skipped=skipped.to_json())
    run.publish_snapshot()
    if run.job_index is not None:
        tell_jobs(run.job_index, run.session, entities, tables["tasks"].tally, complete=not loss_count)
    log.info("session loaded", attempts=tables["tasks"].rows, losses=loss_count, skipped=dict(skipped.counts))


def _overviews(run: LoadRun, entities: Entities, digests: Iterable[TaskDigest], tally: Tally) -> dict[str, bytes]:
    """Their fields. A defect of ours costs the overviews, and nothing else."""
    try:
        return overview_fields(digests, entities, tally)
    except PASSING:
        raise
    except Exception as exc:
        log.exception("overview lost")
        run.loss("overview", "internal_error", f"{type(exc).__name__}: {exc}")
        return {}
