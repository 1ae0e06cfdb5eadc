"""Rules of jobs: what is put together from drivers, supervisors, log events and log files."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shared.sessions import Session
from tests.unit.session_events import (
    HEAD,
    SESSION,
    actor_defined,
    actor_states,
    alive,
    built,
    driver_job,
    event,
    ms,
    state,
    stored,
    two_nodes,
)
from workers.bad_data import Skipped

SUPERVISOR = "09" * 12 + "02000000"
_NOSET = {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1", "RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES": "1"}


def _supervisor(*steps: dict[str, Any], env: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    variables = {**_NOSET, "RAY_worker_niceness": "0", **(env or {})}
    defined = actor_defined(
        SUPERVISOR,
        className="JobSupervisor",
        name="_ray_internal_job_actor_my-job",
        rayNamespace="SUPERVISOR_ACTOR_RAY_NAMESPACE",
        serializedRuntimeEnv=msgspec.json.encode({"env_vars": variables}).decode(),
    )
    return [defined, actor_states(state("DEPENDENCIES_UNREADY", 8.2), *steps, actor_id=SUPERVISOR)]


def _said(message: str, second: int) -> bytes:
    fields = {"submission_id": "my-job"}
    return msgspec.json.encode(
        {"event_id": message, "source_type": "JOBS", "message": message, "timestamp": str(ms(second) // 1000), "custom_fields": fields}
    )


STARTED = _said("Started a ray job my-job.", 8)
SUBMITTED = driver_job(metadata={"job_submission_id": "my-job", "job_name": "my-job"}, finished=20)
RUNNING = _supervisor(alive(9, node_id=HEAD))
DONE = _supervisor(alive(9, node_id=HEAD), state("DEAD", 21))


def _job(events: list[dict[str, Any]], *said: bytes, session: Session = SESSION, **logs: str) -> dict[str, Any]:
    names = {"driver": f"{HEAD}/logs/job-driver-my-job.log", "supervisor": f"{HEAD}/logs/jobs/supervisor-my-job.log"}
    files = stored(logs={names[name]: text for name, text in logs.items()}, log_events=list(said))
    (row,) = built([*two_nodes(), *events], files, session).rows["jobs"]
    return row


def test_a_driver_that_nobody_submitted() -> None:
    row = _job(driver_job(finished=20, env='{"env_vars":{"A":"1"}}', metadata={"k": "v"}))
    assert (row["type"], row["job_id"], row["submission_id"], row["status"]) == ("DRIVER", "03000000", None, "SUCCEEDED")
    assert (row["start_time"], row["end_time"]) == (ms(10), ms(20))
    assert (row["metadata"], row["runtime_env"], row["message"]) == ({"k": "v"}, {"env_vars": {"A": "1"}}, None)
    assert row["driver_info"] == {"id": "03000000", "node_ip_address": "10.0.0.1", "pid": "42"}
    assert _job(driver_job())["status"] == "RUNNING"
    assert _job(driver_job())["end_time"] == 0


def test_a_job_that_succeeded() -> None:
    row = _job([*SUBMITTED, *DONE], STARTED, _said("Completed a ray job my-job with a status SUCCEEDED.", 22))
    assert (row["type"], row["status"], row["message"]) == ("SUBMISSION", "SUCCEEDED", "Job finished successfully.")
    assert (row["start_time"], row["end_time"], row["driver_exit_code"]) == (ms(8.2), ms(21), 0)
    assert (row["metadata"], row["runtime_env"], row["driver_node_id"]) == (None, None, HEAD)


def test_the_users_environment_and_metadata_without_rays_own() -> None:
    driver = driver_job(metadata={"job_submission_id": "my-job", "job_name": "nice name", "team": "a"})
    row = _job([*driver, *_supervisor(alive(9), env={"MINE": "1"})])
    assert row["runtime_env"] == {"env_vars": {"MINE": "1"}}
    assert row["metadata"] == {"job_name": "nice name", "team": "a"}


def test_a_rayjob_gives_the_submission_id_as_metadata() -> None:
    owned = Session("default", "raycap", SESSION.session, "rayjob", "nightly")
    assert _job([*SUBMITTED, *DONE], session=owned)["metadata"] == {"job_submission_id": "my-job"}


def test_a_shell_command_that_never_connected_to_ray() -> None:
    """No driver: only log events, the supervisor and log files know of it."""
    log = "2026 INFO Runtime env is setting up.\nRunning entrypoint for job my-job: echo hi; exit 3\n" + "".join(
        f"line {i}\n" for i in range(30)
    )
    ended = " Job my-job entrypoint command exited with code 3 job_id=02000000 timestamp_ns=1795460421500000000\n"
    completed = _said("Completed a ray job my-job with a status FAILED.", 22)
    row = _job(DONE, STARTED, completed, driver=log, supervisor=ended)
    assert (row["job_id"], row["driver_info"], row["entrypoint"]) == (None, None, "echo hi; exit 3")
    assert (row["status"], row["driver_exit_code"], row["error_type"]) == ("FAILED", 3, "JOB_ENTRYPOINT_COMMAND_ERROR")
    first, _, tail = row["message"].partition("\n")
    assert first == "Job entrypoint command failed with exit code 3, last available logs (truncated to 20,000 chars):"
    assert tail == "".join(f"line {i}\n" for i in range(20, 30))
    assert row["end_time"] == 1795460421500


def test_a_failed_job_without_log_files() -> None:
    row = _job([*SUBMITTED, *DONE], STARTED, _said("Completed a ray job my-job with a status FAILED.", 22))
    assert (row["status"], row["message"], row["driver_exit_code"]) == ("FAILED", "Job failed.", None)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("runtime_env setup failed: pip", "RUNTIME_ENV_SETUP_FAILURE"),
        ("Job supervisor actor could not be scheduled: no CPU", "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE"),
        ("Job supervisor actor died: oom", "JOB_SUPERVISOR_ACTOR_DIED"),
        ("Unexpected error occurred: x", "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE"),
    ],
)
def test_a_job_that_the_manager_gave_up(message: str, error: str) -> None:
    completed = _said(f"Completed a ray job my-job with a status FAILED. {message}\\nmore", 22)
    row = _job(_supervisor(), STARTED, completed)
    assert (row["message"], row["error_type"]) == (f"{message}\nmore", error)


def test_jobs_without_log_events_by_what_became_of_their_processes() -> None:
    exited = " entrypoint command exited with code 0 timestamp_ns=1795460421500000000\n"
    assert _job(RUNNING)["status"] == "RUNNING"
    assert _job(_supervisor())["status"] == "PENDING"
    assert _job([*SUBMITTED, *DONE])["status"] == "SUCCEEDED"
    assert _job(DONE, supervisor=exited)["status"] == "SUCCEEDED"
    assert _job(DONE)["status"] == "FAILED"


def test_a_pending_job() -> None:
    row = _job(_supervisor(env={"A": "1"}), STARTED)
    assert row["message"] == "Job has not started yet. It may be waiting for the runtime environment to be set up."
    assert (row["driver_node_id"], row["end_time"], row["driver_exit_code"]) == (None, None, None)


def test_a_running_job_of_a_killed_cluster() -> None:
    row = _job([*driver_job(metadata={"job_submission_id": "my-job", "job_name": "my-job"}), *RUNNING], STARTED)
    assert (row["status"], row["message"], row["end_time"]) == ("RUNNING", "Job is currently running.", None)


def test_the_last_driver_of_a_submission_counts() -> None:
    again = driver_job("05000000", metadata={"job_submission_id": "my-job"})
    assert _job([*again, *SUBMITTED])["job_id"] == "05000000"


def test_the_entrypoint_as_it_was_submitted() -> None:
    log = "Running entrypoint for job my-job: A=1 python main.py && echo\n"
    assert _job([*SUBMITTED, *DONE], driver=log)["entrypoint"] == "A=1 python main.py && echo"
    assert _job([*SUBMITTED, *DONE])["entrypoint"] == "python main.py"


def test_an_entrypoint_of_several_lines_and_longer_than_one_read() -> None:
    command = 'python -c "\nprint(1)\n' + "x" * 40_000 + '"'
    assert _job([*SUBMITTED, *DONE], driver=f"Running entrypoint for job my-job: {command}\n1\n")["entrypoint"] == command


def test_every_driver_of_a_submission_is_found() -> None:
    again = driver_job("05000000", metadata={"job_submission_id": "my-job"})
    docs = built([*two_nodes(), *again, *SUBMITTED]).docs
    former = docs["jobs/of_driver/03000000"]
    assert (former["job_id"], former["submission_id"], former["driver_info"]["id"]) == ("03000000", "my-job", "03000000")
    assert "jobs/of_driver/05000000" not in docs, "the last one is in the table"


STORED = {
    "type": "SUBMISSION",
    "job_id": "03000000",
    "submission_id": "my-job",
    "status": "FAILED",
    "entrypoint": "python -c '\nimport ray\n'",
    "message": "Job entrypoint command failed with exit code 3",
    "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR",
    "driver_exit_code": 3,
    "driver_agent_http_address": "http://10.0.0.1:52365",
    "end_time": ms(21),
    "runtime_env": {"env_vars": {"A": "<redacted>"}},
}


def _with_stored(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    endpoints = {"/api/jobs/": msgspec.json.encode(rows)}
    return built([*two_nodes(), *SUBMITTED, *RUNNING], stored(endpoints=endpoints)).rows["jobs"]


def test_a_stored_answer_knows_what_nothing_else_does() -> None:
    (row,) = _with_stored(STORED)
    told = ("status", "message", "error_type", "driver_exit_code", "end_time", "entrypoint", "driver_agent_http_address")
    assert [row[name] for name in told] == [STORED[name] for name in told]
    assert row["runtime_env"] is None, "what was redacted says nothing"
    assert row["driver_info"]["pid"] == "42"


def test_a_stored_answer_from_before_a_jobs_end_does_not_say_how_it_ended() -> None:
    (row,) = _with_stored(STORED | {"status": "RUNNING", "driver_exit_code": None, "error_type": None, "end_time": None})
    assert (row["status"], row["entrypoint"]) == ("RUNNING", STORED["entrypoint"])


def test_a_job_that_only_the_stored_answer_tells_of() -> None:
    rows = _with_stored(STORED | {"submission_id": "other", "job_id": None})
    assert {row["submission_id"] for row in rows} == {"my-job", "other"}
    skipped = Skipped()
    broken = built([], stored(endpoints={"/api/jobs/": b'{"result": false}'}), skipped=skipped)
    assert (broken.rows["jobs"], skipped.total) == ([], 1)


def test_events_of_submitted_jobs_should_ray_ever_send_them() -> None:
    defined = {"submissionId": "my-job", "entrypoint": "python x.py", "config": {"serializedRuntimeEnv": "{}", "metadata": {"a": "b"}}}
    ended = state("FAILED", 30, message="boom", errorType="X", driverExitCode=9, driverAgentHttpAddress="http://h:1")
    row = _job(
        [
            event("SUBMISSION_JOB_DEFINITION_EVENT", "submissionJobDefinitionEvent", defined),
            event(
                "SUBMISSION_JOB_LIFECYCLE_EVENT",
                "submissionJobLifecycleEvent",
                {"submissionId": "my-job", "stateTransitions": [state("PENDING", 7), state("RUNNING", 8), ended]},
            ),
        ]
    )
    assert (row["status"], row["message"], row["error_type"], row["driver_exit_code"]) == ("FAILED", "boom", "X", 9)
    assert (row["start_time"], row["end_time"], row["metadata"], row["entrypoint"]) == (ms(7), ms(30), {"a": "b"}, "python x.py")
