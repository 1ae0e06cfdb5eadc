"""Clients of Google Cloud Storage and Azure Blob Storage, configured as their own SDKs are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.store import AzureStore, GCSStore

from shared.errors import SettingsError
from shared.settings import StorageSettings
from shared.storage.address import check_endpoint
from shared.storage.obstore_runtime import NO_RETRIES, client_options

if TYPE_CHECKING:
    from obstore.store import AzureConfig, GCSConfig, GCSCredential


def gcs_store(settings: StorageSettings, bucket: str) -> GCSStore:
    """Credentials: GOOGLE_APPLICATION_CREDENTIALS, workload identity, metadata server. STORAGE_EMULATOR_HOST needs none."""
    emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
    endpoint = settings.storage_endpoint or emulator
    if endpoint and "://" not in endpoint:
        endpoint = f"http://{endpoint}"
    check_endpoint(endpoint, "STORAGE_EMULATOR_HOST")
    config: GCSConfig = {}
    if endpoint:
        config["base_url"] = endpoint.rstrip("/")
    options = client_options(settings, urlsplit(endpoint).scheme)
    if endpoint.startswith("http://"):  # an emulator: no token is ever sent in the clear; writes send one all the same
        config["skip_signature"] = True
        return GCSStore(bucket, config=config, client_options=options, retry_config=NO_RETRIES, credential_provider=_no_credential)
    return GCSStore(bucket, config=config, client_options=options, retry_config=NO_RETRIES)


def _no_credential() -> GCSCredential:
    return {"token": "none", "expires_at": None}


def azure_store(settings: StorageSettings, container: str) -> AzureStore:
    """A connection string, or AZURE_STORAGE_ACCOUNT_NAME and _KEY, a SAS token, workload or managed identity. Raises SettingsError."""
    by_identity = os.environ.get("AZURE_STORAGE_AUTH_MODE", "").strip().lower() in ("workload_identity", "default")
    given = "" if by_identity else os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    text = settings.storage_connection_string.get_secret_value() or given
    config = azure_connection(text) if text else {}
    endpoint = settings.storage_endpoint or config.get("endpoint") or os.environ.get("AZURE_STORAGE_ACCOUNT_URL", "")
    if endpoint:
        check_endpoint(endpoint, "the endpoint of the Azure account")
        config["endpoint"] = endpoint.rstrip("/")
        parts = urlsplit(endpoint)
        # https://{account}.blob.core.windows.net, or an emulator's http://host/{account}
        config.setdefault("account_name", parts.path.strip("/") or (parts.hostname or "").partition(".")[0])
    options = client_options(settings, urlsplit(endpoint).scheme)
    return AzureStore(container, config=config, client_options=options, retry_config=NO_RETRIES)


def azure_connection(text: str) -> AzureConfig:
    """`AccountName=..;AccountKey=..;BlobEndpoint=..;SharedAccessSignature=..;EndpointSuffix=..`. Raises SettingsError."""
    fields = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, value = part.partition("=")
        if not equals:
            raise SettingsError("the Azure connection string has a part without '='")  # not shown: it may be the key
        fields[name.lower()] = value
    config: AzureConfig = {}
    if account := fields.get("accountname"):
        config["account_name"] = account
        suffix = fields.get("endpointsuffix", "core.windows.net")
        config["endpoint"] = f"{fields.get('defaultendpointsprotocol', 'https')}://{account}.blob.{suffix}"
    if endpoint := fields.get("blobendpoint"):
        config["endpoint"] = endpoint.rstrip("/")
    if "endpoint" not in config:
        raise SettingsError("the Azure connection string has neither AccountName nor BlobEndpoint")
    if key := fields.get("accountkey"):
        config["account_key"] = key
    if signature := fields.get("sharedaccesssignature"):
        config["sas_key"] = signature.lstrip("?")
    return config
