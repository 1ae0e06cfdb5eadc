"""What a bucket directory holds of event files, as a reader sees it."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

from shared.layout import HISTORY_PREFIX, is_event_file


def event_files(bucket: Path) -> list[Path]:
    return [
        path for path in sorted((bucket / HISTORY_PREFIX).rglob("*")) if path.is_file() and is_event_file("/".join(_below_session(path)))
    ]


def stored_ids(bucket: Path) -> Counter[str]:
    """How often each event is stored."""
    found: Counter[str] = Counter()
    for path in event_files(bucket):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            found[json.loads(line)["eventId"]] += 1
    return found


def _below_session(path: Path) -> tuple[str, ...]:
    at = next(number for number, part in enumerate(path.parts) if part.startswith("session_"))
    return path.parts[at + 1 :]
