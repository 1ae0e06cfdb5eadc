"""What `up` refuses before it starts anything."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from cli import preflight
from cli.embedded_server import free_port
from cli.output import Failed
from cli.storage_layout import check_storage
from shared.settings import StorageSettings


def test_a_path_is_a_storage_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert preflight.storage_url("a b") == f"file://{tmp_path}/a%20b"
    assert preflight.storage_url("s3://bucket/root") == "s3://bucket/root"
    assert preflight.storage_url("") == ""


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Failed, match=f"^port {port} on 127.0.0.1 is in use"):
            preflight.check_port("127.0.0.1", port)


def test_port_0_is_a_free_one() -> None:
    port = preflight.check_port("127.0.0.1", 0)
    assert preflight.check_port("127.0.0.1", port) == port


def test_free_ports_are_different_and_free(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = [free_port() for _ in range(200)]
    assert len(set(ports)) == len(ports)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))
        monkeypatch.setattr("cli.embedded_server._candidates", iter(ports[:2]))
        assert free_port() == ports[1]


def test_a_host_that_is_not_ours_is_refused() -> None:
    with pytest.raises(Failed, match=r"^cannot listen on 192.0.2.1 port 0: "):
        preflight.check_port("192.0.2.1", 0)


def test_builds_may_come_later_but_only_into_a_directory(tmp_path: Path) -> None:
    preflight.check_dashboard(tmp_path)
    with pytest.raises(Failed, match=r"/none is no directory"):
        preflight.check_dashboard(tmp_path / "none")


def test_a_data_directory_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(Failed, match=r"^cannot write to the data directory .*file/data: Not a directory"),
        preflight.data_directory(tmp_path / "file" / "data"),
    ):
        pass


def test_a_data_directory_serves_one_at_a_time(tmp_path: Path) -> None:
    in_use = re.escape(f"the data directory {tmp_path} is in use")
    with preflight.data_directory(tmp_path), pytest.raises(Failed, match=in_use), preflight.data_directory(tmp_path):
        pass
    with preflight.data_directory(tmp_path) as again:
        assert again == tmp_path


def test_data_of_another_storage_is_dropped(tmp_path: Path) -> None:
    kept = preflight.keep_for(tmp_path / "redis", "one")
    (kept / "deep").mkdir()
    (kept / "deep" / "file").touch()
    assert (preflight.keep_for(kept, "one") / "deep" / "file").exists()
    assert sorted(path.name for path in preflight.keep_for(kept, "two").iterdir()) == ["made-for"]


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("bucket", ""),
        ("", "/bucket?"),
        ("bucket/cluster-metadata", "/bucket?"),
        ("bucket/cluster-history/raycluster/ns", "/bucket?"),
        ("other", ""),
    ],
)
def test_a_storage_on_the_wrong_level_is_told(tmp_path: Path, given: str, hint: str) -> None:
    session = "session_2026-11-23_19-00-40_785172_1"
    for key in (f"cluster-metadata/raycluster/ns_c/{session}", f"cluster-history/raycluster/ns/c/{session}/n/node_events/e"):
        file = tmp_path / "bucket" / key
        file.parent.mkdir(parents=True)
        file.write_text("{}")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("x")
    url = (tmp_path / given).as_uri()
    said = check_storage(StorageSettings(storage=url))
    if given == "bucket":
        assert said == ""
        return
    assert said.startswith(f"no sessions in {url}: looked for cluster-metadata/")
    assert said.endswith(f"Did you mean --storage {tmp_path.as_uri()}{hint}" if hint else "found notes.txt")
