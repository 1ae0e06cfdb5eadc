"""Exit codes and one-line errors of the commands, and what the ones print that ask a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from cli import server_sessions
from cli.load_progress import follow
from cli.main import app, run
from cli.server import Server

REF = "default/raycluster/raycap/session_2026-11-23_19-00-40_785172_1"


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[httpx.Request], httpx.Response]], None]:
    """Makes every command talk to a function instead of a server."""

    def use(handler: Callable[[httpx.Request], httpx.Response]) -> None:
        def connect(address: str) -> Server:
            server = Server(address)
            server._client = httpx.Client(transport=httpx.MockTransport(handler))
            return server

        monkeypatch.setattr(server_sessions, "Server", connect)

    return use


def _record(state: str, **more: Any) -> dict[str, Any]:
    progress = {
        "files_total": 2,
        "files_read": 1,
        "files_failed": 0,
        "bytes_total": 2000,
        "bytes_read": 1000,
        "events": 30,
        "phase": "parse",
    }
    return {"state": state, "complete": True, "progress": progress, "losses": [], "events_skipped": 0, "error": None, **more}


def _commands() -> list[list[str]]:
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    return [[], *([name] for name in names), *([group.name] for group in app.registered_groups if group.name)]


@pytest.mark.parametrize("command", _commands(), ids=lambda c: " ".join(c) or "ray-history")
def test_every_level_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: ray-history")
    assert len(out.splitlines()) > 5


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["up", "--nonsense"],
        ["up", "--port", "66000"],
        ["up", "--workers", "0"],
        ["status"],
        ["status", "a/b"],
        ["load", "ns/pod/x"],
        ["dashboard"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("ray-history: ")
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("version", "--version"):
        assert run([command]) == 0
        assert capsys.readouterr().out.startswith("ray-history 0.")


def test_a_shell_can_complete_commands(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_RAY_HISTORY_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "ray-history sess")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        run([])
    assert capsys.readouterr().out.split() == ["sessions"]


def test_a_misspelt_setting_is_warned_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_HISTORY_SNAPSHOT_BUGDET", "1")
    monkeypatch.setenv("RAY_HISTORY_SERVER", "http://h")
    monkeypatch.setenv("RAY_HISTORY_API_SERVICE_HOST", "10.0.0.1")  # of a Kubernetes service
    monkeypatch.setenv("RAY_HISTORY_API_PORT_8080_TCP_ADDR", "10.0.0.1")
    assert run(["version"]) == 0
    said = "RAY_HISTORY_SNAPSHOT_BUGDET is no setting and has no effect: did you mean RAY_HISTORY_SNAPSHOT_BUDGET?"
    assert capsys.readouterr().err == f"ray-history: warning: {said}\n"


def test_what_latest_means_is_said(answer: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def serve(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path))
        return httpx.Response(204 if request.method == "DELETE" else 200, json=_record("loaded", session={"session": REF.split("/")[3]}))

    answer(serve)
    latest = REF.rsplit("/", 1)[0]
    assert run(["load", latest, "--wait"]) == 0
    assert capsys.readouterr().out == f"{REF} is loaded\n"
    assert run(["evict", latest]) == 0
    assert capsys.readouterr().out == f"{REF} is evicted\n"
    assert asked[-1] == ("DELETE", f"/sessions/{REF}")


def test_no_server_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sessions", "--server", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.startswith("ray-history: no server answers at http://127.0.0.1:1")
    assert run(["sessions", "--server", "localhost:8080"]) == 1
    assert "is no address of a server" in capsys.readouterr().err


def test_a_problem_is_shown_by_its_detail(answer: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    problem = {"title": "Session not found", "detail": "no such session", "code": "session_not_found", "status": 404}
    answer(lambda _: httpx.Response(404, json=problem, headers={"content-type": "application/problem+json"}))
    for command in ("status", "load", "evict"):
        assert run([command, REF]) == 1
        assert capsys.readouterr().err == "ray-history: no such session (session_not_found)\n"


def test_another_kind_of_server_is_told(answer: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    answer(lambda _: httpx.Response(200, text="<html>", headers={"content-type": "text/html"}))
    assert run(["status", REF]) == 1
    assert "is no Ray History Server" in capsys.readouterr().err


def test_sessions_follows_every_page(answer: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def pages(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        first = "cursor" not in request.url.params
        session = {
            "ref": REF if first else "batch/rayjob/x/session_2026-11-23_19-08-07_927634_1",
            "createTime": "2026-11-23T19:00:40Z",
            "live": False,
            "partial": first,
            "empty": first,
        }
        return httpx.Response(200, json={"sessions": [{**session, "status": "loaded"}], "next": "n" if first else None, "total": 2})

    answer(pages)
    assert run(["sessions", "--namespace", "default"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["REF", "CREATED", "(UTC)", "STATE"],
        [REF, "2026-11-23T19:00:40Z", "loaded", "(partial,", "empty)"],
    ]
    assert len(lines) == 3
    assert [query.get("cursor") for query in asked] == [None, "n"]
    assert {query["namespace"] for query in asked} == {"default"}
    assert run(["sessions", "--json", "--limit", "1"]) == 0
    assert [session["ref"] for session in json.loads(capsys.readouterr().out)] == [REF]


def test_status_shows_progress_losses_and_error(answer: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    record = _record(
        "loaded",
        complete=False,
        partial=True,
        session={"ref": REF, "cluster": "raycap"},
        warnings=[{"code": "x", "message": "Ray exported nothing"}],
        loss_count=3,
        losses=[{"file": "n/job_events/a.jsonl", "code": "object_not_found", "message": "is gone"}],
        error={"code": "internal_error", "message": "before", "retryable": False},
    )
    answer(lambda _: httpx.Response(200, json=record))
    assert run(["status", REF]) == 0
    out = capsys.readouterr().out
    lines = dict(reversed([line.split(":", 1) for line in out.splitlines()]))
    shown = {name: value.strip() for name, value in lines.items()}
    assert (shown["ref"], shown["warning"]) == (REF, "Ray exported nothing")
    assert "and 2 more files" in out
    assert shown["state"] == "loaded (partial)"
    assert shown["files"] == "1 of 2, 0 failed"
    assert shown["lost"] == "n/job_events/a.jsonl: is gone"
    assert shown["error"] == "before (internal_error)"


def test_load_waits_until_the_state_is_final(answer: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    states = ["queued", "loading", "loaded"]
    methods = []

    def serve(request: httpx.Request) -> httpx.Response:
        methods.append(request.method)
        return httpx.Response(202 if len(states) > 1 else 200, json=_record(states.pop(0) if len(states) > 1 else states[0]))

    answer(serve)
    assert run(["load", REF, "--wait"]) == 0
    assert capsys.readouterr().out == f"{REF} is loaded\n"
    assert methods == ["POST", "GET", "GET"]


@pytest.mark.parametrize("state", ["failed", "absent", "live"])
def test_load_that_does_not_end_well_is_exit_code_1(answer: Callable[..., None], capsys: pytest.CaptureFixture[str], state: str) -> None:
    error = {"code": "snapshot_too_large", "message": "too large", "retryable": False} if state == "failed" else None
    answer(lambda request: httpx.Response(202, json=_record("queued" if request.method == "POST" else state, error=error)))
    assert run(["load", REF, "--wait"]) == 1
    expected = "too large" if error else f"{REF} is {state}"
    assert capsys.readouterr().err.splitlines()[-1] == f"ray-history: {expected}"


def test_progress_ends_with_the_final_record() -> None:
    records = [_record("loading"), _record("failed")]
    assert follow(lambda: records.pop(0), _record("queued"), poll=0)["state"] == "failed"


def test_an_unexpected_failure_is_one_line(answer: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    answer(lambda _: httpx.Response(200, json={}))
    assert run(["status", REF]) == 1
    assert capsys.readouterr().err == "ray-history: unexpected KeyError: 'state'\n"
