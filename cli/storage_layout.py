"""What to tell somebody whose storage holds no session: what was looked for, what is there, and on which level it may be."""

from __future__ import annotations

from itertools import islice

from shared.catalogue import Catalogue
from shared.layout import HISTORY_PREFIX, METADATA_PREFIX
from shared.settings import StorageSettings
from shared.storage.factory import open_storage
from shared.storage.port import Storage

_LOOKED_AT = 1000
_SHOWN = 5
_LEVELS = (METADATA_PREFIX.rstrip("/"), HISTORY_PREFIX.rstrip("/"))


def check_storage(settings: StorageSettings) -> str:
    """Empty when sessions are found, else one line that says what was found instead. Raises SettingsError, StorageUnavailable."""
    storage = open_storage(settings)
    try:
        storage.check()
        return "" if Catalogue(storage, 0).sessions() else describe(storage, settings.storage)
    finally:
        storage.close()


def describe(storage: Storage, url: str) -> str:
    """The line."""
    keys = [found.key for found in islice(storage.list(""), _LOOKED_AT)]
    there = list(dict.fromkeys(key.split("/", 1)[0] + "/" if "/" in key else key for key in keys))
    shown = ", ".join(there[:_SHOWN]) + (", ..." if len(there) > _SHOWN else "")
    looked_for = f"{METADATA_PREFIX}{{kind}}/{{namespace}}_{{name}}/{{session}}"
    hint = _other_level(keys, url.rstrip("/"))
    said = f"no sessions in {url}: looked for {looked_for}; found {shown or 'nothing at all'}"
    return f"{said}. Did you mean --storage {hint}?" if hint else said


def _other_level(keys: list[str], url: str) -> str:
    """The URL of the level that has the collector's directories, above or below the given one; "" if none is seen."""
    parts = url.split("/")
    for level in _LEVELS:
        if level in parts[3:]:
            return "/".join(parts[: parts.index(level, 3)])
    for key in keys:
        path = key.split("/")
        for level in _LEVELS:
            if level in path[1:]:
                return "/".join([url, *path[: path.index(level)]])
    return ""
