"""Events of a task attempt to one row, whatever their order, their files and their repetitions."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.task_lines import JOB, NODE, TASK, WORKER, defined, lived, loaded, profiled, row, rows
from tests.unit.session_events import b64, ms
from workers.entities.ends import TaskEnds, WorkerDeath
from workers.task_events.merge import PROFILE_EVENTS_KEPT
from workers.task_events.ranges import Ranges
from workers.task_events.split import Splitter

SESSIONS = ("19-00-40", "19-07-13")


@pytest.fixture(scope="module", params=SESSIONS)
def recorded_lines(request: pytest.FixtureRequest, recorded: Path) -> list[bytes]:
    """All lines of a recorded session's job events."""
    files = (recorded / "bucket" / "cluster-history").glob(f"**/session_*{request.param}*/*/job_events/**/*.jsonl")
    return [line for file in sorted(files) for line in file.read_bytes().split(b"\n") if line]


def _by_task(lines: list[bytes]) -> list[list[bytes]]:
    tasks: dict[str, list[bytes]] = defaultdict(list)
    for line in lines:
        event = json.loads(line)
        body = next((v for k, v in event.items() if isinstance(v, dict) and "taskId" in v and k.startswith(("task", "actorTask"))), None)
        if body is not None:
            tasks[body["taskId"]].append(line)
    return [of_one for _, of_one in sorted(tasks.items())]


@settings(max_examples=60, deadline=None)
@given(random=st.randoms(use_true_random=False), data=st.data())
def test_any_order_of_a_tasks_events_gives_the_same_rows(recorded_lines: list[bytes], random: Random, data: st.DataObject) -> None:
    tasks = _by_task(recorded_lines)
    lines = tasks[data.draw(st.integers(0, len(tasks) - 1))]
    expected = rows(lines)
    shuffled = lines + [random.choice(lines) for _ in range(random.randrange(5))]
    random.shuffle(shuffled)
    assert rows(shuffled) == expected


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1 << 32), ranges=st.integers(1, 9), files=st.integers(1, 5))
def test_any_cut_of_a_session_into_files_and_ranges_gives_the_same_list(
    recorded_lines: list[bytes], seed: int, ranges: int, files: int
) -> None:
    random = Random(seed)
    expected = rows(recorded_lines)
    texts: list[list[bytes]] = [[] for _ in range(files)]
    for line in recorded_lines:
        random.choice(texts).append(line)
    for lines in texts:
        random.shuffle(lines)
    page = asyncio.run(loaded([b"\n".join(lines) for lines in texts], ranges=ranges).table("tasks").select(limit=100_000, detail=True))
    assert [json.loads(found) for found in page.rows] == expected


def test_states_are_in_the_order_of_rays_enum_not_of_time() -> None:
    found = row(
        defined(),
        lived(("FINISHED", 9), ("RUNNING", 8)),
        lived(("SUBMITTED_TO_WORKER", 10), ("PENDING_ARGS_AVAIL", 1), ("PENDING_NODE_ASSIGNMENT", 2)),
    )
    assert [event["state"] for event in found["events"]] == [
        "PENDING_ARGS_AVAIL",
        "PENDING_NODE_ASSIGNMENT",
        "SUBMITTED_TO_WORKER",
        "RUNNING",
        "FINISHED",
    ]
    assert found["state"] == "FINISHED"
    assert (found["creation_time_ms"], found["start_time_ms"], found["end_time_ms"]) == (float(ms(1)), float(ms(8)), float(ms(9)))


def test_failed_ends_a_task_whatever_else_it_reached() -> None:
    found = row(defined(), lived(("FINISHED", 3)), lived(("FAILED", 2)))
    assert (found["state"], found["end_time_ms"]) == ("FAILED", float(ms(2)))


def test_an_error_is_not_erased_by_a_later_event_without_one() -> None:
    error = {"errorType": "TASK_EXECUTION_EXCEPTION", "errorMessage": "\x1b[36mray::work()\x1b[39m failed"}
    found = row(defined(), lived(("FAILED", 2), rayErrorInfo=error), lived(("RUNNING", 1), seconds=5, workerPid=7))
    assert (found["error_type"], found["error_message"]) == ("TASK_EXECUTION_EXCEPTION", "ray::work() failed")
    assert found["worker_pid"] == 7


def test_an_error_shows_only_on_failed_attempts() -> None:
    found = row(defined(), lived(("FINISHED", 2), rayErrorInfo={"errorType": "WORKER_DIED", "errorMessage": "x"}))
    assert (found["error_type"], found["error_message"]) == (None, None)


def test_log_ranges_come_in_parts_and_defaults_replace_nothing() -> None:
    start = {"stdoutFile": "/x/worker.out", "stderrFile": "/x/worker.err", "stdoutStart": "10", "stderrStart": "5", "stdoutEnd": "0"}
    end = {"stdoutFile": "", "stdoutStart": "0", "stdoutEnd": "30", "stderrEnd": "7"}
    found = row(defined(), lived(taskLogInfo=start, seconds=1), lived(taskLogInfo=end, seconds=2))
    assert found["task_log_info"] == {
        "stdout_file": "/x/worker.out",
        "stderr_file": "/x/worker.err",
        "stdout_start": 10,
        "stdout_end": 30,
        "stderr_start": 5,
        "stderr_end": 7,
    }


