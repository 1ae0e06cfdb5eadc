"""Rules of tasks for Ray before 2.58: where they ran, and where their lines are."""

from __future__ import annotations

import msgspec
import pytest

from workers.entities.ends import OldRay, TaskEnds
from workers.task_events.log_starts import log_starts, with_log_starts
from workers.task_events.merge import merge
from workers.task_events.records import Attempt, Definition, Lifecycle, LogInfo, TaskRecord, encode_record, encode_records
from workers.task_events.rules import known_logs
from workers.task_events.runtime_env import RuntimeEnvs
from workers.task_events.task_range import merge_range

WORKER, OWNER, NODE, OTHER = "77" * 28, "88" * 28, "aa" * 28, "bb" * 28
JOB = "03000000"
UNKNOWN = LogInfo("", "", 0, 0, 0, 0)
OLD = OldRay(by_function=True, log_directory="/tmp/ray/s/logs/", prestarted=frozenset({OWNER}))
FIRST = len(":job_id:03000000\n")


def _defined(name: str = "f") -> TaskRecord:
    return TaskRecord(1, 0, definition=Definition("NORMAL_TASK", name, "m.f", JOB, "", "", "", "PYTHON", "{}", None, "{}", "{}", ""))


def _event(ns: int, *states: str, node: str = "", worker: str = "", pid: int = 0, logs: LogInfo | None = None) -> TaskRecord:
    return TaskRecord(ns, 0, lifecycle=Lifecycle([(state, ns) for state in states], node, worker, pid, None, logs, "", None))


def _merged(*records: TaskRecord, old: OldRay | None = OLD, task_id: str = "t") -> Attempt:
    (attempt,) = merge(task_id, map(encode_record, (_defined(), *records)), TaskEnds(old=old))
    return attempt


def test_the_workers_own_events_know_where_a_task_ran() -> None:
    ran = _event(5, "RUNNING", node=NODE, worker=WORKER, pid=9)
    submitted = _event(6, "SUBMITTED_TO_WORKER", node=OTHER, worker=WORKER)
    pending = _event(7, "PENDING_ARGS_AVAIL", node=OTHER)
    assert _merged(pending, submitted, ran).node_id == NODE
    assert _merged(pending, submitted).node_id == OTHER
    assert _merged(pending).node_id == OTHER
    assert _merged(pending, old=OldRay(senders_node=True)).node_id == "", "its sender's"
    by_raylets = OldRay(senders_node=True, worker_nodes={WORKER: NODE})
    assert _merged(pending, submitted, old=by_raylets).node_id == NODE, "where a raylet started its worker"
    assert _merged(pending, ran, old=OldRay(senders_node=True, worker_nodes={WORKER: OTHER})).node_id == NODE


def test_six_defaults_say_nothing_and_what_an_event_knows_stays() -> None:
    assert known_logs(UNKNOWN) == LogInfo()
    assert known_logs(LogInfo("a", "b", 5, 0, 6, 0)) == LogInfo("a", "b", 5, None, 6, None)
    assert known_logs(LogInfo("", "", 0, 9, 0, 8)) == LogInfo(stdout_end=9, stderr_end=8)
    assert known_logs(LogInfo(stdout_end=0)) == LogInfo(stdout_end=0), "2.58 and later print what they know"
    both = _merged(_event(5, logs=LogInfo("a", "b", 5, 0, 6, 0)), _event(6, logs=LogInfo("", "", 0, 9, 0, 8)), old=None)
    assert both.logs == LogInfo("a", "b", 5, 9, 6, 8)


def _run(task: str, ns: int, end: int | None, worker: str = WORKER) -> list[tuple[str, bytes]]:
    logs = UNKNOWN if end is None else LogInfo("", "", 0, end, 0, end + 1)
    return [
        (task, encode_record(record)) for record in (_event(ns, "RUNNING", worker=worker, pid=9), _event(ns + 1, worker=worker, logs=logs))
    ]


def test_lines_begin_where_those_of_the_workers_previous_task_ended() -> None:
    chunks = [encode_records(_run("b", 20, None) + _run("x", 5, 99, OTHER)), encode_records(_run("a", 10, 50) + _run("c", 30, 80)), b""]
    starts = log_starts(chunks)
    assert starts == {"a/0": (FIRST, FIRST), "b/0": (50, 51), "c/0": (-1, -1), "x/0": (FIRST, FIRST)}
    assert with_log_starts(TaskEnds(), chunks) == TaskEnds()
    old = with_log_starts(TaskEnds(old=OLD), chunks).old
    marker = len(":task_name:f\n")
    logs = _merged(_event(20, "RUNNING", worker=WORKER, pid=9, logs=UNKNOWN), old=old, task_id="b").logs
    file = f"/tmp/ray/s/logs/worker-{WORKER}-{JOB}-9"
    assert logs == LogInfo(f"{file}.out", f"{file}.err", 50 + marker, None, 51 + marker, None)
    unsure = _merged(_event(30, "RUNNING", worker=WORKER, pid=9, logs=LogInfo("", "", 0, 80, 0, 81)), old=old, task_id="c").logs
    assert unsure == LogInfo(f"{file}.out", f"{file}.err", None, 80, None, 81)


def test_files_of_workers_that_were_started_before_their_job_and_attempts_without_any() -> None:
    logs = _merged(_event(20, "RUNNING", worker=OWNER, pid=9, logs=UNKNOWN)).logs
    assert logs is not None
    assert logs.stdout_file == f"/tmp/ray/s/logs/worker-{OWNER}-ffffffff-9.out"
    began = _event(20, "RUNNING", worker=WORKER, pid=9)
    assert _merged(began).logs is None, "its events would tell"
    assert _merged(began, old=OldRay(log_info=False)).logs is not None, "in Ray 2.54 they never do"
    assert _merged(_event(20, "RUNNING", logs=UNKNOWN)).logs == LogInfo(), "no worker is known"


@pytest.mark.parametrize(("old", "counted"), [(OLD, "m.f"), (OldRay(), "named"), (None, "named")])
def test_summaries_count_by_function_up_to_2_56(old: OldRay | None, counted: str) -> None:
    chunk = encode_records([("ab" * 24, encode_record(_defined("named")))])
    assert list(merge_range(0, [chunk], TaskEnds(old=old)).counts[JOB]) == [(counted, "NORMAL_TASK", "NIL")]


@pytest.mark.parametrize(
    ("env", "uris"),
    [
        ({"working_dir": "gcs://a.zip"}, {"working_dir_uri": "gcs://a.zip", "py_modules_uris": []}),
        ({"py_modules": ["gcs://b.zip"]}, {"working_dir_uri": "", "py_modules_uris": ["gcs://b.zip"]}),
        ({"pip": ["x"]}, None),
        ({"working_dir": ""}, None),
    ],
)
def test_what_a_runtime_environment_fetches(env: dict[str, object], uris: object) -> None:
    for driver in (True, False):
        shown = msgspec.json.decode(RuntimeEnvs()(msgspec.json.encode(env).decode(), driver))
        assert shown.get("uris") == uris
