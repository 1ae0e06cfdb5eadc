"""The packed recorded sessions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conformance.sessions import OLDER
from tests.data.recorded import pack, unpack, unpack_older


def test_the_same_files_give_the_same_archive(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    names = ["bucket/b.jsonl", "bucket/a.jsonl", "live/index.json"]
    for folder, order in ((first, names), (second, names[::-1])):
        for age, name in enumerate(order):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name * 100)
            os.utime(folder / name, (age, age))
    assert pack(first, tmp_path / "a.tar.xz") == pack(second, tmp_path / "b.tar.xz")
    assert (tmp_path / "a.tar.xz").read_bytes() == (tmp_path / "b.tar.xz").read_bytes()
    assert {path.name for path in unpack(tmp_path / "again", packed=tmp_path / "a.tar.xz").rglob("*.json*")} == {
        "a.jsonl",
        "b.jsonl",
        "index.json",
    }


def test_the_archive_holds_four_sessions(tmp_path: Path) -> None:
    bucket = unpack(tmp_path) / "bucket"
    markers = [path.relative_to(bucket / "cluster-metadata").as_posix() for path in (bucket / "cluster-metadata").rglob("session_*")]
    assert sorted(markers) == [
        "raycluster/default_raycap/session_2026-11-23_19-00-40_785172_1",
        "raycluster/default_raycap/session_2026-11-23_19-05-06_598956_1",
        "raycluster/default_raycap/session_2026-11-23_19-07-13_553337_1",
        "rayjob/batch_rj-demo_rj-demo-x7k2p/session_2026-11-23_19-08-07_927634_1",
    ]
    assert len(list((tmp_path / "live").rglob("index.json"))) == 4


@pytest.mark.parametrize("version", OLDER)
def test_the_archives_of_older_ray_hold_their_sessions(tmp_path: Path, version: str) -> None:
    folder = unpack_older(tmp_path / "older", version)
    for cluster, ref in OLDER[version].values():
        assert (folder / "live" / cluster / ref.session / "index.json").is_file()
        assert list((folder / "bucket" / "cluster-metadata" / ref.kind).rglob(ref.session))
