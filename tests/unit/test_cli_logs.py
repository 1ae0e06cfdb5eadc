"""`ray-history logs`: which route it asks, and what it says where there is no such log."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

import cli.logs
from cli.main import run
from cli.server import Server

REF = "default/raycluster/raycap/session_2026-11-23_19-00-40_785172_1"
NODES = ("a1", "b2")
# By node and name.
FILES = {("a1", "raylet.out"): b"of a\n", ("b2", "raylet.out"): b"of b\n", ("b2", "old/worker-1.err"): b"trace\n"}
OUT = f"/sessions/{REF}/dashboard/api/v0/logs/file"


def _answer(request: httpx.Request) -> httpx.Response:
    path, query = request.url.path, dict(request.url.params)
    if path.endswith("/nodes"):
        return httpx.Response(200, json={"data": {"result": {"result": [{"node_id": node} for node in NODES]}}})
    if path.endswith("/logs"):
        names = [name for node, name in FILES if node == query.get("node_id", "b2")]
        return httpx.Response(200, json={"result": True, "data": {"result": {"raylet": [*names, "old/"]}}})
    if path == OUT and "filename" in query:
        text = FILES.get((query.get("node_id", "b2"), query["filename"]))
        return httpx.Response(404, text="no such\nfile") if text is None else httpx.Response(200, content=text)
    if path == OUT:
        return httpx.Response(200, content=json.dumps(query).encode())
    return httpx.Response(200, json={"state": "loaded", "complete": True, "session": {"session": REF.split("/")[3]}, "error": None})


@pytest.fixture(autouse=True)
def _server(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(address: str) -> Server:
        server = Server(address)
        server._client = httpx.Client(transport=httpx.MockTransport(_answer))
        return server

    monkeypatch.setattr(cli.logs, "Server", connect)


def test_files_of_all_nodes_or_of_one_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", REF.rsplit("/", 1)[0]]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["a1", "raylet", "raylet.out"],
        ["b2", "raylet", "old/worker-1.err"],
        ["b2", "raylet", "raylet.out"],
    ]
    assert run(["logs", REF, "*.out", "--node-id", "a1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"node_id": "a1", "category": "raylet", "file": "raylet.out"}]


def test_a_file_is_printed_from_the_node_that_has_it(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["logs", REF, "old/worker-1.err"]) == 0
    assert run(["logs", REF, "raylet.out", "--node-id", "a1"]) == 0
    assert run(["logs", REF, "raylet.out", "--node-ip", "10.0.0.1"]) == 0
    assert capfdbinary.readouterr().out == b"trace\nof a\nof b\n"


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        (["--task-id", "t", "--attempt", "2", "--err"], {"task_id": "t", "attempt_number": "2", "suffix": "err", "lines": "-1"}),
        (["--actor-id", "a", "--tail", "5"], {"actor_id": "a", "suffix": "out", "lines": "5"}),
        (["--submission-id", "s"], {"submission_id": "s", "suffix": "out", "lines": "-1"}),
        (["--pid", "7", "--node-id", "a1"], {"pid": "7", "node_id": "a1", "suffix": "out", "lines": "-1"}),
    ],
)
def test_what_somebody_wrote(arguments: list[str], query: dict[str, Any], capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["logs", REF, *arguments]) == 0
    assert json.loads(capfdbinary.readouterr().out) == query


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["raylet.out"], 1, "raylet.out is on 2 nodes, choose one by --node-id: a1, b2"),
        (["nothing"], 1, "no node has nothing"),
        (["nothing", "--node-id", "a1"], 1, "no such file"),
        (["raylet.out", "--pid", "7"], 2, "pid and filename: give one of them"),
    ],
)
def test_what_is_no_log_is_said(arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", REF, *arguments]) == code
    assert said in capsys.readouterr().err
