"""Rules of workers, and of what is known of their deaths when Ray exports no WORKER_* events (up to 2.56)."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.unit.session_events import (
    HEAD,
    WORKER_NODE,
    actor_defined,
    actor_states,
    alive,
    b64,
    built,
    died,
    driver_job,
    event,
    ms,
    state,
    stored,
    two_nodes,
)
from workers.entities.ends import WorkerDeath

WORKER = "cc" * 28


def _worker(*steps: dict[str, Any]) -> list[dict[str, Any]]:
    definition = {"workerId": b64(WORKER), "nodeId": b64(WORKER_NODE), "pid": 9, "workerType": "WORKER"}
    return [
        event("WORKER_DEFINITION_EVENT", "workerDefinitionEvent", definition),
        event("WORKER_LIFECYCLE_EVENT", "workerLifecycleEvent", {"workerId": b64(WORKER), "stateTransitions": list(steps)}),
    ]


def _started() -> dict[str, Any]:
    return state("ALIVE", 5, workerLaunchTimeMs="1", workerLaunchedTimeMs="2", startTimeMs="3", endTimeMs="0")


def test_zeros_of_a_later_event_do_not_erase_times() -> None:
    info = {"exitType": "USER_ERROR", "exitDetail": "bad"}
    dead = state("DEAD", 8, workerLaunchTimeMs="0", workerLaunchedTimeMs="0", startTimeMs="0", endTimeMs="4", deathInfo=info)
    (row,) = built([*two_nodes(), *_worker(_started(), dead)]).rows["workers"]
    times = [row[f"{name}_time_ms"] for name in ("worker_launch", "worker_launched", "start", "end")]
    assert times == [1, 2, 3, 4]
    assert (row["is_alive"], row["exit_type"], row["exit_detail"], row["ip"]) == (False, "USER_ERROR", "bad", "10.0.0.2")


def test_a_living_worker() -> None:
    entities = built([*two_nodes(), *_worker(_started())])
    (row,) = entities.rows["workers"]
    assert (row["is_alive"], row["exit_type"], row["end_time_ms"]) == (True, None, 0)
    assert entities.ends.deaths == {}


def test_a_dead_workers_tasks_end_with_it() -> None:
    dead = state("DEAD", 8, endTimeMs=str(ms(7)), deathInfo={"exitType": "NODE_OUT_OF_MEMORY", "exitDetail": "oom"})
    assert built(_worker(_started(), dead)).ends.deaths == {WORKER: WorkerDeath(ms(7), 4, "oom")}


def test_without_worker_events_actors_tell_of_deaths() -> None:
    message = "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: End of file."
    steps = [alive(5, "dd" * 28), state("RESTARTING", 6), alive(7, WORKER), died(8, message), state("DEAD", 9)]
    deaths = built([actor_defined(), actor_states(*steps)]).ends.deaths
    assert deaths[WORKER] == WorkerDeath(ms(8), 0, "End of file.")
    assert deaths["dd" * 28].end_ms == ms(6)


def test_without_worker_events_raylets_tell_of_crashes() -> None:
    crash = {
        "event_id": "a",
        "timestamp": ms(8) // 1000,
        "message": "A worker died. Worker exit type: SYSTEM_ERROR Worker exit detail: Killed.",
        "custom_fields": {"worker_id": WORKER},
    }
    files = stored(log_events=[msgspec.json.encode(crash)])
    assert built([], files).ends.deaths == {WORKER: WorkerDeath(ms(8), 0, "Killed.")}
    assert built(_worker(_started()), files).ends.deaths == {}, "worker events know better"


def test_drivers_are_workers_known_by_their_jobs_or_their_logs() -> None:
    internal = f"{HEAD}/logs/python-core-driver-01000000{'f' * 48}_77.log"
    own = f"{HEAD}/logs/python-core-driver-03000000{'f' * 48}_42.log"
    rows = built([*two_nodes(), *driver_job(finished=20)], stored(logs={internal: "", own: ""})).rows["workers"]
    assert [(row["worker_id"][:8], row["pid"], row["is_alive"], row["ip"]) for row in rows] == [
        ("01000000", 77, True, "10.0.0.1"),
        ("03000000", 42, False, "10.0.0.1"),
    ]


def test_finished_jobs_end_their_tasks() -> None:
    ends = built([*driver_job(finished=20), *driver_job("04000000")]).ends
    assert ends.job_ends == {"03000000": ms(20) * 10**6}
