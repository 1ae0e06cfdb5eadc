"""Storage URLs, and how the clouds' own names become settings of their clients."""

from __future__ import annotations

import os

import pytest

from shared.errors import ObjectNotFound, SettingsError, StorageUnavailable
from shared.settings import StorageSettings
from shared.storage.cloud_stores import azure_connection, azure_store
from shared.storage.factory import open_storage, storage_parts
from shared.storage.obstore_runtime import meaning_of


@pytest.fixture(autouse=True)
def no_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "STORAGE_")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("file:///data/x", ("file", "", "/data/x")),
        ("file://localhost/data", ("file", "", "/data")),
        ("file:///with%20space", ("file", "", "/with space")),
        ("s3://bucket", ("s3", "bucket", "")),
        ("s3://bucket/", ("s3", "bucket", "")),
        ("s3://bucket.with.dots/log/deep/", ("s3", "bucket.with.dots", "log/deep")),
        ("gs://under_score/log", ("gs", "under_score", "log")),
        ("az://container", ("az", "container", "")),
    ],
)
def test_urls(url: str, parts: tuple[str, str, str]) -> None:
    assert storage_parts(url) == parts


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/data",
        "data",
        "file://data",
        "file:relative",
        "s3:///x",
        "s3://",
        "s3://bucket:80",
        "s3://buc ket",
        "http://bucket/x",
        "S4://bucket",
        "s3://bucket/a//b",
        "s3://bucket/../x",
        "s3://user:hidden@bucket",
        "s3://bucket?x=hidden",
        "s3://bucket#hidden",
        "s3://[bucket",
    ],
)
def test_bad_urls_name_the_variable_and_hide_secrets(url: str) -> None:
    with pytest.raises(SettingsError, match="RAY_HISTORY_STORAGE") as caught:
        open_storage(StorageSettings(storage=url))
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
@pytest.mark.parametrize(
    "endpoint", ["host:9000", "ftp://host", "http://", "http://a b", "http://user:hidden@host", "http://host?x=hidden"]
)
def test_bad_endpoints_name_the_variable_and_hide_secrets(scheme: str, endpoint: str) -> None:
    with pytest.raises(SettingsError, match="RAY_HISTORY_STORAGE_ENDPOINT") as caught:
        open_storage(StorageSettings(storage=f"{scheme}://bucket", storage_endpoint=endpoint))
    assert "hidden" not in str(caught.value)


def test_azure_connection_strings() -> None:
    assert azure_connection("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5PQ==;EndpointSuffix=core.windows.net") == {
        "account_name": "a",
        "account_key": "a2V5PQ==",
        "endpoint": "https://a.blob.core.windows.net",
    }
    assert azure_connection("BlobEndpoint=https://a.example/;SharedAccessSignature=?sv=1&sig=s") == {
        "endpoint": "https://a.example",
        "sas_key": "sv=1&sig=s",
    }


@pytest.mark.parametrize("text", ["nonsense", "AccountKey=hidden", "AccountName=a;hidden", "AccountName=a;AccountKey=!hidden"])
def test_bad_azure_connection_strings_hide_the_key(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_storage(StorageSettings(storage="az://container", storage_connection_string=text))
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_azure_without_an_account_says_so() -> None:
    with pytest.raises(SettingsError, match="Account"):
        open_storage(StorageSettings(storage="az://container"))


def test_azure_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = StorageSettings(storage="az://container")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=one;AccountKey=a2V5")
    assert azure_store(settings, "container").config["account_name"] == "one"
    monkeypatch.setenv("AZURE_STORAGE_AUTH_MODE", "workload_identity")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_URL", "https://two.blob.core.windows.net/")
    config = azure_store(settings, "container").config
    assert (config["account_name"], config["endpoint"]) == ("two", "https://two.blob.core.windows.net")
    assert "account_key" not in config


@pytest.mark.parametrize(
    ("text", "transient"),
    [
        ("Generic GCS error: Error performing GET https://x/y?sig=hidden in 3ms - Server returned non-2xx status code: 503 Slow: x", True),
        (
            "Generic S3 error: Error performing GET https://x/y?sig=hidden in 3ms - Server returned non-2xx status code: 429 Too Many: x",
            True,
        ),
        ("Generic S3 error: Error performing GET https://x/y?sig=hidden in 3ms - HTTP error: error sending request", True),
        ("Generic S3 error: Error performing GET https://x/y?sig=hidden in 3ms - Server returned non-2xx status code: 400 Bad: x", False),
        (
            "Generic S3 error: Error performing GET https://x/y?sig=hidden in 3ms - Server returned non-2xx status code: 404 Not Found: x",
            False,
        ),
        ("Generic S3 error: Error performing GET https://x/y in 3ms - error sending request\n\ninvalid peer certificate: Expired", False),
    ],
)
def test_what_obstore_says(text: str, transient: bool) -> None:
    failure = meaning_of(ValueError("x") if not text else OSError(text), "gs://b", "k")
    assert failure is not None
    assert isinstance(failure.error, StorageUnavailable)
    assert failure.transient == transient
    assert "hidden" not in str(failure.error)
    assert "\n" not in str(failure.error)


def test_what_is_not_the_stores_stays_as_it_is() -> None:
    assert meaning_of(ZeroDivisionError(), "gs://b") is None
    missing = meaning_of(FileNotFoundError("x"), "gs://b", "k")
    assert missing is not None
    assert isinstance(missing.error, ObjectNotFound)
