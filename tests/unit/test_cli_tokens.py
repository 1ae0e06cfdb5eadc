"""Tokens of the command line: made, kept for their server only, and sent to it."""

from __future__ import annotations

import stat
from io import StringIO
from pathlib import Path

import httpx
import pytest

from api.access.rights_file import RightsFile
from cli.main import run
from cli.server import Server, keep_token, token_for

HERE = "http://127.0.0.1:8080"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("RAY_HISTORY_TOKEN", raising=False)
    return tmp_path


async def test_a_made_token_is_one_that_the_server_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token", 'ci "1"', "--allow", "team-a=see,load", "--allow", "*=see"]) == 0
    said = capsys.readouterr()
    made = said.err.rsplit(" ", 1)[1].strip()
    assert made not in said.out
    (tmp_path / "rights.toml").write_text(said.out)
    caller = RightsFile(str(tmp_path / "rights.toml")).granted().of_token(made)
    assert caller is not None
    assert caller.name == 'ci "1"'
    assert await caller.rights.may("team-a", "load")
    assert not await caller.rights.may("team-b", "load")


@pytest.mark.parametrize("rights", ["team-a", "=see", "team-a=", "team-a=read"])
def test_rights_that_there_are_not(rights: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token", "ci", "--allow", rights]) == 2
    assert "NAMESPACE=ACTION" in capsys.readouterr().err


def test_a_token_is_kept_for_its_server_and_the_user_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_token(HERE + "/", "one")
    keep_token("https://history.example", "two")
    assert (token_for(HERE), token_for("https://history.example/x"), token_for("http://history.example")) == ("one", "two", "")
    file = home / "ray-history" / "tokens.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    monkeypatch.setenv("RAY_HISTORY_TOKEN", "three")
    assert token_for(HERE) == "three"


def test_commands_send_it() -> None:
    keep_token(HERE, "one")
    assert Server(HERE)._client.headers["authorization"] == "Bearer one"
    assert "authorization" not in Server("http://other:8080")._client.headers


@pytest.mark.parametrize(
    ("status", "answer", "code", "said"),
    [
        (200, {"name": "ci", "auth": "token"}, 0, "logged in at http://127.0.0.1:8080 as ci"),
        (200, {"name": "127.0.0.1", "auth": "none"}, 1, "wants no token"),
        (401, {"detail": "who asks?", "code": "unauthenticated"}, 1, "ray-history login"),
    ],
)
def test_a_login_is_kept_once_the_server_knows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int, answer: dict[str, str], code: int, said: str
) -> None:
    asked: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.url.path} {request.headers['authorization']}")
        return httpx.Response(status, json=answer)

    def connect(address: str, token: str) -> Server:
        server = Server(address, token=token)
        server._client = httpx.Client(transport=httpx.MockTransport(respond), headers=server._client.headers)
        return server

    monkeypatch.setattr("cli.tokens.Server", connect)
    monkeypatch.setattr("sys.stdin", StringIO("secret\n"))
    assert run(["login", "--server", HERE]) == code
    out = capsys.readouterr()
    assert said in out.out + out.err
    assert asked == ["/caller Bearer secret"]
    assert (token_for(HERE) == "secret") is (code == 0)
