"""The index of jobs: searches over 10,000 sessions with 100,000 jobs, and what it takes of Redis and of an API process."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from benchmarks.bench import Bench, median, say
from benchmarks.report import Row
from shared.jobs import SessionJobs, job_of_row
from shared.sessions import Session
from shared.store.job_index import JobIndex
from shared.store.keys import JobIndexKeys

_JOBS = 10
_START = datetime(2026, 1, 1, tzinfo=UTC)
_STATUSES = ("SUCCEEDED",) * 8 + ("FAILED", "STOPPED")
_ERRORS = ("ValueError: bad record", "ray.exceptions.OutOfMemoryError: Task was killed", "FileNotFoundError: part-00017.parquet")
# As one types, filters of all kinds, other orders, and a page that is far behind.
_QUERIES = (
    "q=t", "q=tr", "q=train", "q=train+model-42", "q=record&status=FAILED", "", "status=FAILED&since=2026-06-01",
    "sort=-duration", "sort=-failures&namespace=team-3", "sort=name&q=etl", "ray_version=2.55&kind=rayjob", "limit=1000",
)  # fmt: skip
_ROUNDS = 20
# The server keeps what it found for a word: each round types one that was not asked for before.
_TYPED = ("q=step_{}", "q=step_{}.py", "q=serve+model-{}", "q=seed+{}7", "q=no-such-thing-{}")


def jobs_of_all_sessions(bench: Bench) -> list[Row]:
    """Written as loads write it. The API process has none of it at first."""
    server = bench.server
    count = bench.sizes.indexed_sessions
    keys = server.keyspace.job_index
    say(f"  writing {count:,} sessions")
    index = JobIndex(server.redis, server.keyspace)
    chance = random.Random(1)
    for number in range(count):
        entry = _session(number, chance)
        index.put(entry.session.key, entry)
    server.start_api()
    before = server.api_process().memory_info().rss
    with server.connect() as connection:
        first = connection.get("/jobs")
        cpu = sum(server.api_process().cpu_times()[:2])
        taken = [connection.get(f"/jobs?{query}") for number in range(_ROUNDS) for query in [*_QUERIES, *_typed(number)]]
    cpu = sum(server.api_process().cpu_times()[:2]) - cpu
    for answer in taken:
        assert answer.status == 200, answer.body[:500]
    seconds = sorted(answer.seconds for answer in taken)
    p95 = seconds[len(seconds) * 95 // 100] * 1000
    memory = sum(int(server.redis.memory_usage(key, samples=0) or 0) for key in _keys_of(keys))
    details = {
        "p50_ms": median(seconds) * 1000,
        "cpu_ms": cpu / len(taken) * 1000,
        "largest_ms": seconds[-1] * 1000,
        "first_ms": first.seconds * 1000,
        "api_rss_added": server.api_process().memory_info().rss - before,
    }
    server.redis.delete(*_keys_of(keys))
    named = f"{count:,} sessions with {count * _JOBS:,} jobs"
    return [
        Row(f"search, {named}, p95", p95, "ms", 100, details=details),
        Row(f"index of jobs in Redis, {named}", memory / 1e6, "MB", 60),
    ]


def _typed(number: int) -> list[str]:
    return [query.format(number) for query in _TYPED]


def _keys_of(keys: JobIndexKeys) -> list[str]:
    return [keys.entries, keys.changes, keys.looks, keys.state]


def _session(number: int, chance: random.Random) -> SessionJobs:
    began = _START + timedelta(minutes=50 * number)
    name = f"session_{began:%Y-%m-%d_%H-%M-%S}_{number:06}_1"
    owner = (None, None) if number % 2 else ("rayjob", f"nightly-{number % 50}")
    session = Session(f"team-{number % 10}", f"cluster-{number % 200}", name, *owner)
    jobs = [job_of_row(_row(round(began.timestamp() * 1000), place, chance), _tasks(chance)) for place in range(_JOBS)]
    return SessionJobs(session.to_dict(), jobs, ray_version=chance.choice(["2.55.1", "2.58.0", "2.60.0"]), nodes=8, complete=True)


def _row(began: int, place: int, chance: random.Random) -> dict[str, object]:
    status = chance.choice(_STATUSES)
    start = began + place * 240_000
    lines = "\n".join(f'  File "/srv/app/step_{chance.randrange(99)}.py", line {chance.randrange(999)}, in run' for _ in range(9))
    seed, module = chance.randrange(1 << 40), chance.choice(["train", "etl", "serve"])
    failed = f"Job entrypoint command failed with exit code 1, last available logs (truncated to 20,000 chars):\n{lines}\n"
    return {
        "type": "SUBMISSION",
        "job_id": f"{place + 1:02x}000000",
        "submission_id": f"raysubmit_{chance.randbytes(12).hex()}",
        "status": status,
        "entrypoint": f"python -m {module} --model model-{chance.randrange(1000)} --seed {seed}",
        "message": failed + chance.choice(_ERRORS) if status == "FAILED" else "Job finished successfully.",
        "metadata": {"team": f"team-{chance.randrange(10)}", "run": chance.randbytes(8).hex()},
        "start_time": start,
        "end_time": start + chance.randrange(1_000, 200_000),
    }


def _tasks(chance: random.Random) -> dict[str, int]:
    return {"FINISHED": chance.randrange(10_000), "FAILED": chance.choice([0, 0, 0, chance.randrange(50)])}