def test_attempts_without_a_definition_are_left_out_as_live_does() -> None:
    assert rows([lived(("RUNNING", 1)), profiled(("task", 1, 2))]) == []


def test_attempts_are_rows_of_their_own_the_latest_first() -> None:
    found = rows([defined(attempt=0), defined(attempt=2), defined(attempt=1), lived(("FAILED", 1)), lived(("FINISHED", 2), attempt=2)])
    assert [(r["attempt_number"], r["state"]) for r in found] == [(2, "FINISHED"), (1, "NIL"), (0, "FAILED")]


def test_profile_events_are_kept_once_in_order_and_up_to_lives_limit() -> None:
    many = [(f"span{number}", number * 1000, number * 1000 + 500) for number in range(PROFILE_EVENTS_KEPT + 10)]
    found = row(defined(), profiled(*many[600:]), profiled(*many[:700]), profiled(*many[650:]))["profiling_data"]
    assert len(found["events"]) == PROFILE_EVENTS_KEPT
    assert [event["event_name"] for event in found["events"]] == [name for name, _, _ in many[10:]]
    assert found["events"][0]["start_time"] == 10_000 / 1e6
    assert (found["component_type"], found["component_id"], found["node_ip_address"]) == ("worker", WORKER, "10.0.0.1")


@pytest.mark.parametrize(
    ("death", "job_end", "message"),
    [
        (5.0, None, "Worker running the task"),
        (5.0, 3.0, "Worker running the task"),
        (16.9, 3.0, "Worker running the task"),
        (17.1, 3.0, "Job finishes"),
        (None, 3.0, "Job finishes"),
    ],
)
def test_what_nobody_ended_is_failed_by_its_workers_death_or_its_jobs_end(death: float | None, job_end: float | None, message: str) -> None:
    ends = TaskEnds(
        {WORKER: WorkerDeath(ms(death), 1, "killed")} if death is not None else {},
        {JOB: ms(job_end) * 10**6} if job_end is not None else {},
    )
    lines = [defined(), lived(("RUNNING", 1), workerId=b64(WORKER), nodeId=b64(NODE))]
    found = row(*lines, ends=ends)
    assert (found["state"], found["error_type"]) == ("FAILED", "WORKER_DIED")
    assert found["error_message"].startswith(message)
    assert found["end_time_ms"] == float(ms(death if message.startswith("Worker") and death is not None else job_end or 0))
    ended = row(*lines, lived(("FINISHED", 2)), ends=ends)
    assert (ended["state"], ended["error_type"]) == ("FINISHED", None)


def test_what_nobody_ended_and_nothing_ended_goes_on_for_ever() -> None:
    assert row(defined(), lived(("RUNNING", 1), workerId=b64(WORKER)))["state"] == "RUNNING"


def _spelled(text: str) -> list[str]:
    return [b64(text), b64(text).replace("+", "-").replace("/", "_"), text, text.upper()]


@pytest.mark.parametrize("place", range(4))
def test_ids_may_be_spelled_in_any_way(place: int) -> None:
    task_id = "fb" * 16 + "03000000ffffffff"
    expected = row(defined(task_id), lived(("RUNNING", 1), task_id=task_id, workerId=b64(WORKER)))
    plain, other = b64(task_id).encode(), _spelled(task_id)[place].encode()
    lines = [defined(task_id), lived(("RUNNING", 1), task_id=task_id, workerId=_spelled(WORKER)[place])]
    assert row(*(line.replace(plain, other) for line in lines)) == expected


def test_ids_that_are_none_cost_their_event_only_and_are_counted_once() -> None:
    bad = lived(("RUNNING", 1)).replace(b64(TASK).encode(), b"!" * 32)
    splitter = Splitter(Ranges(1))
    splitter.feed(bad + b"\n" + lived(("RUNNING", 1), attempt=1 << 64))
    assert splitter.skipped.counts == {"bad_event": 2}
    assert [r["task_id"] for r in rows([defined(), bad])] == [TASK]


@pytest.mark.parametrize(("field", "shown"), [("jobId", "job_id"), ("parentTaskId", "parent_task_id"), ("taskName", "name")])
def test_a_bad_value_costs_only_itself(field: str, shown: str) -> None:
    found = rows([defined(attempt=1, **{field: ["no id!"]}), defined(attempt=0), lived(("FAILED", 1), attempt=0)])
    assert [(r["attempt_number"], r["state"]) for r in found] == [(1, "NIL"), (0, "FAILED")]
    assert [r[shown] == "" for r in found] == [True, False]


def test_an_event_without_a_readable_attempt_is_left_out() -> None:
    found = rows([defined(attempt=1, taskAttempt="x"), defined(attempt=0), lived(("FAILED", 1), attempt=0)])
    assert [(r["attempt_number"], r["state"]) for r in found] == [(0, "FAILED")]


def test_parts_may_be_null_and_states_new() -> None:
    null = defined().replace(b'"taskDefinitionEvent":', b'"actorTaskDefinitionEvent":null,"taskLifecycleEvent":null,"taskDefinitionEvent":')
    actor = defined().replace(b'"taskDefinitionEvent":', b'"taskDefinitionEvent":null,"actorTaskDefinitionEvent":')
    for definition in (null, actor):
        found = row(definition, lived(('NEW"', 1)))
        assert (found["task_id"], found["state"]) == (TASK, 'NEW"')
