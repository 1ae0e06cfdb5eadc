"""One recorded session, written anew in the layout of each KubeRay that has written buckets."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from shared.layout import data_prefixes
from shared.sessions import Session

Write = Callable[[str, bytes], None]


def write_layouts(bucket: Path, session: Session, target: Path) -> dict[str, str]:
    """The session as every KubeRay would have stored it, each in a namespace of its own: references by layout."""

    def write(key: str, content: bytes) -> None:
        (target / key).parent.mkdir(parents=True, exist_ok=True)
        (target / key).write_bytes(content)

    name, cluster = session.session, session.cluster
    today, old = list(_files(bucket, session)), [(_old_key(key), content) for key, content in _files(bucket, session)]
    write(f"cluster-metadata/raycluster/today_{cluster}/{name}", b"")
    _write_below(write, f"cluster-history/raycluster/today/{cluster}/{name}/", today)
    _write_below(write, f"cluster-history/raycluster/bare/{cluster}/{name}/", today)
    write(f"cluster-metadata/raycluster/july_{cluster}/{name}", b"")
    _write_below(write, f"{cluster}_july/{name}/", old)
    write(f"metadir/{cluster}_v16/{name}", b"")
    _write_below(write, f"{cluster}_v16/{name}/", [(key, _as_array(key, content)) for key, content in old])
    _write_below(write, f"{cluster}_oldbare/{name}/", old)
    write(f"cluster-metadata/rayjob/whole_owner_{cluster}/{name}", b"")
    _write_below(write, f"cluster-history/rayjob/whole/owner/{cluster}/{name}/", today)
    half = len(today) // 2
    write(f"cluster-metadata/raycluster/halves_{cluster}/{name}", b"")
    write(f"cluster-metadata/rayjob/halves_owner_{cluster}/{name}", b"")
    _write_below(write, f"cluster-history/raycluster/halves/{cluster}/{name}/", today[:half])
    _write_below(write, f"cluster-history/rayjob/halves/owner/{cluster}/{name}/", today[half:])
    refs = {layout: f"{layout}/raycluster/{cluster}/{name}" for layout in ("today", "bare", "july", "v16", "oldbare", "halves")}
    return refs | {"owned": f"halves/rayjob/owner/{name}", "whole": f"whole/rayjob/owner/{name}"}


def _files(bucket: Path, session: Session) -> Iterator[tuple[str, bytes]]:
    (prefix,) = data_prefixes(session)
    for file in sorted((bucket / prefix).rglob("*")):
        if file.is_file():
            yield file.relative_to(bucket / prefix).as_posix(), file.read_bytes()


def _write_below(write: Write, prefix: str, files: list[tuple[str, bytes]]) -> None:
    for key, content in files:
        write(prefix + key, content)


def _old_key(key: str) -> str:
    """Logs by node below one `logs/`; events without directories by node, jobs by their ids in base64."""
    node, _, rest = key.partition("/")
    kind, _, name = rest.partition("/")
    if kind == "logs":
        return f"logs/{node}/{name}"
    if kind == "node_events":
        return rest
    if kind == "job_events":
        job, _, file = name.partition("/")
        return f"job_events/{base64.b64encode(bytes.fromhex(job)).decode().replace('/', '_')}/{file}"
    return key


def _as_array(key: str, content: bytes) -> bytes:
    """Event files were JSON arrays."""
    if "_events/" not in key:
        return content
    lines = (gzip.decompress(content) if key.endswith(".gz") else content).splitlines()
    return json.dumps([json.loads(line) for line in lines]).encode()
