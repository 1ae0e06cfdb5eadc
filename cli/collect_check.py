"""`ray-history collect --check`: what is missing on this node, and why nothing arrives. Each finding is one line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from collector.ray_env import ADDRESS, ENABLE, ENABLE_WORKERS, TYPES, knows_all, parse_version
from collector.ray_node import RayNode
from shared.errors import HistoryError
from shared.settings import CollectSettings, Settings
from shared.storage.factory import open_writer

_TIMEOUT = 5.0
_LATE = 300.0
_TRUE = ("1", "true")


class Finding(NamedTuple):
    """`ok` or not, and in one line what was found and what to do."""

    ok: bool
    text: str


def check_node(settings: Settings) -> int:
    """Print all findings. The exit code: 0 when nothing is missing."""
    findings = list(_findings(settings))
    for finding in findings:
        print(f"{'ok     ' if finding.ok else 'MISSING'}  {finding.text}")
    return 0 if all(finding.ok for finding in findings) else 1


def _findings(settings: Settings) -> Iterator[Finding]:
    status = _status(settings.collect)
    # On the machine of `up --collect` only the collector knows it.
    if settings.storage.storage or status is None:
        yield _storage(settings)
    yield from _collector(settings.collect, status)
    yield from _ray(settings.collect, status)


def _storage(settings: Settings) -> Finding:
    try:
        writer = open_writer(settings.storage)
        try:
            writer.check()
        finally:
            writer.close()
    except HistoryError as exc:
        return Finding(False, f"the storage cannot be written: {exc}")
    return Finding(True, f"{settings.storage.storage} can be written")


def _status(settings: CollectSettings) -> dict[str, Any] | None:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.collect_host, settings.collect_host)
    try:
        with httpx.Client(timeout=_TIMEOUT, trust_env=False) as client:
            answer = client.get(f"http://{host}:{settings.collect_port}/status").raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return None
    return answer if isinstance(answer, dict) and "buffered_bytes" in answer else None


def _collector(settings: CollectSettings, status: dict[str, Any] | None) -> Iterator[Finding]:
    where = f"port {settings.collect_port}"
    if status is None:
        yield Finding(False, f"no collector answers on {where}: start `ray-history collect` (its --port, if another one was given)")
        return
    yield Finding(True, f"a collector answers on {where}; it writes to {status['storage']} as {status['cluster']}")
    if problem := status["upload_problem"]:
        waiting = status["buffered_bytes"] >> 10
        yield Finding(False, f"it cannot upload, and keeps {waiting} KiB of events on disk meanwhile: {problem}")
    for reason, count in status["refused"].items():
        yield Finding(False, f"it refused {count} batches since it started: {reason}")


def _ray(settings: CollectSettings, status: dict[str, Any] | None) -> Iterator[Finding]:
    node = RayNode(Path(settings.collect_ray_dir))
    session = node.session()
    if session is None:
        yield Finding(False, f"no Ray session in {settings.collect_ray_dir}: start Ray, or give its --temp-dir as --ray-dir")
        return
    if not node.runs(session):
        yield Finding(False, f"Ray does not run: no raylet of {session} answers")
        return
    yield Finding(True, f"Ray runs {session} as a {'head' if node.is_head(session) else 'worker'}")
    if node.gcs_gave_up(session):
        yield Finding(False, "the GCS exports no nodes, actors and jobs: it found no agent when it started, on a slow node; restart Ray")
    environment = _environment_of_ray(session)
    if environment is None:
        yield Finding(True, "Ray's environment cannot be read from here (another container?); `ray-history ray-env` says what it needs")
    else:
        yield from _environment(environment, settings, node.is_head(session))
    if status is not None:
        yield _arrivals(status)


def _environment_of_ray(session: str) -> dict[str, str] | None:
    """Of the raylet of that session: the processes of the node inherit it (Linux)."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes()
            if b"raylet" not in command.split(b"\0", 1)[0] or session.encode() not in command:
                continue
            pairs = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        return {
            name.decode(errors="replace"): value.decode(errors="replace") for name, _, value in (pair.partition(b"=") for pair in pairs)
        }
    return None


def _environment(environment: dict[str, str], settings: CollectSettings, head: bool) -> Iterator[Finding]:
    wrong = [f"{name} is not true" for name in (ENABLE, ENABLE_WORKERS) if environment.get(name, "").lower() not in _TRUE]
    address = environment.get(ADDRESS, "")
    if not address:
        wrong.append(f"{ADDRESS} is not set")
    elif f":{settings.collect_port}/v1/events" not in address:
        wrong.append(f"{ADDRESS} is {address}, which is not the collector's port {settings.collect_port} and path /v1/events")
    version = _ray_version(settings) if head else None
    types = environment.get(TYPES, "")
    if types.strip().upper() == "ALL" and version and not knows_all(parse_version(version)):
        wrong.append(f"{TYPES}=ALL is not understood by Ray {version}: nothing is sent; list the types")
    elif not types:
        wrong.append(f"{TYPES} is not set: profile events will be missing")
    if wrong:
        yield Finding(False, f"Ray was started without the right environment ({'; '.join(wrong)}): `ray-history ray-env`, then restart Ray")
    else:
        yield Finding(True, "Ray was started with the right environment")


def _ray_version(settings: CollectSettings) -> str:
    try:
        with httpx.Client(timeout=_TIMEOUT, trust_env=False) as client:
            return str(client.get(f"{settings.collect_dashboard}/api/version").json().get("ray_version", ""))
    except (httpx.HTTPError, ValueError, AttributeError):
        return ""


def _arrivals(status: dict[str, Any]) -> Finding:
    if status["events"]:
        return Finding(True, f"{status['events']} events have arrived, and {status['uploaded_files']} files of them are uploaded")
    waited = time.time() - status["began"]
    return Finding(waited < _LATE, f"no event has arrived for {waited:.0f} s, since the collector started; Ray sends some as it starts")
