"""The storage contract on Google Cloud Storage and Azure Blob Storage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.storage_suite import Place, StorageContract
from tests.object_stores import azurite, fake_gcs


class TestFakeGcsServer(StorageContract):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls) -> Iterator[Place]:
        with fake_gcs() as store:
            yield Place(store.settings, store.put)


class TestAzurite(StorageContract):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
        with azurite(tmp_path_factory.mktemp("azurite")) as store:
            yield Place(store.settings, store.put)

    def put_placeholder(self, place: Place, key: str) -> None:
        """KubeRay's collector writes none to Azure."""
