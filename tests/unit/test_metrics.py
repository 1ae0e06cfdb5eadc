"""Metrics: declared once, documented, named as they are exported, and added up over processes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from cli.main import run
from shared import metrics_files
from shared.errors import ObjectNotFound, StorageUnavailable
from shared.metrics import DECLARED
from shared.storage.metered import MeteredStorage
from shared.storage.port import ObjectInfo

ROOT = Path(__file__).parents[2]
SOURCES = [path for package in ("api", "cli", "shared", "workers") for path in (ROOT / package).rglob("*.py")]


def test_the_page_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["metrics"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs" / "metrics.md").read_text(), "run `make docs`"


def test_each_is_declared_once_and_says_what_it_is() -> None:
    names = [metric.name for metric in DECLARED]
    assert len(set(names)) == len(names)
    for metric in DECLARED:
        assert re.fullmatch(r"ray_history_[a-z_]+", metric.name)
        assert metric.meaning.endswith(".")
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name


def test_all_that_is_exported_is_declared() -> None:
    declared = {metric.name.removesuffix("_total"): metric for metric in DECLARED if not metric.looked_up}
    exported = {family.name: family for family in REGISTRY.collect() if family.name.startswith("ray_history_")}
    assert exported.keys() == declared.keys()
    for name, family in exported.items():
        assert (family.type, family.documentation) == (declared[name].kind, declared[name].meaning)


def test_each_is_counted_somewhere() -> None:
    """A metric that nothing touches would be a promise that nobody keeps."""
    declarations = ROOT / "shared" / "metrics.py"
    text = declarations.read_text()
    elsewhere = "".join(path.read_text() for path in SOURCES if path != declarations)
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            name = node.targets[0].id
            if name not in ("PREFIX", "DECLARED") and not name.startswith("_"):
                assert name in elsewhere or len(re.findall(rf"\b{name}\b", text)) > 1, name


def test_only_one_module_makes_metrics() -> None:
    for path in SOURCES:
        if path.relative_to(ROOT).as_posix() != "shared/metrics.py":
            assert not re.search(r"prometheus_client import .*(Counter|Histogram|Gauge\b|Summary)", path.read_text()), path


_COUNTING = """
import os, subprocess, sys
from shared.metrics import CACHE_BYTES, EVENTS, QUEUE_WAIT
EVENTS.inc(3); QUEUE_WAIT.observe(0.2); CACHE_BYTES.set(10)
"""
_PAGE = """
from shared.exposition import page
print(page([("ray_history_queue_depth", "Waiting.", 7)])[0].decode())
"""


def test_processes_are_added_up_and_gauges_of_dead_ones_forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    directory = metrics_files.share_between_processes()
    assert directory.parent == tmp_path
    for _ in range(2):
        subprocess.run([sys.executable, "-c", _COUNTING], cwd=ROOT, check=True)
    said = subprocess.run([sys.executable, "-c", _PAGE], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    values = {sample.name: sample.value for family in text_string_to_metric_families(said) for sample in family.samples}
    assert values["ray_history_events_total"] == 6
    assert values["ray_history_queue_wait_seconds_count"] == 2
    assert values["ray_history_queue_depth"] == 7
    assert values.get("ray_history_cache_bytes", 0) == 0, "both processes are gone"
    metrics_files.forget_all()
    assert not directory.exists()


class _Storage:
    """One object that is there, one that is absent, one that cannot be read; a listing that breaks."""

    def read(self, key: str) -> bytes:
        if key == "absent":
            raise ObjectNotFound(key)
        if key == "broken":
            raise StorageUnavailable(key)
        return b"12345"

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        yield ObjectInfo("a", 5)
        if prefix == "broken/":
            raise StorageUnavailable("page 2")

    def read_many(self, objects: Iterator[ObjectInfo]) -> Iterator[tuple[ObjectInfo, object]]:
        for info in objects:
            try:
                yield info, self.read(info.key)
            except (ObjectNotFound, StorageUnavailable) as exc:
                yield info, exc


def _count(operation: str, result: str) -> float:
    labels = {"operation": operation, "result": result}
    return REGISTRY.get_sample_value("ray_history_storage_call_seconds_count", labels) or 0


def test_storage_calls_are_counted_by_result() -> None:
    storage = MeteredStorage(_Storage())  # type: ignore[arg-type]
    before = {(o, r): _count(o, r) for o in ("read", "list", "read_many") for r in ("ok", "absent", "failed")}
    read = REGISTRY.get_sample_value("ray_history_storage_read_bytes_total") or 0
    assert storage.read("a") == b"12345"
    with pytest.raises(ObjectNotFound):
        storage.read("absent")
    with pytest.raises(StorageUnavailable):
        storage.read("broken")
    assert len(list(storage.list(""))) == 1
    with pytest.raises(StorageUnavailable):
        list(storage.list("broken/"))
    next(storage.list("broken/"))
    found = list(storage.read_many(ObjectInfo(key, 5) for key in ("a", "absent", "broken", "b")))
    assert [type(data).__name__ for _, data in found] == ["bytes", "ObjectNotFound", "StorageUnavailable", "bytes"]
    added = {key: _count(*key) - value for key, value in before.items()}
    assert added[("read", "ok")] == added[("read", "absent")] == added[("read", "failed")] == 1
    # The listing that was left after its first entry was no failure.
    assert (added[("list", "ok")], added[("list", "failed")]) == (2, 1)
    assert (added[("read_many", "ok")], added[("read_many", "absent")], added[("read_many", "failed")]) == (2, 1, 1)
    assert (REGISTRY.get_sample_value("ray_history_storage_read_bytes_total") or 0) - read == 15
