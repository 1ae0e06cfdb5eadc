"""Archives of stored files: each file once and whole, and what could not be so is named; an outage is no archive."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard

from api.export import archive
from cli.export import missing_files
from cli.output import Failed
from shared.catalogue import Catalogue
from shared.errors import ObjectNotFound, StorageUnavailable
from shared.layout import session_prefix
from shared.sessions import Session
from shared.storage.local import LocalStorage
from shared.storage.port import ObjectInfo
from tests.in_process import SESSION, InProcess, add_session, in_process

REF = f"team-a/raycluster/seen/{SESSION}"
STORED = Session("team-a", "seen", SESSION)
BELOW = session_prefix(STORED)
FILES = {
    "node-1/logs/raylet.out": b"raylet\n" * 100,
    "node-1/logs/events/event_JOBS.log": b"{}\n",
    "node-1/logs/empty.log": b"",
    "node-1/node_events/node-1-2026-11-23-19": b'{"a": 1}\n',
    "node-2/logs/old/worker-ü.out": b"x" * 3000,
}


def _unpacked(content: bytes) -> tuple[dict[str, bytes], Any]:
    """The files, and the manifest."""
    with tarfile.open(fileobj=zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)), mode="r|") as members:
        found = {member.name: members.extractfile(member).read() for member in members}
    assert list(found)[-1] == "MANIFEST.json"
    return found, json.loads(found.pop("MANIFEST.json"))


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    bucket = tmp_path / "bucket"
    add_session(bucket, "team-a", "seen")
    for key, content in FILES.items():
        file = bucket / BELOW / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return bucket


@pytest.fixture
async def server(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InProcess]:
    async with in_process(bucket, monkeypatch, exports=1) as running:
        yield running


async def _get(server: InProcess, what: str, **headers: str) -> httpx.Response:
    return await server.client.get(f"/sessions/{REF}/export", params={"what": what}, headers=headers)


async def test_every_stored_file_of_a_session_that_is_not_loaded(server: InProcess) -> None:
    raw = await _get(server, "raw")
    assert (raw.status_code, raw.headers["content-type"]) == (200, "application/zstd")
    assert raw.headers["content-disposition"] == f'attachment; filename="seen-{SESSION}-raw.tar.zst"'
    files, manifest = _unpacked(raw.content)
    marker = f"cluster-metadata/raycluster/team-a_seen/{SESSION}"
    assert files == {marker: b"", **{BELOW + key: content for key, content in FILES.items()}}
    assert manifest == {"session": REF, "what": "raw", "files": 5, "bytes": sum(map(len, FILES.values())), "losses": []}
    logs, manifest = _unpacked((await _get(server, "logs")).content)
    assert logs == {BELOW + key: content for key, content in FILES.items() if "/logs/" in key}
    assert manifest["files"] == 4
    assert server.queue.sent == []


async def test_an_unpacked_archive_is_a_storage(server: InProcess, tmp_path: Path) -> None:
    content = (await _get(server, "raw")).content
    with tarfile.open(fileobj=zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)), mode="r|") as members:
        members.extractall(tmp_path / "unpacked", filter="data")
    found = Catalogue(LocalStorage(tmp_path / "unpacked"), 0).sessions()
    assert [str(session.ref) for session in found] == [REF]


async def test_browsers_get_logs_but_no_event_files(server: InProcess) -> None:
    refused = await _get(server, "raw", **{"sec-fetch-mode": "navigate"})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await _get(server, "logs", **{"sec-fetch-mode": "navigate"})).status_code == 200


async def test_what_cannot_be_listed_is_no_archive(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_prefix: str) -> Iterator[ObjectInfo]:
        raise StorageUnavailable("storage is away")
        yield

    monkeypatch.setattr(server.app.state.storage, "list", away)
    answer = await _get(server, "raw")
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    monkeypatch.undo()
    assert (await _get(server, "raw")).status_code == 200, "the failed one counts no more"


async def test_only_so_many_at_once(server: InProcess) -> None:
    server.app.state.limits.begin_export()
    answer = await _get(server, "logs")
    assert (answer.status_code, answer.json()["code"]) == (503, "too_many_streams")
    server.app.state.limits.end_export()
    for _ in range(2):
        assert (await _get(server, "logs")).status_code == 200
    assert (await server.client.head(f"/sessions/{REF}/export", params={"what": "logs"})).content == b""
    assert (await _get(server, "logs")).status_code == 200


class _Changing:
    """A storage whose files are not what its listing says: `contents` holds what a read gives."""

    def __init__(self, listed: dict[str, int], contents: dict[str, list[bytes | Exception]]) -> None:
        self._listed = listed
        self._contents = contents

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        yield from (ObjectInfo(prefix + key, size) for key, size in self._listed.items())
        yield ObjectInfo(prefix + "closed/", 0, unreadable="permission denied")

    def stream(self, key: str) -> Iterator[bytes]:
        for piece in self._contents[key.removeprefix(BELOW)]:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def read_many(self, objects: Iterable[ObjectInfo]) -> Iterator[tuple[ObjectInfo, Any]]:
        for info in objects:
            try:
                yield info, b"".join(self.stream(info.key))
            except (ObjectNotFound, StorageUnavailable) as exc:
                yield info, exc


def _archived(listed: dict[str, int], contents: dict[str, list[bytes | Exception]]) -> bytes:
    storage: Any = _Changing(listed, contents)
    return b"".join(archive.archive(storage, STORED, "raw"))


def test_files_that_change_meanwhile_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_LARGE", 10)
    monkeypatch.setattr(archive, "_ZEROS", bytes(7))
    gone, away = ObjectNotFound("gone"), StorageUnavailable("away")
    listed = {"a": 3, "grown": 20, "shrunk": 40, "cut": 30, "gone": 50, "small-gone": 1, "../evil": 1, "whole": 20}
    contents: dict[str, list[bytes | Exception]] = {
        "a": [b"abc"], "grown": [b"g" * 15, b"g" * 15], "shrunk": [b"s" * 11], "cut": [b"c" * 12, away],
        "gone": [gone], "small-gone": [gone], "whole": [b"w" * 12, b"w" * 8],
    }  # fmt: skip
    files, manifest = _unpacked(_archived(listed, contents))
    files = {name.removeprefix(BELOW): content for name, content in files.items() if name.startswith(BELOW)}
    assert files == {
        "a": b"abc", "grown": b"g" * 20, "shrunk": b"s" * 11 + bytes(29), "cut": b"c" * 12 + bytes(18), "whole": b"w" * 20,
    }  # fmt: skip
    losses = {loss["file"].removeprefix(BELOW): loss["code"] for loss in manifest["losses"]}
    assert losses == {
        "grown": "file_changed", "shrunk": "file_changed", "cut": "storage_unavailable", "gone": "object_not_found",
        "small-gone": "object_not_found", "../evil": "invalid_name", "closed/": "storage_unavailable",
    }  # fmt: skip
    assert manifest["files"] == 5


def test_an_outage_ends_the_archive() -> None:
    away = StorageUnavailable("away")
    contents: dict[str, list[bytes | Exception]] = {name: [away] for name in "abc"}
    with pytest.raises(StorageUnavailable):
        _archived(dict.fromkeys("abc", 1), contents)
    files, manifest = _unpacked(_archived(dict.fromkeys("abcd", 1), {"a": [away], "b": [away], "c": [b"c"], "d": [away]}))
    assert (files[BELOW + "c"], len(manifest["losses"])) == (b"c", 4)


def test_the_command_reads_what_is_missing(tmp_path: Path) -> None:
    whole = _archived({"a": 1, "b": 1}, {"a": [b"a"], "b": [ObjectNotFound("not there")]})
    file = tmp_path / "x.tar.zst"
    file.write_bytes(whole)
    assert missing_files(file) == [f"{BELOW}b: not there", f"{BELOW}closed/: permission denied"]
    for damaged in (whole[: len(whole) // 2], b"no archive", zstandard.compress(bytes(1024))):
        file.write_bytes(damaged)
        with pytest.raises(Failed):
            missing_files(file)
