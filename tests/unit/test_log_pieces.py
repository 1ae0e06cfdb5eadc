"""Pieces of log files: what was read beforehand, or is empty, is not asked for again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.sessions import Session
from shared.storage.port import ObjectInfo
from shared.storage.read_ahead import Answer
from workers.event_files import SessionFiles, Stored, read_stored
from workers.log_pieces import LogPieces, files_ahead

NODE = "aa" * 28
SESSION = Session("default", "raycap", "session_2026-11-23_19-00-40_785172_1", prefixes=("s/",))


def _info(path: str, size: int) -> tuple[str, ObjectInfo]:
    return f"{NODE}/logs/{path}", ObjectInfo(f"s/{NODE}/logs/{path}", size)


@dataclass
class _Store:
    """Says what it is asked for."""

    contents: dict[str, bytes]
    away: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self.asked.append(prefix)
        return iter(())

    def read_range(self, key: str, start: int, length: int) -> bytes:
        self.asked.append(key)
        return self.contents[key][start : start + length]

    def read_many(self, objects: list[ObjectInfo]) -> Iterator[tuple[ObjectInfo, Answer]]:
        for info in objects:
            self.asked.append(info.key)
            yield info, StorageUnavailable("away") if info.key in self.away else self.contents[info.key]


@dataclass
class _Run:
    session: Session = SESSION
    losses: list[tuple[str, str]] = field(default_factory=list)

    def loss(self, file: str, code: str, _message: str) -> None:
        self.losses.append((file, code))


def _read(store: _Store, files: SessionFiles) -> tuple[LogPieces, _Run]:
    run = _Run()
    return _stored(run, store, files).logs, run


def _stored(run: Any, store: Any, files: SessionFiles) -> Stored:
    return read_stored(run, store, files)


def _files(*logs: tuple[str, ObjectInfo]) -> SessionFiles:
    return SessionFiles(logs=[info for _, info in logs])


def test_a_small_file_is_asked_for_once_whatever_is_read_of_it() -> None:
    key, info = _info("gcs_server.out", 26)
    store = _Store({info.key: b"first\nasked: second\nthird\n"})
    logs, run = _read(store, _files((key, info)))
    assert logs.heads([key], 5) == {key: "first"}
    assert logs.tails([key], 6) == {key: "third\n"}
    assert list(logs.lines(key, re.compile(b"asked: "))) == ["asked: second"]
    assert logs.both_ends([key], 3) == {key: "fir\nrd\n"}
    assert store.asked.count(info.key) == 1
    assert not run.losses


def test_an_empty_file_is_not_asked_for() -> None:
    key, info = _info("job-driver-a.log", 0)
    store = _Store({})
    logs, _ = _read(store, _files((key, info)))
    assert logs.heads([key], 5) == {key: ""}
    assert not list(logs.lines(key, re.compile(b"x")))
    assert info.key not in store.asked


def test_of_a_large_file_only_pieces_are_read() -> None:
    key, info = _info("job-driver-a.log", 1 << 20)
    store = _Store({info.key: b"h" + bytes((1 << 20) - 2) + b"t"})
    logs, _ = _read(store, _files((key, info)))
    assert info.key not in store.asked
    assert logs.heads([key], 1) | logs.tails([key], 1) == {key: "t"}
    assert logs.heads([key], 1) == {key: "h"}


def test_a_file_that_could_not_be_read_beforehand_is_a_loss_when_it_is_needed() -> None:
    (key, info), (other, gone) = _info("gcs_server.out", 5), _info("monitor.log", 5)
    store = _Store({}, away=frozenset({info.key}))
    store.contents[gone.key] = b"there"
    logs, run = _read(store, _files((key, info), (other, gone)))
    assert not run.losses
    assert logs.heads([key, other], 5) == {other: "there"}
    assert run.losses == [(info.key, StorageUnavailable.code)]
    lost: list[tuple[str, str, str]] = []
    absent = LogPieces(store, {key: info}, lambda *loss: lost.append(loss), {info.key: ObjectNotFound("gone")})  # type: ignore[arg-type]
    assert absent.heads([key], 5) == {}
    assert not lost


def test_how_much_is_read_beforehand_is_bounded() -> None:
    many = dict(_info(f"python-core-driver-{number:056x}_7.log", 100 << 10) for number in range(400))
    ahead = files_ahead(many)
    assert ahead == list(many.values())[: len(ahead)]
    assert 16 << 20 >= sum(info.size for info in ahead) > 15 << 20
    assert len(files_ahead(dict(_info(f"job-driver-{number}.log", 1) for number in range(400)))) == 200
    others = ["worker-x.out", "raylet.out", "jobs/supervisor-a.log", "gcs_server.out.1", "python-core-worker-x.log"]
    assert not files_ahead(dict(_info(path, 10) for path in others))


def test_with_everything_else_that_a_load_reads() -> None:
    key, info = _info("monitor.log", 3)
    answer, event = ObjectInfo("s/fetched_endpoints/restful__timezone", 2), ObjectInfo(f"s/{NODE}/logs/events/event_JOBS.log", 2)
    empty = ObjectInfo(f"s/{NODE}/logs/events/event_CORE_WORKER_1.log", 0)
    store = _Store({info.key: b"log", answer.key: b"{}", event.key: b"{}"})
    files = SessionFiles(endpoints={"/timezone": answer}, log_events=[event, empty], logs=[info])
    stored = _stored(_Run(), store, files)
    assert stored.endpoints == {"/timezone": b"{}"}
    assert sorted(content for _, content in stored.log_events) == [b"", b"{}"]
    assert stored.logs.heads([key], 3) == {key: "log"}
    # One listing: of the cluster's other sessions, one of which may have stored what this one did not.
    asked = [name for name in store.asked if not name.startswith("cluster-metadata/")]
    assert asked == [answer.key, event.key, info.key]
