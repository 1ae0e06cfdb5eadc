"""What HTTP itself promises: entity tags, encodings, HEAD, 304; server-sent events; health."""

from __future__ import annotations

import gzip
import json
import re
from threading import Thread
from typing import Any

import httpx
import pytest
import zstandard

from tests.gated_bucket import GatedBucket
from tests.integration.conftest import RICH, SMALL, Running
from tests.waiting import wait_until

TASKS = "api/v0/tasks?detail=1&limit=10000&exclude_driver=false"


@pytest.fixture(scope="module")
def ref(running: Running, bucket: GatedBucket) -> str:
    stored = bucket.add("over-http", RICH)
    running.api.load(stored)
    return stored


@pytest.fixture
def base(running: Running, ref: str) -> str:
    return f"{running.api.url}/sessions/{ref}/dashboard/"


def _raw(url: str, **headers: str) -> httpx.Response:
    """The body as it was sent."""
    with httpx.stream("GET", url, headers={"accept-encoding": "identity", **headers}, trust_env=False, timeout=30) as answer:
        answer._content = b"".join(answer.iter_raw())
        return answer


@pytest.mark.parametrize("path", [TASKS, "api/v0/tasks/timeline", "api/v0/tasks/summarize", "events", "nodes?view=summary", "api/jobs/"])
@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("*", "gzip"),
        ("zstd", "zstd"),
        ("gzip, zstd", "zstd"),
        ("gzip, zstd;q=0.5", "gzip"),
        ("gzip;q=0", ""),
        ("br", ""),
        ("gzip;q=x", ""),
    ],
)
def test_bodies_are_packed_as_asked(base: str, path: str, accepted: str, encoding: str) -> None:
    plain = _raw(base + path)
    packed = _raw(base + path, **{"accept-encoding": accepted})
    assert packed.headers.get("content-encoding", "") == encoding
    assert "Accept-Encoding" in packed.headers["vary"]
    unpack = {"gzip": gzip.decompress, "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data), "": bytes}
    assert unpack[encoding](packed.content) == plain.content
    if encoding:
        assert len(packed.content) < len(plain.content) / 2
        assert packed.headers["etag"] != plain.headers["etag"]
    if "content-length" in packed.headers:
        assert int(packed.headers["content-length"]) == len(packed.content)


@pytest.mark.parametrize("path", [TASKS, "api/v0/tasks/timeline", "events", "timezone"])
def test_what_did_not_change_is_304(running: Running, base: str, path: str) -> None:
    first = _raw(base + path)
    tag = first.headers["etag"]
    for asked in (tag, f"W/{tag}", f'"other", {tag}'):
        again = _raw(base + path, **{"if-none-match": asked})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    assert _raw(base + path, **{"if-none-match": '"other"'}).content == first.content
    other = base.replace(running.apis[0].url, running.apis[1].url)
    assert _raw(other + path, **{"if-none-match": tag}).status_code == 304, "replicas give the same tags"


def test_tags_tell_requests_generations_and_viewers_apart(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    running.api.load(ref)
    base = f"{running.api.url}/sessions/{ref}/dashboard/"
    tags = {
        _raw(base + TASKS).headers["etag"],
        _raw(base + TASKS + "&timeout=5").headers["etag"],
        _raw(base + "api/v0/tasks").headers["etag"],
        _raw(base + TASKS, **{"sec-fetch-mode": "cors"}).headers["etag"],
    }
    assert len(tags) == 4
    running.api.client.delete(f"/sessions/{ref}")
    running.api.load(ref)
    assert _raw(base + TASKS).headers["etag"] not in tags
    assert _raw(base + TASKS, **{"if-none-match": ", ".join(tags)}).status_code == 200


def test_errors_are_not_tagged(base: str) -> None:
    for path in ("api/v0/tasks?limit=x", "api/v0/nothing", "api/v0/tasks?filter_keys=state"):
        answer = _raw(base + path)
        assert answer.status_code in (400, 404, 500)
        assert "etag" not in answer.headers


@pytest.mark.parametrize("path", [TASKS, "api/v0/tasks/timeline", "events", "api/v0/nothing"])
def test_head_is_get_without_a_body(base: str, path: str) -> None:
    got, head = _raw(base + path), httpx.head(base + path, headers={"accept-encoding": "identity"}, trust_env=False)
    assert head.status_code == got.status_code
    assert head.content == b""
    assert head.headers.get("etag") == got.headers.get("etag")
    assert head.headers["content-type"] == got.headers["content-type"]


def test_head_of_our_own_routes(running: Running, ref: str) -> None:
    for path in ("/livez", "/readz", "/clusters", "/sessions", f"/sessions/{ref}", f"/enter_cluster/{ref}"):
        assert (running.api.client.head(path).status_code, running.api.client.head(path).content) == (200, b""), path


def test_an_evicted_snapshot_is_loaded_again_within_the_request(running: Running, bucket: GatedBucket, cluster: str) -> None:
    """One process still takes for current what was evicted through the other."""
    ref = bucket.add(cluster, SMALL)
    api, other = running.apis
    api.load(ref)
    expected = other.tasks(ref)
    for number in range(3):
        api.client.delete(f"/sessions/{ref}")
        answer = other.tasks(ref, timeout=100 + number)
        assert answer.status_code == 200
        assert answer.json() == expected.json()


def test_a_request_id_is_kept_and_logged(running: Running) -> None:
    answer = running.api.get("/livez", headers={"X-Request-ID": "given-by-the-proxy.1"})
    assert answer.headers["x-request-id"] == "given-by-the-proxy.1"
    for strange in ("with space", "x" * 65, 'quo"te'):
        assert running.api.get("/livez", headers={"X-Request-ID": strange}).headers["x-request-id"] != strange
    running.api.get("/clusters", headers={"X-Request-ID": "to-be-logged"})
    wait_until(lambda: '"request_id":"to-be-logged"' in running.api.child.said, "the record")


def test_events_tell_of_a_load_until_it_is_final(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    seen: list[dict[str, Any]] = []

    def listen() -> None:
        with httpx.stream("GET", f"{running.api.url}/sessions/{ref}/events", trust_env=False, timeout=30) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            name = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    seen.append({"event": name, **json.loads(line.removeprefix("data: "))})

    with bucket.closed(ref) as gate:
        running.api.get(f"/enter_cluster/{ref}")
        listener = Thread(target=listen)
        listener.start()
        assert gate.reached.wait(10)
        wait_until(lambda: any(record["state"] == "loading" for record in seen), "the load is told of")
    listener.join(20)
    assert not listener.is_alive(), "the stream ends with the load"
    assert {record["event"] for record in seen} == {"status"}
    assert seen[-1]["state"] == "loaded"
    assert all(record["state"] in ("queued", "loading") for record in seen[:-1])
    assert seen[-1]["complete"] is True
    assert seen[-1]["progress"]["files_read"] == 11


def test_events_of_what_is_not_being_loaded_end_at_once(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    answer = running.api.get(f"/sessions/{ref}/events")
    assert answer.text.count("event: status") == 1
    assert '"state":"absent"' in answer.text


def test_the_api_is_documented_without_other_servers(running: Running) -> None:
    page = running.api.get("/docs")
    assert page.status_code == 200
    named = [name for name in re.findall(r'(?:src|href)="([^"]+)"', page.text) if not name.startswith("data:")]
    assert named
    for name in named:
        assert running.api.get(name).status_code == 200, name
    assert "/enter_cluster/{namespace}/{kind}/{name}" in running.api.get("/openapi.json").json()["paths"]


def test_health(running: Running) -> None:
    assert running.api.get("/livez").text == "ok"
    ready = running.api.get("/readz")
    assert (ready.status_code, ready.json()["missing"], ready.json()["checks"]["kubernetes"]) == (200, [], "none")
