"""`ray-history export`: a file that is there is whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import cli.export
from cli.main import run
from cli.server import Server

REF = "default/raycluster/raycap/session_2026-11-23_19-00-40_785172_1"
ROWS = b'{"task_id":"a"}\n{"task_id":"b"}\n'


class _CutOff(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield ROWS
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


def _serve(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response, state: str = "loaded", **more: Any) -> list[httpx.URL]:
    asked: list[httpx.URL] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/export"):
            asked.append(request.url)
            return answer
        record = {"state": state, "complete": True, "session": {"session": REF.split("/")[3]}, "error": None, "progress": {}}
        return httpx.Response(200, json=record | more)

    def connect(address: str) -> Server:
        server = Server(address)
        server._client = httpx.Client(transport=httpx.MockTransport(handle))
        return server

    monkeypatch.setattr(cli.export, "Server", connect)
    return asked


def test_rows_are_written_to_a_file_or_to_standard_output(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    asked = _serve(monkeypatch, httpx.Response(200, content=ROWS))
    latest = REF.rsplit("/", 1)[0]
    assert run(["export", latest, "--what", "tasks", "--format", "csv", "-o", str(tmp_path / "tasks.csv")]) == 0
    assert (tmp_path / "tasks.csv").read_bytes() == ROWS
    assert (asked[0].path, dict(asked[0].params)) == (f"/sessions/{REF}/export", {"what": "tasks", "format": "csv"})
    assert run(["export", REF]) == 0
    assert capfdbinary.readouterr().out == ROWS


def test_a_partial_session_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _serve(monkeypatch, httpx.Response(200, content=ROWS), complete=False)
    assert run(["export", REF, "-o", str(tmp_path / "x")]) == 0
    assert "partial" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(200, stream=_CutOff()), "without sending complete message body"),
        (httpx.Response(400, json={"detail": "what='x': use one of tasks", "code": "invalid_request"}), "use one of tasks"),
    ],
)
def test_what_is_cut_off_or_refused_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: httpx.Response, said: str
) -> None:
    _serve(monkeypatch, answer)
    (tmp_path / "x").write_text("former")
    assert run(["export", REF, "-o", str(tmp_path / "x")]) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("ray-history: ")
    assert said in last
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x", "former")]
    assert run(["export", REF, "-o", str(tmp_path / "no" / "x")]) == 1


def test_a_session_that_cannot_be_loaded_is_no_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _serve(monkeypatch, httpx.Response(200), "failed", error={"message": "it broke", "code": "x"})
    assert run(["export", REF]) == 1
    assert "it broke" in capsys.readouterr().err
