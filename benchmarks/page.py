"""docs/performance.md, written from a run."""

from __future__ import annotations

from benchmarks.report import Report

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
- *Decode floor*: msgspec decoding of the same event files line by line into the workers' own structs, from memory, on one core, in a
  process with the workers' memory settings. It sorts nothing, merges nothing and writes nothing.
- *Send floor*: a bare ASGI app under the same server (uvicorn, uvloop, httptools) that sends the same bytes.
- *Cold caches*: the first request to a new API process that has answered requests for another session before.
- *Peak RSS*: the largest resident set that any worker process had during the loads, pages shared with its parent included.
- *Redis memory*: `MEMORY USAGE` of the snapshot's key, every field sampled.

## Cold loads by phase

{phases}
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
    )


def _phases(report: Report) -> str:
    """Of the loads that are measured, in seconds, each phase's share of the last load."""
    rows = [(row.measure, row.details["loads"]) for row in report.rows if "loads" in row.details]
    names = list(dict.fromkeys(name for _, loads in rows for run in loads for name in run["phases"]))
    lines = [["load (last of its round)", *names, "bytes read", "events"], ["---"] * (len(names) + 3)]
    for measure, loads in rows:
        last = loads[-1]
        took = [f"{last['phases'].get(name, 0):.2f} s" for name in names]
        lines.append([measure, *took, f"{last['bytes_read']:,}", f"{last['events']:,}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
