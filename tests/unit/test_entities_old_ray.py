"""What Ray before 2.58 does not export, from its logs; and the defaults that 2.56 prints everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.session_events import (
    ACTOR,
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
from workers.bad_data import Skipped
from workers.entities import Entities
from workers.entities.ends import WorkerDeath
from workers.entities.logical_actors import chunk
from workers.entities.nodes import detail

WORKER, OTHER = "cc" * 28, "dd" * 28
RAYLET = f"{WORKER_NODE}/logs/raylet.out"
GCS = f"{HEAD}/logs/gcs_server.out"
OWN_LOG = f"{WORKER_NODE}/logs/python-core-worker-{{worker}}_{{pid}}.log"
NIL = b64("ff" * 28)


def _line(clock: str, text: str) -> str:
    return f"[2026-11-23 {clock} I 20 20] (x) x.cc:1: {text}\n"


def _started(clock: str, pid: int, worker: str) -> str:
    return _line(clock, f"Started worker process with pid {pid} worker_id={worker}")


def _ended(clock: str, exit_type: int, worker: str) -> str:
    rest = f"has_creation_task_exception=false worker_id={worker} job_id=03000000"
    return _line(clock, f"Disconnecting worker, graceful=true, disconnect_type={exit_type}, {rest}")


def _said(clock: str, exit_type: str, detail: str) -> str:
    return _line(clock, f"RayletIpcClient::Disconnect, exit_type={exit_type}, exit_detail={detail}, has creation_task_exception_pb_bytes=0")


def _crashed(worker: str, detail: str) -> str:
    told = f"Reporting worker exit, worker id = {worker}, node id = {WORKER_NODE}, address = 10.0.0.2, exit_type = SYSTEM_ERROR"
    return _line("19:00:21,000", f"{told}, exit_detail = {detail}. Unintentional worker failures have been reported.")


def _leased(clock: str, node_id: str) -> str:
    return _line(clock, f"Leasing worker for actor. actor_id={ACTOR} job_id=03000000 node_id={node_id}")


def _workers(entities: Entities) -> dict[str, dict[str, Any]]:
    return {row["worker_id"]: row for row in entities.rows["workers"]}


def test_workers_and_their_deaths_from_the_raylets_log() -> None:
    raylet = _started("19:00:10,000", 7, WORKER) + "noise\n" + _started("19:00:11,000", 8, OTHER) + _ended("19:00:20,005", 1, WORKER)
    own = _line("19:00:10,500", "first") + _line("19:00:10,600", "Initializing worker at address: 10.0.0.2:1")
    logs = {RAYLET: raylet, OWN_LOG.format(worker=WORKER, pid=7): own + _said("19:00:20,004", "INTENDED_SYSTEM_EXIT", "idle, for\nlong")}
    entities = built(two_nodes(), stored(logs=logs))
    rows = _workers(entities)
    assert rows[WORKER] == {
        "worker_id": WORKER,
        "is_alive": False,
        "worker_type": "WORKER",
        "exit_type": "INTENDED_SYSTEM_EXIT",
        "node_id": WORKER_NODE,
        "ip": "10.0.0.2",
        "pid": 7,
        "exit_detail": "idle, for\nlong",
        "worker_launch_time_ms": ms(10),
        "worker_launched_time_ms": ms(10.5),
        "start_time_ms": ms(10.6),
        "end_time_ms": ms(20.005),
        "debugger_port": None,
        "num_paused_threads": None,
    }
    assert (rows[OTHER]["is_alive"], rows[OTHER]["exit_type"], rows[OTHER]["end_time_ms"]) == (True, None, 0)
    assert entities.ends.deaths == {WORKER: WorkerDeath(ms(20.005), 1, "idle, for\nlong")}


def test_ray_2_54_exports_neither_pid_nor_port_of_actors() -> None:
    own = _line("19:00:10,600", "Initializing worker at address: 10.0.0.2:20604 worker_id=x")
    logs = {RAYLET: _started("19:00:10,000", 7, WORKER), OWN_LOG.format(worker=WORKER, pid=7): own}
    bare = state("ALIVE", 5, nodeId=b64(WORKER_NODE), workerId=b64(WORKER), pid=0, port=0)
    shown, row = _actor(bare, logs=logs)
    assert (shown["pid"], row["pid"], shown["address"]["port"]) == (7, 7, 20604)
    known, _ = _actor(alive(5), logs=logs)
    assert (known["pid"], known["address"]["port"]) == (7, 20001)


def test_rotated_logs_and_those_of_a_crash() -> None:
    logs = {
        f"{RAYLET}.2": _started("19:00:10,000", 7, WORKER),
        f"{RAYLET}.1": "nothing\n",
        RAYLET: _ended("19:00:20,000", 0, WORKER)[:-1],
        GCS: _crashed(WORKER, "Killed, it seems."),
    }
    deaths = built(two_nodes(), stored(logs=logs)).ends.deaths
    assert deaths == {WORKER: WorkerDeath(ms(20), 0, "Killed, it seems.")}


def test_logs_are_on_their_nodes_clock() -> None:
    endpoints = {"/timezone": b'{"offset":"+09:00","value":"Asia/Tokyo"}'}
    local = _started("19:00:10,000", 7, WORKER).replace("2026-11-23 19", "2026-11-24 04")
    (row,) = built(two_nodes(), stored(logs={RAYLET: local}, endpoints=endpoints)).rows["workers"]
    assert row["worker_launch_time_ms"] == ms(10)


def test_worker_events_know_better_than_logs() -> None:
    definition = {"workerId": b64(OTHER), "nodeId": b64(WORKER_NODE), "pid": 9, "workerType": "WORKER"}
    events = [event("WORKER_DEFINITION_EVENT", "workerDefinitionEvent", definition)]
    entities = built(two_nodes() + events, stored(logs={RAYLET: _started("19:00:10,000", 7, WORKER) + _ended("19:00:11,000", 1, WORKER)}))
    assert (list(_workers(entities)), entities.ends.deaths) == ([OTHER], {})


def test_how_a_driver_ended_from_its_own_log() -> None:
    driver = f"03000000{'f' * 48}"
    logs = {f"{HEAD}/logs/python-core-driver-{driver}_42.log": _said("19:00:19,000", "INTENDED_USER_EXIT", "Shutdown by ray.shutdown().")}
    (ended,) = built(driver_job(finished=20), stored(logs=logs)).rows["workers"]
    assert (ended["exit_type"], ended["exit_detail"]) == ("INTENDED_USER_EXIT", "Shutdown by ray.shutdown().")
    (running,) = built(driver_job(), stored(logs=logs)).rows["workers"]
    assert (running["exit_type"], running["exit_detail"]) == (None, None)


def _actor(*steps: dict[str, Any], logs: dict[str, str] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """As the dashboard shows it, and its row."""
    entities = built([*two_nodes(), actor_defined(), actor_states(*steps)], stored(logs=logs))
    return entities.docs[chunk(0)][ACTOR], entities.rows["actors"][0]


def test_an_actor_that_died_before_it_started_is_where_its_death_cause_says() -> None:
    shown, row = _actor(state("PENDING_CREATION", 1), died(3, pid=99, nodeIpAddress="10.0.0.2"))
    assert shown["address"] == {"nodeId": WORKER_NODE, "ipAddress": "10.0.0.2", "port": 0, "workerId": ""}
    assert (shown["pid"], row["pid"], row["node_id"]) == (99, 99, None)


def test_or_on_the_node_that_was_asked_last() -> None:
    logs = {GCS: _leased("19:00:01,000", HEAD) + _leased("19:00:01,002", WORKER_NODE)}
    failed = state("DEAD", 3, deathCause={"runtimeEnvFailedContext": {"errorMessage": "no such file"}})
    shown, _ = _actor(state("PENDING_CREATION", 1), failed, logs=logs)
    assert (shown["address"]["nodeId"], shown["address"]["ipAddress"], shown["exitDetail"]) == (WORKER_NODE, "10.0.0.2", "no such file")
    pending, _ = _actor(state("PENDING_CREATION", 1), logs=logs)
    assert (pending["address"]["nodeId"], pending["address"]["ipAddress"]) == ("f" * 56, "")


@pytest.mark.parametrize(("gap", "listed"), [("005", {HEAD, WORKER_NODE}), ("001", {WORKER_NODE})])
def test_a_restarted_actor_is_listed_where_the_restart_was_asked_for(gap: str, listed: set[str]) -> None:
    logs = {GCS: _leased("19:00:01,000", HEAD) + _leased("19:00:06,000", HEAD) + _leased(f"19:00:06,{gap}", WORKER_NODE)}
    entities = built([*two_nodes(), actor_defined(), actor_states(alive(2), state("RESTARTING", 6), alive(7))], stored(logs=logs))
    assert {node for node in (HEAD, WORKER_NODE) if ACTOR in entities.docs[detail(node)]["detail"]["actors"]} == listed


def test_defaults_erase_nothing_of_an_actor() -> None:
    bare = {"nodeId": NIL, "workerId": NIL, "pid": 0, "port": 0, "reprName": "", "restartReason": "ACTOR_FAILURE"}
    known = actor_states(alive(5, reprName="Counter(3)"))
    again = actor_states(state("ALIVE", 5, **bare))
    later = actor_states(state("ALIVE", 6, **bare))
    defined = actor_defined(name="mine", className="Counter", placementGroupId=b64("ff" * 18))
    defaults = actor_defined(name="", className="", requiredResources={}, labelSelector={})
    entities = built([*two_nodes(), defined, defaults, known, again, later])
    shown, row = entities.docs[chunk(0)][ACTOR], entities.rows["actors"][0]
    assert shown["address"] == {"nodeId": WORKER_NODE, "ipAddress": "10.0.0.2", "port": 20001, "workerId": WORKER}
    assert (shown["pid"], row["node_id"], row["name"], row["class_name"], row["repr_name"]) == (
        7,
        WORKER_NODE,
        "mine",
        "Counter",
        "Counter(3)",
    )
    assert row["placement_group_id"] is None


def test_a_restarted_actor_keeps_its_last_address_when_it_is_told_again() -> None:
    shown, _ = _actor(
        alive(5), state("RESTARTING", 6, nodeId=NIL, workerId=NIL), alive(7, OTHER), state("ALIVE", 8, nodeId="", workerId="")
    )
    assert (shown["address"]["workerId"], shown["numRestarts"]) == (OTHER, "1")


def test_defaults_erase_nothing_of_nodes_workers_and_jobs() -> None:
    defaults = {"nodeId": b64(HEAD), "nodeIpAddress": "", "nodeName": "", "hostname": "", "startTimestamp": "1970-01-01T00:00:00Z"}
    again = event("NODE_DEFINITION_EVENT", "nodeDefinitionEvent", {**defaults, "labels": {}}, 9)
    job, states = driver_job(metadata={"a": "b"})
    bare = {"jobId": job["driverJobDefinitionEvent"]["jobId"], "entrypoint": "", "driverPid": "0", "driverNodeId": NIL, "config": {}}
    entities = built([*two_nodes(), again, job, states, event("DRIVER_JOB_DEFINITION_EVENT", "driverJobDefinitionEvent", bare, 9)])
    head = next(row for row in entities.rows["nodes"] if row["node_id"] == HEAD)
    assert (head["node_ip"], head["start_time_ms"]) == ("10.0.0.1", ms(5))
    (row,) = entities.rows["jobs"]
    assert (row["entrypoint"], row["driver_info"]["pid"], row["metadata"]) == ("python main.py", "42", {"a": "b"})


def test_events_of_another_session_are_left_out_and_counted() -> None:
    stray = {**actor_defined(), "sessionName": "session_2026-11-23_20-00-40_785172_1"}
    unnamed = {**actor_defined("02" * 12 + "03000000"), "sessionName": ""}
    skipped = Skipped()
    entities = built([stray, unnamed], skipped=skipped)
    assert ([row["actor_id"][:2] for row in entities.rows["actors"]], skipped.counts) == (["02"], {"other_session": 1})
