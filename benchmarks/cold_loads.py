"""Cold loads: their time beside the decode floor, compressed, in many files, large, and small."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.bench import Bench, median, say
from benchmarks.floors import decode_floor
from benchmarks.loading import Load, is_loaded, load, snapshot_bytes
from benchmarks.report import Row
from benchmarks.sessions import SessionPlan, SyntheticSession

_MIB = 1 << 20
_DECODE = "decode floor"
_ALONE = 40


def medium_session(bench: Bench) -> list[Row]:
    """Enter to loaded, by two worker processes and by one; plain and from gzip; with the core in Rust and with the plain Python engine."""
    plain, packed = bench.medium(), bench.medium(gz=True)
    _warm(bench)
    floors: list[float] = []
    by_two: list[Load] = []
    gz: list[Load] = []
    by_one: list[Load] = []
    in_python: list[Load] = []
    for _ in range(bench.sizes.rounds):
        floors.append(decode_floor(plain.event_files))
        by_two.append(_load(bench, plain))
        gz.append(_load(bench, packed))
    bench.server.start_workers(1)
    _warm(bench)
    for _ in range(bench.sizes.rounds):
        floors.append(decode_floor(plain.event_files))
        by_one.append(_load(bench, plain))
    bench.server.start_workers(2, "python")
    _warm(bench)
    for _ in range(bench.sizes.rounds):
        floors.append(decode_floor(plain.event_files))
        in_python.append(_load(bench, plain))
    bench.server.start_workers(2)
    floor, two = median(floors), median(run.seconds for run in by_two)
    named = f"{plain.plan.tasks:,} tasks ({plain.events:,} events, {plain.bytes / 1e6:.0f} MB), {by_two[0].engine} engine"
    gz_named = f"the same from gzip ({packed.disk_bytes / 1e6:.0f} MB)"
    return [
        Row(f"{named}, enter to loaded", two, "s", 1.9, floor=floor, floor_name=_DECODE, details=_details(by_two, floors)),
        Row("the same, one worker process", _seconds(by_one), "s", 3.2, floor=floor, floor_name=_DECODE, details=_details(by_one, floors)),
        Row("the same, two worker processes, python engine", _seconds(in_python), "s", 8.0, floor=floor, floor_name=_DECODE,
            details=_details(in_python, floors)),
        Row(gz_named, _seconds(gz), "s", 1.3, floor=two, floor_name="plain", details=_details(gz)),
    ]  # fmt: skip


def large_session(bench: Bench) -> list[Row]:
    """Time per task against the medium session's, memory of workers and of Redis."""
    large, medium = bench.large(), bench.medium()
    _warm(bench)
    before = [_load(bench, medium) for _ in range(bench.sizes.rounds)]
    floors = [decode_floor(large.event_files)]
    loads = [_load(bench, large) for _ in range(bench.sizes.large_rounds)]
    stored = snapshot_bytes(bench.server, large.plan.session, loads[-1].snapshot)
    each, medium_each = (_seconds(runs) / tasks * 1e6 for runs, tasks in ((loads, large.attempts), (before, medium.attempts)))
    named = f"{large.plan.tasks:,} tasks ({large.bytes / 1e9:.2g} GB)"
    rss = max(run.peak_rss for run in loads)
    memory = {"snapshot": stored, "attempts": large.attempts}
    return [
        Row(f"{named}, time per task attempt", each, "µs", 1.1, floor=medium_each, floor_name=f"{medium.plan.tasks:,} tasks",
            details=_details(loads, floors) | {"medium": _details(before)}),
        Row(f"{named}, peak RSS of any worker process", rss / 1e6, "MB", 400, details={"by_load": [run.peak_rss for run in loads]}),
        Row(f"{named}, Redis memory per task attempt", stored / large.attempts, "bytes", 300, details=memory),
    ]  # fmt: skip


def recorded_session(bench: Bench) -> list[Row]:
    """A small real session, workers warm."""
    session = bench.recorded()
    _warm(bench)
    loads = [load(bench.server, session) for _ in range(2 * bench.sizes.rounds + 1)]
    named = f"recorded session of {loads[0].events:,} events, enter to loaded"
    return [Row(named, _seconds(loads), "s", 0.3, details=_details(loads))]


def small_beside_large(bench: Bench) -> list[Row]:
    """A small real session, again and again while a large one loads, and alone: 95th percentiles."""
    small, large = bench.recorded(), bench.large()
    _warm(bench)
    alone = [load(bench.server, small).seconds for _ in range(_ALONE)]
    bench.server.evict(large.plan.session)
    with bench.server.connect() as connection:
        assert connection.get(f"/enter_cluster/{large.plan.session.ref}").status == 202
    beside = []
    while not is_loaded(bench.server, large.plan.session):
        beside.append(load(bench.server, small).seconds)
    bench.check_loaded(large)
    named = f"recorded session while {large.plan.tasks:,} tasks are loaded, enter to loaded, p95"
    details = {"alone": [round(took, 3) for took in alone], "beside": [round(took, 3) for took in beside]}
    return [Row(named, _p95(beside), "s", 3, floor=_p95(alone), floor_name="alone", details=details)]


def _p95(times: list[float]) -> float:
    return sorted(times)[math.ceil(0.95 * len(times)) - 1]


def small_files(bench: Bench) -> list[Row]:
    """The same events in many small files and in few large ones: all of one node, so that large files can be full."""
    tasks = bench.sizes.small_files * 20_000 // 4770
    small = bench.session(SessionPlan(tasks, jobs=1, nodes=1, file_bytes=19_000))
    few = bench.session(SessionPlan(tasks, jobs=1, nodes=1))
    assert small.bytes == few.bytes
    _warm(bench)
    loads: list[tuple[Load, Load]] = [(_load(bench, small), _load(bench, few)) for _ in range(bench.sizes.rounds)]
    many, large = zip(*loads, strict=True)
    named = f"{small.files:,} event files of {small.bytes / small.files / 1000:.0f} KB"
    details = _details(many) | {"few": _details(large)}
    return [Row(named, _seconds(many), "s", 2.0, floor=_seconds(large), floor_name=f"the same in {few.files} files", details=details)]


def _load(bench: Bench, synthetic: SyntheticSession) -> Load:
    run = load(bench.server, synthetic.plan.session)
    assert (run.events, run.bytes_read) == (synthetic.events, synthetic.disk_bytes), (run, synthetic)
    bench.check_loaded(synthetic)
    say(f"  {synthetic.plan.name}: {run.seconds:.2f} s { ({name: round(took, 2) for name, took in run.phases.items()}) }")
    return run


def _warm(bench: Bench) -> None:
    """Every worker process has imported and connected what loads need."""
    for _ in range(3):
        load(bench.server, bench.recorded())


def _seconds(loads: list[Load] | tuple[Load, ...]) -> float:
    return median(run.seconds for run in loads)


def _details(loads: list[Load] | tuple[Load, ...], floors: list[float] | None = None) -> dict[str, Any]:
    details: dict[str, Any] = {"loads": [run.details() for run in loads], "peak_rss_mb": round(max(run.peak_rss for run in loads) / _MIB)}
    return details | ({"decode_floors": [round(seconds, 3) for seconds in floors]} if floors else {})
