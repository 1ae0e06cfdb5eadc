"""Two stores never have the same place, and no credential is part of one."""

from __future__ import annotations

import pytest

from shared.settings import StorageSettings
from shared.storage.address import place_of

_ACCOUNT = "AccountName={};AccountKey={};EndpointSuffix=core.windows.net"


def azure(account: str, key: str = "a2V5") -> StorageSettings:
    return StorageSettings(storage="az://logs", storage_connection_string=_ACCOUNT.format(account, key))


@pytest.mark.parametrize(
    ("storage", "variable"),
    [
        ("s3://logs", "AWS_ENDPOINT_URL_S3"),
        ("s3://logs", "AWS_ENDPOINT_URL"),
        ("gs://logs", "STORAGE_EMULATOR_HOST"),
        ("az://logs", "AZURE_STORAGE_ACCOUNT_URL"),
        ("az://logs", "AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)
def test_the_environment_s_endpoint_counts(monkeypatch: pytest.MonkeyPatch, storage: str, variable: str) -> None:
    places = set()
    for value in ("http://one:9000", "http://two:9000"):
        monkeypatch.setenv(variable, value)
        places.add(place_of(StorageSettings(storage=storage)))
    assert len(places) == 2


def test_containers_of_the_same_name_in_two_accounts_differ() -> None:
    assert place_of(azure("one")) != place_of(azure("two"))


def test_a_new_key_is_the_same_place_and_an_account_is_one_however_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place_of(azure("one")) == place_of(azure("one", "bmV3"))
    known = place_of(azure("one"))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "one")
    assert place_of(StorageSettings(storage="az://logs")) == known
