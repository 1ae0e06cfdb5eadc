"""docs/performance.md, written from a run."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.report import Report, Row

_TEXT = """\
# Performance

Written by `make bench ARGS="--docs docs"`, not by hand; all figures of the run, phases and bytes read included, are in
[performance.json](performance.json).

- machine: {machine}
- date: {date}
- command: `{command}`
- set-up: embedded Valkey, two worker processes (one where it says so), one API process, sessions in a local directory, everything
  and the clients on the one machine

{table}

## What is measured

- Sessions are synthetic: recorded tasks of a real cluster, multiplied with fresh ids, times, nodes and workers (`benchmarks/sessions.py`).
  A task makes about six events and 4.8 KB of event files. After every load the number of attempts and events found is checked.
- *Enter to loaded*: from sending `GET /enter_cluster/...` to the loaded marker. Median of {rounds} loads, alternating with what they are
  compared with, so that both see the same machine.
- *Decode floor*: msgspec decoding of the same event files, line by line, to all fields that rows are made of, from memory, on one core, in
  a process with the workers' memory settings. It sorts nothing, merges nothing and writes nothing.
- *Send floor*: a bare ASGI app under the same server (uvicorn, uvloop, httptools) that sends the same bytes. The client receives into
  memory that it has used before: pages that the kernel must find first would make the floor of large answers five times as high.
- *Cold caches*: the first request to a new API process that has answered requests for another session before.
- *From S3*: SeaweedFS on loopback, with a server of its own. What it is asked for is what it counts itself. The bar of requests: event
  files, stored answers, log event files that are not empty, and ten. S3 Standard takes $0.005 for 1,000 listings, $0.0004 for 1,000 reads.
- *Peak RSS*: the largest resident set that any worker process had during the loads, pages shared with its parent included.
- *Redis memory*: `MEMORY USAGE` of the snapshot's key, every field sampled.

## Cold loads by phase

{phases}

## Further figures

{further}
"""


def text(report: Report) -> str:
    found = report.as_json()
    return _TEXT.format(
        machine=found["machine"],
        date=report.date,
        command=report.command,
        table=report.table(),
        rounds="three or more",
        phases=_phases(report),
        further="\n".join(f"- {line}" for row in report.rows for line in _further(row)),
    )


def _further(row: Row) -> Iterator[str]:
    """What a row's details say beyond its figure."""
    found = row.details
    if "gzip" in found:
        packed = found["gzip"]
        yield f"{row.measure}: {found['bytes']:,} bytes; resident set of the API process after all of them {found['api_rss'] / 1e6:.0f} MB"
        yield (
            f"the same for a client that takes gzip: {packed['bytes']:,} bytes, {packed['packing_ms']:.0f} ms when it must be packed, then "
            f"{packed['repeated_ms']:.1f} ms, where sending these bytes takes {packed['send_floor_ms']:.1f} ms"
        )
    if "p99_ms" in found:
        yield (
            f"{row.measure}: p99 {found['p99_ms']:.1f} ms, the first one {found['first_ms']:.1f} ms; /livez {found['livez_ms']:.2f} ms, "
            f"one Redis round trip {found['redis_round_trip_ms']:.2f} ms"
        )
    if "snapshot" in found:
        yield f"{row.measure}: {found['snapshot']:,} bytes for {found['attempts']:,} attempts"
    if "by_load" in found:
        yield f"{row.measure}: {', '.join(f'{peak / 1e6:.0f} MB' for peak in found['by_load'])} in the loads measured"


def _phases(report: Report) -> str:
    """Seconds that the last load of each measure was in each phase."""
    rows = [(row.measure, row.details["loads"]) for row in report.rows if "loads" in row.details]
    names = list(dict.fromkeys(name for _, loads in rows for run in loads for name in run["phases"]))
    lines = [["load (last of its rounds)", *names, "bytes read", "events"], ["---"] * (len(names) + 3)]
    for measure, loads in rows:
        last = loads[-1]
        took = [f"{last['phases'].get(name, 0):.2f} s" for name in names]
        lines.append([measure, *took, f"{last['bytes_read']:,}", f"{last['events']:,}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
