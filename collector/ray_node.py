"""What Ray's directory tells of the Ray node on this machine: its session, its id, its role, and whether it runs.

Works from another container of the pod that shares the directory: no process is looked at, no address needed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import socket
from contextlib import ExitStack
from pathlib import Path

_PORT_FILE = re.compile(r"\w+_port_([0-9a-f]{56})")
_NODE_ID_IN_LOG = re.compile(rb"\bnode[_ ]id[=: ]+([0-9a-f]{56})\b", re.IGNORECASE)
# It tries for half a minute, and then never again (Ray 2.55 to 2.60, `gcs_server.cc`).
_GCS_GAVE_UP = b"Events and metrics will not be exported"
_BEGINNING = 1 << 20
_ANSWERS_WITHIN = 1.0
_LONGEST_ADDRESS = 100


class RayNode:
    """Ray's temporary directory, which may not be there yet."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def session(self) -> str | None:
        """The name of the newest session: where `session_latest` leads."""
        try:
            name = (self._directory / "session_latest").readlink().name
        except OSError:
            return None
        return name if name.startswith("session_") and self.directory(name).is_dir() else None

    def directory(self, session: str) -> Path:
        return self._directory / session

    def temp_dir(self, session: str) -> str:
        """Ray's own name of this directory, which may be mounted elsewhere for us. Empty when only a later session would tell."""
        try:
            latest = (self._directory / "session_latest").readlink()
        except OSError:
            return ""
        return str(latest.parent) if latest.is_absolute() and latest.name == session else ""

    def runs(self, session: str) -> bool:
        """Does a raylet of it answer on its socket? (KubeRay: IsSessionDirActive)"""
        return any(_answers(path) for path in sorted((self.directory(session) / "sockets").glob("raylet*")))

    def node_id(self, session: str) -> str | None:
        """From the names of the files that hold the node's ports; before Ray had those, from the raylet's log."""
        files = [
            (path.stat().st_mtime, match[1]) for path in _listed(self.directory(session)) if (match := _PORT_FILE.fullmatch(path.name))
        ]
        if files:
            return max(files)[1]
        found = _NODE_ID_IN_LOG.search(self._log(session, "raylet.out"))
        return found[1].decode() if found else None

    def is_head(self, session: str) -> bool:
        """Only a head has a GCS."""
        return (self.directory(session) / "logs" / "gcs_server.out").exists()

    def gcs_gave_up(self, session: str) -> bool:
        """Has the GCS found no agent, as its node was too slow? Then it exports nothing: no node, actor or job is in any event."""
        return _GCS_GAVE_UP in self._log(session, "gcs_server.out")

    def _log(self, session: str, name: str) -> bytes:
        """The beginning of a log, as far as it can be read."""
        try:
            with (self.directory(session) / "logs" / name).open("rb") as log:
                return log.read(_BEGINNING)
        except OSError:
            return b""


def made_up_node_id() -> str:
    """For a node that never said its id: of the machine's name, so that it stays the same."""
    return hashlib.sha224(platform.node().encode()).hexdigest()


def _answers(path: Path) -> bool:
    """A socket's address has room for a hundred characters; where the path is longer, its directory is opened first (Linux)."""
    with ExitStack() as stack:
        probe = stack.enter_context(socket.socket(socket.AF_UNIX))
        probe.settimeout(_ANSWERS_WITHIN)
        try:
            address = str(path)
            if len(address) > _LONGEST_ADDRESS:
                directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, directory)
                address = f"/proc/self/fd/{directory}/{path.name}"
            probe.connect(address)
        except OSError:
            return False
        return True


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []
