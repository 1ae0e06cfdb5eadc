"""The first visit of a loaded session in a while: what it waits for, and what it says to Redis."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from shared.sessions import Session
from tests.in_process import SESSION, InProcess, add_session, in_process
from tests.published import loaded, publish
from tests.waiting import wait_until

_NAMESPACE, _CLUSTER = "default", "raycap"


async def _tasks(server: InProcess, ref: str) -> int:
    return (await server.client.get(f"/sessions/{ref}/dashboard/api/v0/tasks")).status_code


async def test_the_answer_does_not_wait_for_the_message_that_the_bucket_is_to_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = add_session(tmp_path, _NAMESPACE, _CLUSTER)
    async with in_process(tmp_path, monkeypatch) as server:
        await publish(server, loaded(tmp_path, Session(_NAMESPACE, _CLUSTER, SESSION)))
        broker_answers, sent = threading.Event(), list[str]()

        def send_check(session: Session, snapshot: str) -> None:
            assert broker_answers.wait(20)
            sent.append(f"{session.key} {snapshot}")

        monkeypatch.setattr(server.queue, "send_check", send_check)
        assert await _tasks(server, ref) == 200
        assert not sent
        broker_answers.set()
        wait_until(lambda: bool(sent), "the message")
        assert sent == [f"{_NAMESPACE}/{_CLUSTER}/{SESSION} 1.1"]


async def test_a_visit_is_a_use_without_another_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = add_session(tmp_path, _NAMESPACE, _CLUSTER)
    async with in_process(tmp_path, monkeypatch) as server:
        await publish(server, loaded(tmp_path, Session(_NAMESPACE, _CLUSTER, SESSION)))
        redis = server.app.state.redis
        keys = server.app.state.keyspace.session(f"{_NAMESPACE}/{_CLUSTER}/{SESSION}")
        prefix, index, _ = keys.for_scripts
        # Long ago.
        await redis.zadd(index, {f"{prefix}1.1": 1})
        assert await _tasks(server, ref) == 200
        assert await redis.zscore(index, f"{prefix}1.1") > 1
        said: list[Any] = []
        asked = redis.execute_command

        async def heard(*command: Any, **options: Any) -> Any:
            said.append(command[0])
            return await asked(*command, **options)

        monkeypatch.setattr(redis, "execute_command", heard)
        server.app.state.sessions._current.clear()
        server.app.state.sessions._visits._noted.clear()
        server.app.state.cache._pieces.clear()
        assert await _tasks(server, ref) == 200
        assert said.count("EVALSHA") == 1, said
