"""The last step of a load: tables of everything that is not a task, documents, summaries, and `meta`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from shared import snapshot_format as fmt
from shared.ray.columns import RESOURCES, TASKS
from shared.ray.function_summary import CountKey, summary_by_function
from shared.ray.lineage import LineageActor
from shared.snapshot_format import Meta, PartIndex, TableIndex, Warned
from workers.entities import Entities
from workers.snapshot_writer import small_table

_encode = msgspec.json.Encoder().encode


def entity_fields(entities: Entities) -> tuple[dict[str, TableIndex], dict[str, bytes]]:
    """Small tables and documents of everything that is not a task."""
    tables: dict[str, TableIndex] = {}
    fields: dict[str, bytes] = {}
    for name, rows in entities.rows.items():
        tables[name], written = small_table(RESOURCES[name], rows)
        fields |= written
    for name, value in entities.docs.items():
        fields[fmt.doc_field(name)] = fmt.pack_doc(value if isinstance(value, bytes) else _encode(value))
    return tables, fields


def summary_fields(counts: dict[str, Counter[CountKey]]) -> dict[str, bytes]:
    """Task summaries by function, per job and of all jobs."""
    everything: Counter[CountKey] = Counter()
    fields = {}
    for job, of_job in counts.items():
        everything.update(of_job)
        fields[fmt.doc_field(f"tasks/by_function/{job}")] = fmt.pack_doc(_summary(of_job))
    return fields | {fmt.doc_field("tasks/by_function"): fmt.pack_doc(_summary(everything))}


def _summary(counts: Counter[CountKey]) -> bytes:
    return _encode(summary_by_function(counts.items()))


def lineage_actors(entities: Entities) -> dict[str, LineageActor]:
    return {row["actor_id"]: LineageActor(row.get("repr_name") or "", row.get("class_name") or "") for row in entities.rows["actors"]}


def task_table(parts: list[PartIndex]) -> TableIndex:
    """The tasks' index from its parts, in the order of their ranges. Empty parts stay: fields are named by place."""
    tally: Counter[tuple[fmt.Scalar, ...]] = Counter()
    for part in parts:
        tally.update(dict(part.tally))
    bare = [msgspec.structs.replace(part, tally=[]) for part in parts]
    return TableIndex(TASKS.name, sum(part.rows for part in parts), keyed=True, cluster_by="job_id", parts=bare, tally=list(tally.items()))


def meta_field(
    tables: dict[str, TableIndex],
    *,
    losses: list[tuple[str, str, str]],
    loss_count: int,
    counts: dict[str, int],
    ray_version: str | None,
    warnings: Sequence[Warned] = (),
) -> dict[str, bytes]:
    meta = Meta(
        format=fmt.FORMAT,
        tables=tables,
        complete=not loss_count,
        losses=losses,
        loss_count=loss_count,
        counts=counts,
        ray_version=ray_version,
        warnings=list(warnings),
    )
    fields: dict[str, Any] = {fmt.META: fmt.pack(meta)}
    return fields
