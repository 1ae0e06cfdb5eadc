"""What a load says of itself while it runs. Each step reports in absolute numbers: one that is done again replaces its report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

PROGRESS_FIELDS = ("files_total", "files_read", "files_failed", "bytes_total", "bytes_read", "events")
LOSSES_KEPT = 200
_LONGEST_MESSAGE = 500
_PREFIX = b"report:"


class LoadReport(msgspec.Struct):
    """`counts`: PROGRESS_FIELDS and `events_skipped`. `losses`: (code, message) by file, at most LOSSES_KEPT of `loss_count`.

    `said`: what else the load status shows, as JSON texts by name; a later step's word counts.
    """

    counts: dict[str, int] = msgspec.field(default_factory=dict)
    losses: dict[str, tuple[str, str]] = msgspec.field(default_factory=dict)
    loss_count: int = 0
    said: dict[str, str] = msgspec.field(default_factory=dict)

    def add(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def lose(self, file: str, code: str, message: str) -> bool:
        """False if this file was lost before."""
        file = file.encode(errors="replace").decode()
        if file in self.losses:
            return False
        self.loss_count += 1
        if len(self.losses) < LOSSES_KEPT:
            self.losses[file] = (code, message[:_LONGEST_MESSAGE].encode(errors="replace").decode())
        return True

    def to_json(self) -> str:
        return _encode(self).decode()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(LoadReport).decode


def field_of(step: str) -> bytes:
    """The field of a step's report in the progress hash; "" is the load as a whole."""
    return _PREFIX + step.encode()


def read_reports(progress: Mapping[bytes, bytes], *, without: Iterable[bytes] = ()) -> LoadReport:
    """All steps' reports in one."""
    whole = LoadReport()
    left_out = set(without)
    for name, value in sorted(progress.items()):
        if name.startswith(_PREFIX) and name not in left_out:
            merge(whole, _decode(value))
    return whole


def merge(whole: LoadReport, report: LoadReport) -> None:
    whole.add(report.counts)
    whole.said |= report.said
    known = sum(file in whole.losses for file in report.losses)
    for file, loss in report.losses.items():
        if len(whole.losses) < LOSSES_KEPT:
            whole.losses.setdefault(file, loss)
    whole.loss_count += report.loss_count - known
