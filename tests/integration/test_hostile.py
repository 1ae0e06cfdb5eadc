"""No input stops a load: hostile files of every kind, and recorded sessions with a share of their lines mutated, through real processes.

`make hostile` loads 500 mutated sessions, and the largest hostile files; otherwise a seeded part of them.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from tests.hostile import HOSTILE, UNTOUCHED, mutated
from tests.servers import Api, Child, RedisServer, deployment

LOADS = int(os.environ.get("HOSTILE_LOADS", "0"))
SEED = int(os.environ.get("HOSTILE_SEED", "1"))
SESSION = "session_2026-03-04_05-06-00_000001_1"
NODE = "11" * 28
MIB = 1 << 20
_TASK_ID = re.compile(rb'"taskId":"([^"]*)"')
_RSS = 600 * 10**6


@dataclass
class Running:
    api: Api
    worker: Child
    bucket: Path

    def add(self, cluster: str, files: dict[str, bytes]) -> str:
        """A session with these files, by their keys below it."""
        marker = self.bucket / f"cluster-metadata/raycluster/hostile_{cluster}/{SESSION}"
        for path, content in {marker: b"", **{self._below(cluster, key): content for key, content in files.items()}}.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return f"hostile/raycluster/{cluster}/{SESSION}"

    def _below(self, cluster: str, key: str) -> Path:
        return self.bucket / f"cluster-history/raycluster/hostile/{cluster}/{SESSION}" / key

    def rss(self) -> int:
        """The largest resident set that any process of the worker has had."""
        processes = [psutil.Process(self.worker.process.pid), *psutil.Process(self.worker.process.pid).children(recursive=True)]
        peaks = [re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text()) for process in processes]
        return max(int(peak[1]) * 1024 for peak in peaks if peak)


@pytest.fixture(scope="module", params=["native", "python"] if LOADS else ["auto"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Running]:
    bucket = tmp_path_factory.mktemp("hostile-bucket")
    settings = {"ENGINE": request.param, "MAX_LINE_BYTES": 2 * MIB, "RETRY_PARTIAL_AFTER": 3600}
    with deployment(tmp_path_factory.mktemp("hostile"), redis_server, {"STORAGE": bucket.as_uri()}, 11, cold=True, **settings) as whole:
        yield Running(whole.api(ready=False), whole.worker(1), bucket)


_clusters = count(1)


def _loaded(running: Running, files: dict[str, bytes], timeout: float = 60) -> tuple[str, dict[str, Any]]:
    ref = running.add(f"h{next(_clusters)}", files)
    deadline = time.monotonic() + timeout
    while running.api.get(f"/enter_cluster/{ref}", params={"wait": 20}).status_code != 200:
        assert time.monotonic() < deadline, running.api.get(f"/sessions/{ref}").json()
    record = running.api.get(f"/sessions/{ref}").json()
    assert record["state"] == "loaded", record
    assert all(loss["code"] != "internal_error" for loss in record["losses"]), record
    return ref, record


def _event_file(name: str = "x") -> str:
    return f"{NODE}/job_events/03000000/{NODE}-2026-03-04-05-{name}.jsonl"


def _tasks(running: Running, ref: str) -> dict[str, dict[str, Any]]:
    rows = running.api.tasks(ref, detail=1, limit=10_000).json()["data"]["result"]["result"]
    return {row["task_id"]: row for row in rows}


def _parts(names: Iterable[str]) -> list[list[str]]:
    """In CI several files make one session: a load each is what takes time."""
    names = sorted(names)
    return [[name] for name in names] if LOADS else [names[at::4] for at in range(4)]


@pytest.mark.parametrize("names", _parts(HOSTILE), ids=lambda names: names[0])
def test_hostile_files(running: Running, names: list[str]) -> None:
    files = {_event_file(name): HOSTILE[name]() for name in names}
    ref, record = _loaded(running, {_event_file("good"): b"\n".join(UNTOUCHED), **files})
    assert _tasks(running, ref)["ab" * 20 + "03000000"]["state"] == "FINISHED"
    assert record["progress"]["files_read"] + record["progress"]["files_failed"] == len(names) + 1
    kinds = {kind: of_kind["count"] for kind, of_kind in record["skipped"].items()}
    assert sum(kinds.values()) == record["events_skipped"]
    assert all(1 <= len(of_kind["samples"]) <= 3 for of_kind in record["skipped"].values())
    for name in names:
        if name.startswith(
            ("gzip_cut", "gzip_damaged", "gzip_head", "array_cut", "array_never", "only_garbage", "a_line_that", "no_newline", "utf16")
        ):
            assert any(loss["file"].endswith(_event_file(name)) for loss in record["losses"]), (name, record["losses"])


def _recorded_lines(recorded: Path) -> dict[str, list[bytes]]:
    (source,) = (recorded / "bucket" / "cluster-history").glob("**/session_*19-07-13*")
    files = [path for path in sorted(source.rglob("*.jsonl*")) if "_events/" in path.as_posix()]
    return {
        path.relative_to(source).as_posix().removesuffix(".gz"): (
            gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        ).split(b"\n")
        for path in files
    }


@pytest.mark.parametrize("seed", range(SEED, SEED + (LOADS or 8)))
def test_mutated_sessions(running: Running, recorded: Path, seed: int) -> None:
    random = Random(seed)
    share = random.uniform(0.005, 0.05)
    touched: set[bytes] = set()
    files, whole = {}, {}
    for key, lines in _recorded_lines(recorded).items():
        changed = mutated(lines, share, random) if "job_events" in key or random.random() < 0.5 else lines
        for before, after in zip(lines, changed, strict=True):
            if before != after:
                touched.update(_TASK_ID.findall(before), _TASK_ID.findall(after))
        files[key], whole[key] = b"\n".join(changed), b"\n".join(lines)
    ref, record = _loaded(running, files)
    expected = {task_id for lines in whole.values() for line in lines.split(b"\n") for task_id in _defined(line)}
    found = _tasks(running, ref)
    missing = [task_id for task_id in expected - touched if _hex(task_id) not in found]
    assert not missing, record
    if files != whole:
        assert record["events_skipped"] or not record["complete"] or touched, record


def _defined(line: bytes) -> list[bytes]:
    return _TASK_ID.findall(line)[-1:] if b'"TASK_DEFINITION_EVENT"' in line or b'"ACTOR_TASK_DEFINITION_EVENT"' in line else []


def _hex(task_id: bytes) -> str:
    import base64

    return base64.b64decode(task_id).hex()


_ODD = ["null", "7", '"x"', "[]", "18446744073709551616", "1e999", '"\\ud800"', "[" * 1000 + "]" * 1000, '"!!"', '"9999-99-99T99:99:99Z"']


def test_hostile_values_of_everything_else(running: Running, recorded: Path) -> None:
    """Actors, nodes, jobs, workers, log events, stored answers: one odd value after the other in every field."""
    lines = [line for key, of_file in _recorded_lines(recorded).items() if "node_events" in key for line in of_file if line]
    kinds = {json.loads(line)["eventType"]: line for line in lines}
    log_event = {
        "event_id": "e",
        "source_type": "JOBS",
        "message": "m",
        "timestamp": "1772600767",
        "custom_fields": {"submission_id": "s"},
        "severity": "INFO",
    }
    answer = {
        "result": True,
        "msg": "",
        "data": {"rayVersion": "2.60.0", "result": {"result": [{"placement_group_id": "12" * 18, "state": "CREATED"}]}},
    }
    events, log_lines, answers = [], [], {}
    for number, odd in enumerate(_ODD if LOADS else _ODD[4:8]):
        for line in kinds.values():
            events += [text.encode(errors="surrogatepass") for text in _with_odd(json.loads(line), odd)]
        log_lines += _with_odd(log_event, odd)
        for at, text in enumerate(_with_odd(answer, odd)):
            for name in ("api__v0__cluster_metadata", "api__v0__placement_groups", "api__jobs", "timezone", "api__version"):
                answers[f"fetched_endpoints/restful__{name}?n={number}-{at}"] = text.encode()
                answers[f"fetched_endpoints/restful__{name}"] = text.encode()
    files = {
        _event_file("good"): b"\n".join(UNTOUCHED),
        f"{NODE}/node_events/{NODE}-2026-03-04-05.jsonl": b"\n".join(events),
        f"{NODE}/logs/events/event_JOBS.log": "\n".join([*log_lines, "{", json.dumps(log_event)]).encode(),
        **answers,
    }
    ref, record = _loaded(running, files)
    assert record["skipped"]
    assert "ab" * 20 + "03000000" in _tasks(running, ref)
    for path in ("actors", "nodes", "workers", "jobs", "placement_groups", "cluster_events", "tasks/summarize"):
        assert running.api.get(f"/sessions/{ref}/dashboard/api/v0/{path}?detail=1").status_code == 200, path
    for path in ("nodes?view=summary", "logical/actors", "api/jobs/", "events", "api/cluster_status"):
        assert running.api.get(f"/sessions/{ref}/dashboard/{path}").status_code == 200, path


def _with_odd(value: dict[str, Any], odd: str) -> list[str]:
    """The JSON of a message, once with each of its values replaced."""
    texts = []
    for path in _paths(value):
        copy = json.loads(json.dumps(value))
        place = copy
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = "PLACE"
        texts.append(json.dumps(copy).replace('"PLACE"', odd, 1))
    return texts


def _paths(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    return [path for key, item in items for path in ((*above, key), *_paths(item, (*above, key)))]


def _large(kind: str) -> dict[str, bytes]:
    if kind == "long_line":
        return {_event_file(): b'{"a":"' + b"x" * (200 * MIB) + b'"}\n' + b"\n".join(UNTOUCHED)}
    if kind == "long_array":
        return {_event_file(): b"[" + b'"' + b"x" * (200 * MIB)}
    if kind == "gzip_bomb":
        packed = gzip.compress(bytes(512 * MIB), 1)
        return {f"{_event_file()}.gz": packed * 8}
    if kind == "gzip_of_lines":
        return {f"{_event_file()}.gz": gzip.compress((UNTOUCHED[1] + b"\n") * 1_000_000, 1)}
    if kind == "log_events":
        line = json.dumps({"event_id": "NNNNNNNN", "source_type": "GCS", "message": "x" * 200, "timestamp": 1772600767, "severity": "INFO"})
        text = "\n".join(line.replace("NNNNNNNN", f"{number:08}") for number in range(300 * MIB // len(line)))
        return {f"{NODE}/logs/events/event_GCS.log": text.encode()}
    return {"fetched_endpoints/restful__api__v0__placement_groups": b"[" * (100 * MIB)}


@pytest.mark.skipif(not LOADS, reason="takes gigabytes: make hostile")
@pytest.mark.parametrize("kind", ["long_line", "long_array", "gzip_bomb", "gzip_of_lines", "log_events", "answer"])
def test_memory_is_bounded(running: Running, kind: str) -> None:
    ref, record = _loaded(running, {_event_file("good"): b"\n".join(UNTOUCHED), **_large(kind)}, 300)
    assert "ab" * 20 + "03000000" in _tasks(running, ref)
    if kind != "gzip_of_lines":
        assert record["losses"], record

    assert running.rss() <= _RSS, kind
