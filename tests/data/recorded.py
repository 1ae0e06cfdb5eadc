"""Packs and unpacks `recorded*.tar.xz`: real Ray sessions, as a collector stored them, and the live dashboard's answers.

    python tests/data/recorded.py unpack DIR [--only bucket]
    python tests/data/recorded.py pack DIR

Only the standard library: `make demo` runs it before anything is installed.
"""

from __future__ import annotations

import argparse
import io
import lzma
import sys
import tarfile
from pathlib import Path

ARCHIVE = Path(__file__).with_name("recorded.tar.xz")
# Sessions of older versions of Ray, below one folder each.
OLDER = {version: Path(__file__).with_name(f"recorded-{version}.tar.xz") for version in ("2.55", "2.54")}
# Tuned for JSON text: the dictionary holds the whole archive, so repeated ids are found wherever they stand.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 64 << 20, "lc": 4, "lp": 0, "pb": 0}]


def unpack(target: Path, only: str | None = None, packed: Path = ARCHIVE) -> Path:
    """Write the archive's files (those below the top folder `only`) below `target`; returns `target`."""
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(packed, "r:xz") as archive:
        members = [m for m in archive if only is None or m.name.split("/", 1)[0] == only]
        if hasattr(tarfile, "data_filter"):
            archive.extractall(target, members, filter="data")
        else:  # 3.11 before 3.11.4 has no filters; the archive is our own
            archive.extractall(target, members)
    return target


def unpack_older(target: Path, version: str) -> Path:
    """The sessions of an older Ray; returns the folder with `bucket` and `live`."""
    unpack(target, packed=OLDER[version])
    (folder,) = target.iterdir()
    return folder


def pack(source: Path, archive: Path = ARCHIVE) -> int:
    """Pack every file below `source`; the same files give the same bytes. Returns the archive's size in bytes."""
    files = sorted((p for p in source.rglob("*") if p.is_file()), key=lambda p: (p.relative_to(source).parts[0], p.suffix, p.name, str(p)))
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for file in files:
            entry = tarfile.TarInfo(file.relative_to(source).as_posix())
            entry.size = file.stat().st_size
            with file.open("rb") as content:
                tar.addfile(entry, content)
    packed = lzma.compress(raw.getvalue(), filters=_FILTERS)
    archive.write_bytes(packed)
    return len(packed)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["pack", "unpack"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--only", choices=["bucket", "live"], help="unpack only this top folder")
    given = parser.parse_args(arguments)
    if given.action == "pack":
        print(f"{ARCHIVE}: {pack(given.directory)} bytes")
    else:
        unpack(given.directory, given.only)


if __name__ == "__main__":
    main(sys.argv[1:])
