"""What an archive of a session's files lacks: its last member says so."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import zstandard

from cli.errors import Failed

_MANIFEST = "MANIFEST.json"


def missing_files(archive: Path) -> list[str]:
    """A line for each file that is not in a `.tar.zst`, or not as it should be. Raises Failed: it is no whole archive."""
    try:
        with (
            archive.open("rb") as packed,
            zstandard.ZstdDecompressor().stream_reader(packed) as stream,
            tarfile.open(fileobj=stream, mode="r|") as members,
        ):
            for member in members:
                if member.name == _MANIFEST and (content := members.extractfile(member)):
                    return [f"{loss['file']}: {loss['message']}" for loss in json.load(content)["losses"]]
    except (OSError, tarfile.TarError, zstandard.ZstdError, ValueError) as exc:
        raise Failed(f"{archive}: {exc}") from exc
    raise Failed(f"{archive}: no whole archive, it has no {_MANIFEST}")
