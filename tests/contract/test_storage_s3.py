"""The storage contract on S3: moto, and SeaweedFS, which behaves like a file system in places."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.storage_suite import Place, StorageContract
from tests.object_stores import moto, seaweedfs


class TestMoto(StorageContract):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls) -> Iterator[Place]:
        with moto() as store:
            yield Place(store.settings, store.put)


class TestSeaweedFS(StorageContract):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
        with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as store:
            yield Place(store.settings, store.put)
