"""`runtime_env_info` of task rows, and what of it a browser may not see. Few runtime environments come in very many tasks."""

from __future__ import annotations

from json.encoder import encode_basestring as quote
from typing import Any

import msgspec

from shared.ray.redaction import redact_serialized_runtime_env
from workers.bad_data import BAD_DATA

_DEFAULT_CONFIG = {"setup_timeout_seconds": 600, "eager_install": True, "log_files": []}
_KEPT = 10_000


class RuntimeEnvs:
    """Of one range. `redactions` maps JSON text that holds secrets to the text that a browser may see."""

    def __init__(self) -> None:
        self.redactions: dict[str, str] = {}
        self._known: dict[tuple[str, bool], str] = {}

    def __call__(self, serialized: str, driver: bool) -> str:
        """JSON of a `runtime_env_info`; live gives a config to all but drivers."""
        known = self._known.get((serialized, driver))
        if known is None:
            text = f'"serialized_runtime_env":{quote(serialized)}'
            shown = f'"serialized_runtime_env":{quote(redact_serialized_runtime_env(serialized) or "")}'
            if shown != text and "env_vars" in serialized:
                self.redactions[text] = shown
            text += _uris(serialized)
            known = f"{{{text}}}" if driver else f'{{{text},"runtime_env_config":{_config(serialized)}}}'
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[serialized, driver] = known
        return known


def _uris(serialized: str) -> str:
    """Of what is fetched for it (proto `RuntimeEnvUris`); live gives them only where there are any."""
    if '"working_dir"' not in serialized and '"py_modules"' not in serialized:
        return ""
    try:
        env = msgspec.json.decode(serialized)
        working_dir, py_modules = env.get("working_dir") or "", env.get("py_modules") or []
        uris = msgspec.json.encode({"working_dir_uri": working_dir, "py_modules_uris": py_modules}).decode()
    except BAD_DATA:
        return ""
    return f',"uris":{uris}' if working_dir or py_modules else ""


def _config(serialized: str) -> str:
    """The runtime env's own config over Ray's defaults (`RuntimeEnvConfig`)."""
    config: Any = None
    if '"config"' in serialized:
        try:
            config = msgspec.json.decode(serialized)["config"]
            return msgspec.json.encode({**_DEFAULT_CONFIG, **config}).decode()
        except BAD_DATA:
            pass
    return msgspec.json.encode(_DEFAULT_CONFIG).decode()
