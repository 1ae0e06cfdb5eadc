"""What the collector costs beside a Ray node: `python -m benchmarks.collector` posts recorded events at a steady rate.

The bars: 5,000 events/s for 60 s, none refused, at most 3 % of a core and 60 MB.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import httpx
import msgspec
import psutil

from shared.settings import CollectSettings
from tests.collector.events import NODE, SESSION, base64_of, body
from tests.collector.running import collecting
from tests.collector.stored import stored_ids
from tests.data.recorded import unpack

BATCH = 1000
"""Events that Ray's agent sends at once, at most."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collector")
    parser.add_argument("--rate", type=int, default=5000, help="events per second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--engine", choices=("auto", "native", "python"), default="auto", help="the core in Rust, or plain Python")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        templates = _templates(directory)
        usual = CollectSettings()
        rotation = {"COLLECT_ROTATION": usual.collect_rotation, "COLLECT_ROTATION_BYTES": usual.collect_rotation_bytes}
        with collecting(directory / "collector", directory / "bucket", ENGINE=given.engine, **rotation) as collector:
            assert collector.process is not None
            process = psutil.Process(collector.process.pid)
            before, began, peak, slowest, refused, sent = process.cpu_times(), time.monotonic(), 0, 0.0, 0, 0
            with httpx.Client(base_url=f"http://127.0.0.1:{collector.port}", timeout=60, trust_env=False) as client:
                while time.monotonic() < began + given.seconds:
                    content = templates[sent // BATCH % len(templates)].replace(b'"eventId": "', b'"eventId": "%08d' % (sent // BATCH))
                    asked = time.monotonic()
                    refused += client.post("/v1/events", content=content).status_code != 200
                    slowest = max(slowest, time.monotonic() - asked)
                    sent += BATCH
                    peak = max(peak, process.memory_info().rss)
                    time.sleep(max(0.0, began + sent / given.rate - time.monotonic()))
            after, wall = process.cpu_times(), time.monotonic() - began
            used = after.user + after.system - before.user - before.system
            collector.end()
        unit = _unit(templates)
        stored = stored_ids(directory / "bucket")
    each, twice = used / sent, sum(number > 1 for number in stored.values())
    print(f"events {sent} in {wall:.1f} s, refused batches {refused}, stored {len(stored)}, twice {twice}")
    print(f"CPU {100 * used / wall:.2f} % of a core, {1e6 * each:.2f} us an event: {each / unit:.1f} times a skip over the same JSON")
    print(f"peak memory {peak / 1e6:.1f} MB, slowest answer {slowest:.3f} s")


def _unit(templates: list[bytes]) -> float:
    """Seconds of CPU for an event: what the machine gives now, with whatever else it does."""
    decode = msgspec.json.Decoder(list[msgspec.Raw]).decode
    began = time.process_time()
    for _ in range(50):
        for content in templates:
            decode(content)
    return (time.process_time() - began) / (50 * BATCH * len(templates))


def _templates(directory: Path) -> list[bytes]:
    """Batches of recorded events as Ray's agent writes them: of one session and node, each id different."""
    unpack(directory / "recorded", "bucket")
    events = []
    for path in sorted((directory / "recorded").rglob("*_events/**/*.jsonl")):
        events += [json.loads(line) for line in path.read_bytes().splitlines()]
    for event in events:
        event["sessionName"] = SESSION
        if event.get("nodeId"):
            event["nodeId"] = base64_of(NODE)
    batches = [events[at : at + BATCH] for at in range(0, len(events) - BATCH, BATCH)]
    return [body(batch) for batch in batches if len({event["eventId"] for event in batch}) == BATCH]


if __name__ == "__main__":
    main()
