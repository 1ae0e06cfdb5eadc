"""Merged attempts to JSON: names, ids, times, and text of every kind."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.ray.columns import TASKS
from tests.task_lines import JOB, TASK, WORKER, defined, line, lived, loaded, profiled, row, rows
from tests.unit.session_events import ACTOR, b64

ACTOR_TASK = "b2" * 8 + ACTOR


def _actor_task(task_id: str = ACTOR_TASK, name: str = "", function: str = "incr", class_name: str = "Counter", **fields: Any) -> bytes:
    call = {"pythonFunctionDescriptor": {"functionName": function, "className": class_name}}
    body = {"taskId": b64(task_id), "taskAttempt": 0, "jobId": b64(JOB), "actorId": b64(ACTOR), "actorTaskName": name, "actorFunc": call}
    return line("ACTOR_TASK_DEFINITION_EVENT", "actorTaskDefinitionEvent", {**body, "parentTaskId": b64("ff" * 20 + JOB), **fields})


def test_rows_have_lives_columns_in_lives_order() -> None:
    snapshot = loaded([defined() + b"\n" + lived(("RUNNING", 1))])
    for detail, columns in ((False, TASKS.base), (True, TASKS.all)):
        page = asyncio.run(snapshot.table("tasks").select(limit=1, detail=detail))
        assert tuple(json.loads(page.rows[0])) == columns


@pytest.mark.parametrize(
    ("descriptor", "expected"),
    [
        ({"pythonFunctionDescriptor": {"functionName": "work", "className": ""}}, "work"),
        ({"pythonFunctionDescriptor": {"functionName": "module.work", "className": ""}}, "work"),
        ({"pythonFunctionDescriptor": {"functionName": "main.<locals>.work", "className": ""}}, "work"),
        ({"pythonFunctionDescriptor": {"functionName": "Outer.Inner.run", "className": "pkg.Outer.Inner"}}, "Inner.run"),
        ({"javaFunctionDescriptor": {"functionName": "run", "className": "a.B"}}, "a.B.run"),
        ({"javaFunctionDescriptor": {"functionName": "run"}}, "run"),
        ({"cppFunctionDescriptor": {"functionName": "a::run"}}, "a::run"),
        ({}, ""),
    ],
)
def test_functions_are_named_by_their_last_parts(descriptor: dict[str, Any], expected: str) -> None:
    assert row(defined(taskFunc=descriptor))["func_or_class_name"] == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Counter.incr", "<Counter 7>.incr"), ("my own name", "my own name"), ("", ".incr")],
)
def test_an_actors_repr_stands_in_its_tasks_names_unless_the_user_named_them(name: str, expected: str) -> None:
    found = row(_actor_task(name=name), lived(("RUNNING", 1), task_id=ACTOR_TASK, actorReprName="<Counter 7>"))
    assert found["name"] == (expected if name else "")
    assert (found["func_or_class_name"], found["type"], found["actor_id"]) == ("Counter.incr", "ACTOR_TASK", ACTOR)


def test_a_creation_tasks_actor_is_in_its_own_id() -> None:
    task_id = "ff" * 8 + ACTOR
    found = row(defined(task_id, taskType="ACTOR_CREATION_TASK"))
    assert found["actor_id"] == ACTOR


def test_nil_ids_are_null_but_a_parent_stays_as_it_is() -> None:
    nil = b64("ff" * 28)
    found = row(defined(placementGroupId=b64("ff" * 18)), lived(("RUNNING", 1), nodeId=nil, workerId=nil))
    assert (found["node_id"], found["worker_id"], found["placement_group_id"], found["actor_id"]) == (None, None, None, None)
    assert found["parent_task_id"] == "ff" * 20 + JOB


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("2026-11-23T19:00:00Z", 1795460400000.0),
        ("2026-11-23T19:00:00.9Z", 1795460400900.0),
        ("2026-11-23T19:00:00.1239Z", 1795460400123.0),
        ("2026-11-23T19:00:00.123999999Z", 1795460400123.0),
        ("2026-11-23T19:00:00.000001Z", 1795460400000.0),
    ],
)
def test_times_are_whole_milliseconds(written: str, shown: float) -> None:
    event = lived(("RUNNING", 1)).replace(b"2026-11-23T19:00:01.000000000Z", written.encode())
    assert row(defined(), event)["start_time_ms"] == shown


def test_what_profile_events_carry_is_json_or_else_text() -> None:
    def extra(text: str) -> Any:
        return row(defined(), profiled(("task:execute", 1_500_000, 2_000_001), extra=text))["profiling_data"]["events"][0]

    assert extra('{"name": "x", "n": [1]}') == {
        "start_time": 1.5,
        "end_time": 2.000001,
        "extra_data": {"name": "x", "n": [1]},
        "event_name": "task:execute",
    }
    assert extra("")["extra_data"] == {}
    assert extra('{"a":\n1}')["extra_data"] == {"a": 1}
    for text in ("no JSON", "[1", "{", '"'):
        assert extra(text)["extra_data"] == text


def test_without_profile_events_there_is_no_profile() -> None:
    assert row(defined())["profiling_data"] == {}


def test_resources_and_environments_pass_through() -> None:
    environment = '{"env_vars": {"TOKEN": "s3cret"}, "config": {"setup_timeout_seconds": 5}}'
    lines = [
        defined(
            requiredResources={"CPU": 1.0, "gpu": 0.5}, serializedRuntimeEnv=environment, callSite="a.py:1\n|b", labelSelector={"a": "b"}
        )
    ]
    found = row(*lines)
    assert found["required_resources"] == {"CPU": 1.0, "gpu": 0.5}
    assert found["runtime_env_info"]["serialized_runtime_env"] == environment
    assert found["runtime_env_info"]["runtime_env_config"] == {"setup_timeout_seconds": 5, "eager_install": True, "log_files": []}
    assert (found["call_site"], found["label_selector"]) == ("a.py:1\n|b", {"a": "b"})
    (shown,) = rows(lines, browser=True)
    assert "s3cret" not in json.dumps(shown)
    assert json.loads(shown["runtime_env_info"]["serialized_runtime_env"])["env_vars"] == {"TOKEN": "<redacted>"}
    assert {**shown, "runtime_env_info": None} == {**found, "runtime_env_info": None}


_texts = st.text(max_size=20)


@settings(max_examples=150, deadline=None)
@given(name=_texts, function=_texts, message=_texts, site=_texts, file=_texts, environment=_texts, span=_texts, extra=_texts, state=_texts)
def test_any_text_is_shown_as_it_is(
    name: str, function: str, message: str, site: str, file: str, environment: str, span: str, extra: str, state: str
) -> None:
    found = row(
        defined(
            name=name,
            taskFunc={"pythonFunctionDescriptor": {"functionName": function.replace(".", "")}},
            callSite=site,
            serializedRuntimeEnv=environment,
        ),
        lived(("FAILED", 1), (state, 2), rayErrorInfo={"errorType": state, "errorMessage": message}, taskLogInfo={"stdoutFile": file}),
        profiled((span, 1, 2), extra=extra),
    )
    assert (found["name"], found["func_or_class_name"], found["call_site"]) == (name, function.replace(".", ""), site)
    assert found["runtime_env_info"]["serialized_runtime_env"] == environment
    assert found["task_log_info"] == {"stdout_file": file}
    assert {event["state"] for event in found["events"]} == {"FAILED", state}
    (event,) = found["profiling_data"]["events"]
    assert event["event_name"] == span
    assert found["error_message"] == message or "\x1b" in message


@pytest.mark.parametrize("text", [r"\ud800", r"\udfff x", r"a\u0000b", r"\u2028"])
def test_text_that_is_no_unicode_harms_no_other_task(text: str) -> None:
    odd = defined("e1" * 16 + JOB + "ffffffff", name="NAME").replace(b"NAME", text.encode())
    found = rows([defined(), odd, lived(("RUNNING", 1), workerId=b64(WORKER))])
    assert TASK in [r["task_id"] for r in found]
