"""What a load knows of a session's jobs, for the index: all of them, with their tasks by state."""

from __future__ import annotations

from collections import Counter
from typing import Any

import structlog

from shared.errors import StoreUnavailable
from shared.jobs import SessionJobs, job_of_row
from shared.sessions import Session
from shared.snapshot_format import TALLIED, Tally
from shared.store.job_index import JobIndex
from workers.entities import Entities
from workers.entities.jobs import of_driver

log = structlog.get_logger()

_JOB, _TYPE, _STATE = (TALLIED.index(name) for name in ("job_id", "type", "state"))
_DRIVER = "DRIVER_TASK"


def tell_jobs(index: JobIndex, session: Session, entities: Entities, tally: Tally, *, complete: bool) -> None:
    """After a load, whose snapshot is published: nothing here can fail it any more."""
    try:
        index.put(session.key, loaded_jobs(session, entities, tally, complete=complete))
    except StoreUnavailable as exc:
        log.warning("jobs not told to the index", session=session.key, error=str(exc))
    except Exception:
        log.exception("jobs not told to the index", session=session.key)


def loaded_jobs(session: Session, entities: Entities, tally: Tally, *, complete: bool) -> SessionJobs:
    """`tally`: of the session's task attempts. Those of all drivers of one submission count together."""
    by_driver: dict[str, Counter[str]] = {}
    for values, count in tally:
        if values[_TYPE] != _DRIVER:
            by_driver.setdefault(str(values[_JOB]), Counter())[str(values[_STATE])] += count
    former = _former_drivers(entities.docs)
    jobs = []
    for row in entities.rows["jobs"]:
        tasks: Counter[str] = Counter()
        for driver in {row.get("job_id"), *former.get(row.get("submission_id"), ())}:
            tasks.update(by_driver.get(driver, {}))
        jobs.append(job_of_row(row, dict(tasks)))
    return SessionJobs(
        session.to_dict(), jobs, ray_version=entities.ray_version or "", nodes=len(entities.rows["nodes"]), complete=complete
    )


def _former_drivers(docs: dict[str, Any]) -> dict[Any, list[str]]:
    """Job ids of the drivers that a submission had before its last one."""
    found: dict[Any, list[str]] = {}
    for name, document in docs.items():
        if name.startswith(of_driver("")):
            found.setdefault(document["submission_id"], []).append(document["job_id"])
    return found
