"""Opens the store that the settings name."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from shared.errors import SettingsError
from shared.settings import StorageSettings
from shared.storage.address import check_endpoint
from shared.storage.local import LocalStorage
from shared.storage.local_writer import LocalWriter
from shared.storage.port import Storage, StorageWriter

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")
_SCHEMES = "file:///dir, s3://bucket[/root], gs://bucket[/root] or az://container[/root]"


def open_storage(settings: StorageSettings) -> Storage:
    """The adapter for `settings.storage`. Asks nothing of the store yet: that is `check()`. Raises SettingsError for a bad URL."""
    scheme, bucket, root = storage_parts(settings.storage)
    if scheme == "file":
        return LocalStorage(root, read_ahead_bytes=settings.storage_read_ahead)
    check_endpoint(settings.storage_endpoint, "RAY_HISTORY_STORAGE_ENDPOINT")
    # Imported here: a process on a local directory does not pay for the cloud SDKs.
    if scheme == "s3":
        from shared.storage.s3 import S3Storage  # noqa: PLC0415

        return S3Storage(settings, bucket, root)
    from shared.storage.object_store import open_object_store  # noqa: PLC0415

    return open_object_store(settings, scheme, bucket, root)


def import_adapter(settings: StorageSettings) -> None:
    """What `open_storage` imports, without opening anything: for a process that is to be forked. Raises SettingsError for a bad URL."""
    scheme = storage_parts(settings.storage)[0]
    if scheme == "s3":
        import shared.storage.s3  # noqa: PLC0415
    elif scheme != "file":
        import shared.storage.object_store  # noqa: F401, PLC0415


def open_writer(settings: StorageSettings) -> StorageWriter:
    """The write side of the same store. Asks nothing of it yet. Raises SettingsError for a bad URL."""
    scheme, bucket, root = storage_parts(settings.storage)
    if scheme == "file":
        return LocalWriter(root)
    check_endpoint(settings.storage_endpoint, "RAY_HISTORY_STORAGE_ENDPOINT")
    if scheme == "s3":
        from shared.storage.s3 import open_s3_writer  # noqa: PLC0415

        return open_s3_writer(settings, bucket, root)
    from shared.storage.object_store import open_object_store_writer  # noqa: PLC0415

    return open_object_store_writer(settings, scheme, bucket, root)


def storage_parts(url: str) -> tuple[str, str, str]:
    """(scheme, bucket or container, root); the root is a directory for `file`, else a key prefix without outer slashes."""
    if not url:
        raise SettingsError(f"RAY_HISTORY_STORAGE is not set: give {_SCHEMES}")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises for a bad one
    except ValueError as exc:
        raise SettingsError(f"RAY_HISTORY_STORAGE: {url!r} is no URL: {exc}") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        # Not repeated: it may hold a password.
        raise SettingsError(f"RAY_HISTORY_STORAGE: takes no user, query or fragment; give {_SCHEMES}")
    path = unquote(parts.path)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not path.startswith("/"):
            raise SettingsError(f"RAY_HISTORY_STORAGE: {url!r} must have an absolute path: file:///dir")
        return "file", "", path
    if parts.scheme not in ("s3", "gs", "az"):
        raise SettingsError(f"RAY_HISTORY_STORAGE: unknown store {url!r}: give {_SCHEMES}")
    root = path.strip("/")
    if not _BUCKET.fullmatch(parts.netloc):
        raise SettingsError(f"RAY_HISTORY_STORAGE: {url!r} names no bucket: give {_SCHEMES}")
    if any(part in ("", ".", "..") for part in root.split("/")) and root:
        raise SettingsError(f"RAY_HISTORY_STORAGE: {url!r} has an empty or relative part")
    return parts.scheme, parts.netloc, root
