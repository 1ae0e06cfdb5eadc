"""Every Redis key, by name. Those of one session share a hash tag, so that Redis Cluster keeps them in one slot."""

from __future__ import annotations

from shared.snapshots.format import FORMAT

PREFIX = "rhs"
# Eviction index: last use (ms) and bytes of every `member`. They have no TTL: they are what expired snapshots are found by.
INDEX = f"{PREFIX}:index"
SIZES = f"{PREFIX}:sizes"


def of_session(session_key: str) -> str:
    """What all keys of a session begin with. Another format is another set of keys: versions side by side don't read each other's."""
    return f"{PREFIX}:{{{session_key}}}:v{FORMAT}:"


def claim(session_key: str) -> str:
    return of_session(session_key) + "claim"


def status(session_key: str) -> str:
    return of_session(session_key) + "status"


def attempts(session_key: str) -> str:
    return of_session(session_key) + "attempts"


def loaded(session_key: str) -> str:
    return of_session(session_key) + "loaded"


def snapshot(session_key: str, generation: str) -> str:
    return f"{of_session(session_key)}g:{generation}"


def progress(session_key: str, generation: str) -> str:
    return f"{of_session(session_key)}p:{generation}"


def work(session_key: str, generation: str) -> str:
    """Intermediate records of a parallel load."""
    return f"{of_session(session_key)}w:{generation}"


def member(session_key: str, generation: str) -> str:
    """A generation in the eviction index."""
    return f"{session_key}|{generation}"


def split_member(text: str) -> tuple[str, str]:
    session_key, _, generation = text.rpartition("|")
    return session_key, generation
