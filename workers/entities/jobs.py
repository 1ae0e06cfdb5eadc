"""Jobs as `/api/jobs/` and the State API show them (`JobDetails`): drivers that nobody submitted, and submitted jobs.

Mirrors `modules/job/utils.get_driver_jobs`, `common.JobInfo` and the messages of `job_supervisor` and `job_manager`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shared.sessions import Session
from workers.bad_data import BAD_DATA
from workers.entities.fields import decoded_object, hex_id, number, part, text
from workers.entities.histories import Histories, History, Malformed, each
from workers.entities.submissions import Submission, submission_of

_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
# `JobInfo.__post_init__`
_MESSAGES = {
    "PENDING": "Job has not started yet.",
    "RUNNING": "Job is currently running.",
    "STOPPED": "Job was intentionally stopped.",
    "SUCCEEDED": "Job finished successfully.",
    "FAILED": "Job failed.",
}
# How the job manager begins its message, and the error that it records with it.
_ERRORS = {
    "runtime_env setup failed: ": "RUNTIME_ENV_SETUP_FAILURE",
    "Job supervisor actor could not be scheduled: ": "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE",
    "Job supervisor actor died: ": "JOB_SUPERVISOR_ACTOR_DIED",
    "Unexpected error occurred: ": "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE",
}
# What the job manager adds to the environment of a job's supervisor, which a job may inherit.
_INJECTED = ("RAY_worker_niceness", "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES", "RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES")


def job_rows(
    drivers: Histories, submitted: Iterable[Submission], ips: dict[str, str], session: Session, malformed: Malformed
) -> list[dict[str, Any]]:
    """Submitted jobs first, as live lists them; `ips` by node id."""
    unsubmitted = [driver for driver in sorted(drivers.values(), key=lambda driver: driver.id) if not submission_of(driver)]
    return [
        *each(submitted, lambda job: _submitted(job, ips, session), malformed),
        *each(unsubmitted, lambda driver: _unsubmitted(driver, ips), malformed),
    ]


def of_driver(job_id: str) -> str:
    """The document with the job of a driver that was not the last one of its submission."""
    return f"jobs/of_driver/{job_id}"


def former_drivers(submitted: Iterable[Submission], rows: Iterable[dict[str, Any]], ips: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Documents. Live lists a submission with its last driver, and answers for the others when asked (`find_job_by_ids`)."""
    by_submission = {row["submission_id"]: row for row in rows}
    return {
        of_driver(driver.id): by_submission[job.id] | {"job_id": driver.id, "driver_info": _driver_info(driver, ips)}
        for job in submitted
        for driver in job.former_drivers
        if job.id in by_submission
    }


def _unsubmitted(driver: History, ips: dict[str, str]) -> dict[str, Any]:
    created, finished = driver.first("CREATED"), driver.last("FINISHED")
    config = part(driver.definition, "config")
    return {
        "type": "DRIVER",
        "job_id": driver.id,
        "submission_id": None,
        "driver_info": _driver_info(driver, ips),
        "status": "SUCCEEDED" if finished else "RUNNING",
        "entrypoint": text(driver.definition, "entrypoint"),
        "message": None,
        "error_type": None,
        "start_time": created.ms if created else 0,
        "end_time": finished.ms if finished else 0,
        "metadata": part(config, "metadata"),
        "runtime_env": _runtime_env(text(config, "serializedRuntimeEnv")),
        "driver_agent_http_address": None,
        "driver_node_id": None,
        "driver_exit_code": None,
    }


def _submitted(job: Submission, ips: dict[str, str], session: Session) -> dict[str, Any]:
    driver = job.driver
    exported = part(job.exported.definition, "config") if job.exported else {}
    last = job.exported.transitions[-1].fields if job.exported and job.exported.transitions else {}
    environment = job.supervisor.definition.get("serializedRuntimeEnv") if job.supervisor else None
    if environment is None and driver:
        environment = text(part(driver.definition, "config"), "serializedRuntimeEnv")
    runtime_env = _runtime_env(text(exported, "serializedRuntimeEnv") or environment or "", injected=True) or None
    status = _status(job)
    message, error_type = _outcome(job, status, runtime_env)
    node_id = hex_id(last, "driverNodeId") or job.node_id or (hex_id(driver.definition, "driverNodeId") if driver else "")
    started = status != "PENDING" and not (job.supervisor and job.supervisor.state == "DEAD" and not job.supervisor.nodes)
    return {
        "type": "SUBMISSION",
        "job_id": driver.id if driver else None,
        "submission_id": job.id,
        "driver_info": _driver_info(driver, ips) if driver else None,
        "status": status,
        "entrypoint": _entrypoint(job),
        "message": text(last, "message") or message,
        "error_type": text(last, "errorType") or error_type,
        "start_time": _start(job) or None,
        "end_time": (_end(job) or None) if status in _ENDED else None,
        "metadata": part(exported, "metadata") or _metadata(job, session) or None,
        "runtime_env": runtime_env,
        "driver_agent_http_address": text(last, "driverAgentHttpAddress") or None,
        "driver_node_id": (node_id or None) if started else None,
        "driver_exit_code": _exit_code(job, last, status),
    }


def _driver_info(driver: History, ips: dict[str, str]) -> dict[str, str]:
    node_ip = ips.get(hex_id(driver.definition, "driverNodeId"), "")
    return {"id": driver.id, "node_ip_address": node_ip, "pid": str(number(driver.definition, "driverPid"))}


def _status(job: Submission) -> str:
    """Who knows best: the job's own events, the job manager's, its supervisor's log, then what became of its processes."""
    if job.exported and job.exported.state in _MESSAGES:
        return job.exported.state
    if job.logged_status in _MESSAGES:
        return job.logged_status
    if job.exit_code is not None:
        return "FAILED" if job.exit_code else "SUCCEEDED"
    supervisor = job.supervisor.state if job.supervisor else ""
    if supervisor != "ALIVE" and job.driver and job.driver.state == "FINISHED":
        return "SUCCEEDED"  # as live takes a driver that is gone
    if supervisor == "DEAD":
        return "FAILED"
    return "RUNNING" if job.driver or supervisor == "ALIVE" or job.log_entrypoint is not None else "PENDING"


def _outcome(job: Submission, status: str, runtime_env: dict[str, Any] | None) -> tuple[str, str | None]:
    """Message and error type."""
    if status == "FAILED" and job.logged_message:
        return job.logged_message, next((kind for start, kind in _ERRORS.items() if job.logged_message.startswith(start)), None)
    if status == "FAILED" and job.exit_code:
        failed = f"Job entrypoint command failed with exit code {job.exit_code}"
        tail = f", last available logs (truncated to 20,000 chars):\n{job.log_tail}" if job.log_tail else ". No logs available."
        return failed + tail, "JOB_ENTRYPOINT_COMMAND_ERROR"
    if status == "PENDING" and runtime_env:
        return _MESSAGES[status] + " It may be waiting for the runtime environment to be set up.", None
    return _MESSAGES[status], None


def _entrypoint(job: Submission) -> str:
    """The driver's own idea of it is what its process was called with."""
    if job.exported and (entrypoint := text(job.exported.definition, "entrypoint")):
        return entrypoint
    if job.log_entrypoint is not None:
        return job.log_entrypoint
    return text(job.driver.definition, "entrypoint") if job.driver else ""


def _start(job: Submission) -> int:
    """Just before the supervisor was asked for; log events give whole seconds."""
    if job.exported and job.exported.transitions:
        return job.exported.transitions[0].ms
    asked = job.supervisor.registered if job.supervisor else 0
    if asked and (not job.logged_start or 0 <= asked - job.logged_start < 2000):
        return asked
    created = job.driver.first("CREATED") if job.driver else None
    return job.logged_start or (created.ms if created else 0)


def _end(job: Submission) -> int:
    """A supervisor ends right after its job; the log event may come a second later."""
    if job.exported and job.exported.state in _ENDED:
        return job.exported.transitions[-1].ms
    finished = job.driver.last("FINISHED") if job.driver else None
    return job.exit_ms or (job.supervisor.end if job.supervisor else 0) or job.logged_end or (finished.ms if finished else 0)


def _exit_code(job: Submission, last: dict[str, Any], status: str) -> int | None:
    if "driverExitCode" in last:
        return number(last, "driverExitCode")
    if job.exit_code is not None:
        return job.exit_code
    return 0 if status == "SUCCEEDED" else None


def _metadata(job: Submission, session: Session) -> dict[str, Any]:
    """The user's, without the job's id and name that its supervisor adds. KubeRay's RayJob gives the id itself."""
    if job.driver is None:
        return {}
    metadata = dict(part(part(job.driver.definition, "config"), "metadata"))
    if metadata.get("job_name") == job.id:
        del metadata["job_name"]
    if session.owner_kind != "rayjob":
        metadata.pop("job_submission_id", None)
    return metadata


def _runtime_env(serialized: str, *, injected: bool = False) -> dict[str, Any]:
    """A runtime environment as an object; `injected`: without the variables that Ray adds for its own use."""
    try:
        environment = decoded_object(serialized)
    except BAD_DATA:
        return {}
    variables = environment.get("env_vars")
    if injected and isinstance(variables, dict):
        own = {name: value for name, value in variables.items() if name not in _INJECTED}
        environment = {name: value for name, value in environment.items() if name != "env_vars"} | ({"env_vars": own} if own else {})
    return environment
