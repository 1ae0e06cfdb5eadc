"""What the merge of tasks needs for sessions of Ray before 2.58, beside the tasks themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from shared.ray.versions import EXECUTORS_NODE, LOG_INFO, SUMMARY_BY_NAME, WHOLE_LOG_INFO
from workers.entities.ends import OldRay
from workers.entities.logged_workers import LoggedWorker

# A worker that was started before there was a job for it: its files name none.
_PRESTARTED = re.compile(r"[^/]+/logs/(?:old/)?worker-([0-9a-f]{56})-f{8}-\d+\.out")


def old_ray(version: str | None, log_names: Iterable[str], workers: Mapping[str, LoggedWorker], log_directory: str) -> OldRay | None:
    """`log_names` are keys below the session; `workers` are by id; `log_directory` is where Ray wrote logs, with `/`.

    None for Ray from 2.58 on, and for one that nothing tells the version of.
    """
    if WHOLE_LOG_INFO.in_ray(version):
        return None
    senders_node = not EXECUTORS_NODE.in_ray(version)
    return OldRay(
        by_function=not SUMMARY_BY_NAME.in_ray(version),
        senders_node=senders_node,
        worker_nodes={worker.id: worker.node_id for worker in workers.values()} if senders_node else {},
        log_info=LOG_INFO.in_ray(version),
        log_directory=log_directory,
        prestarted=frozenset(match[1] for name in log_names if (match := _PRESTARTED.fullmatch(name))),
    )
