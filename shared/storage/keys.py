"""What a key may look like, the same for every store: some of them read a key as a path and would walk out of the root."""

from __future__ import annotations


def is_key(key: str) -> bool:
    """Parts separated by single `/`, none of them `.` or `..`."""
    return "\0" not in key and not any(part in ("", ".", "..") for part in key.split("/"))


def is_prefix(prefix: str) -> bool:
    """Empty, or a key and a `/`. Raises ValueError where the `/` is missing: the caller would list its neighbours, too."""
    if prefix and not prefix.endswith("/"):
        raise ValueError(f"prefix {prefix!r} must end in '/'")
    return not prefix or is_key(prefix[:-1])
