"""The boundary between bad data and defects: what reading stored files may raise, and what was left out because of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec
from billiard.exceptions import SoftTimeLimitExceeded

from shared.errors import HistoryError

# What reading foreign bytes may raise, at every boundary the same. Anything else is a defect of ours.
BAD_DATA = (
    msgspec.MsgspecError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
# What a boundary around our own code lets through: it is about the load as a whole.
PASSING = (HistoryError, SoftTimeLimitExceeded)
SAMPLES = 3
_SAMPLE_LENGTH = 200


class Skipped:
    """What was left out, counted by kind, with the first few of each kind as (file, kind, text)."""

    def __init__(self, counts: Iterable[tuple[str, int]] = (), samples: Iterable[tuple[str, str, str]] = ()) -> None:
        self.counts: Counter[str] = Counter(dict(counts))
        self.samples: list[tuple[str, str, str]] = list(samples)
        self.file = ""

    def __call__(self, kind: str, text: str) -> None:
        """`text` says what was wrong, or shows it. `file` is the one that is being read."""
        self.counts[kind] += 1
        if self.counts[kind] <= SAMPLES:
            # Neither control characters nor lone surrogates: it is stored and shown.
            shown = text[:_SAMPLE_LENGTH].encode(errors="replace").decode()
            self.samples.append((self.file, kind, "".join(c if c.isprintable() else "\ufffd" for c in shown)))

    def add(self, other: Skipped) -> None:
        for sample in other.samples:
            if sum(kind == sample[1] for _, kind, _ in self.samples) < SAMPLES:
                self.samples.append(sample)
        self.counts.update(other.counts)

    @property
    def total(self) -> int:
        return self.counts.total()

    def to_json(self) -> str:
        """For the load status: {kind: {count, samples}}."""
        kinds = {
            kind: {"count": count, "samples": [{"file": file, "text": text} for file, of, text in self.samples if of == kind]}
            for kind, count in sorted(self.counts.items())
        }
        return msgspec.json.encode(kinds).decode()
