"""What the collectors of a session's nodes say: what they had to drop makes the session partial."""

from __future__ import annotations

from collections.abc import Sequence

from shared.collector_documents import decode_report
from shared.storage.port import ObjectInfo, Storage
from workers.load_run import LoadRun

_UNREADABLE = "bad_json"


def read_collector_reports(run: LoadRun, storage: Storage, reports: Sequence[ObjectInfo]) -> dict[str, str]:
    """Record every loss that the `reports` name, and each report that cannot be read: it may have named some.

    Returns Ray's temporary directory by node, of those that name theirs.
    """
    temp_dirs: dict[str, str] = {}
    for file, content in storage.read_many(reports):
        if not isinstance(content, bytes):
            run.loss(file.key, content.code, str(content))
            continue
        try:
            report = decode_report(content)
        except ValueError as exc:
            run.loss(file.key, _UNREADABLE, f"no report of a collector: {exc}")
            continue
        if report.temp_dir:
            temp_dirs[report.node] = report.temp_dir
        node = file.key.rpartition("/")[0]
        for loss in report.losses:
            times = f" ({loss.count} times)" if loss.count > 1 else ""
            run.loss(f"{node}/{loss.file or loss.code}", loss.code, f"the collector says: {loss.message}{times}")
        if report.losses_left_out:
            run.loss(file.key, "more_losses", f"the collector counted {report.losses_left_out} more losses")
    return temp_dirs
