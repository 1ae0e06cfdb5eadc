"""Addresses of object stores: which are well formed, and which store the settings and the environment mean."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from shared.errors import SettingsError
from shared.settings import StorageSettings

_ENDPOINT = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?:/[\w./~-]*)?")


def check_endpoint(url: str, name: str) -> None:
    """Raises SettingsError, naming the variable, unless `url` is empty or an address that HTTP clients take."""
    if url and not _ENDPOINT.fullmatch(url):
        # Not repeated: it may hold a password.
        raise SettingsError(f"{name}: must be a URL like https://host[:port][/path], without user or query")


def place_of(settings: StorageSettings) -> str:
    """Storage URL and endpoint. The endpoint is looked for where the store's own client looks (`cloud_stores.py`, boto3).

    An endpoint in a profile of AWS' configuration file is not seen.
    """
    url = settings.storage.rstrip("/")
    endpoint = settings.storage_endpoint or _endpoint(urlsplit(url).scheme, settings)
    return f"{url}|{endpoint.rstrip('/')}"


def _azure(settings: StorageSettings) -> str:
    """A container's name is unique only in its account."""
    by_identity = os.environ.get("AZURE_STORAGE_AUTH_MODE", "").strip().lower() in ("workload_identity", "default")
    given = "" if by_identity else os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    text = settings.storage_connection_string.get_secret_value() or given
    pairs = (part.strip().partition("=") for part in text.split(";"))
    fields = {name.lower(): value for name, _, value in pairs}
    endpoint = fields.get("blobendpoint") or os.environ.get("AZURE_STORAGE_ACCOUNT_URL", "")
    account = fields.get("accountname") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    suffix = fields.get("endpointsuffix", "core.windows.net")
    return endpoint or (f"https://{account}.blob.{suffix}" if account else "")


def _endpoint(scheme: str, settings: StorageSettings) -> str:
    if scheme == "s3":
        return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    if scheme == "gs":
        return os.environ.get("STORAGE_EMULATOR_HOST", "")
    return _azure(settings) if scheme == "az" else ""
