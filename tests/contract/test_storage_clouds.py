"""The storage contract on Google Cloud Storage and Azure Blob Storage."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import pytest

from shared.errors import StorageUnavailable
from shared.storage.factory import open_storage
from shared.storage.port import Storage
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


def test_a_child_forked_after_the_first_use_is_told_instead_of_hanging() -> None:
    """Threads do not survive a fork: obstore would wait for its own for ever."""

    def look(storage: Storage, answers: multiprocessing.Queue[str]) -> None:
        try:
            answers.put(storage.read("x").decode())
        except StorageUnavailable as exc:
            answers.put(str(exc))

    def of_child(storage: Storage) -> str:
        answers = fork.Queue()
        child = fork.Process(target=look, args=(storage, answers), daemon=True)
        child.start()
        try:
            return answers.get(timeout=30)
        finally:
            child.kill()
            child.join()

    fork = multiprocessing.get_context("fork")
    with fake_gcs() as store:
        store.put("x", b"content")
        storage = open_storage(store.settings())
        assert storage.read("x") == b"content"
        assert "before this process was forked" in of_child(storage)
        assert "before this process was forked" in of_child(open_storage(store.settings()))
        spawned = multiprocessing.get_context("spawn")
        with spawned.Pool(1) as pool:
            assert pool.apply(_read, (store.settings().model_dump(), "x")) == b"content"


def _read(settings: dict[str, object], key: str) -> bytes:
    from shared.settings import StorageSettings

    return open_storage(StorageSettings(**settings)).read(key)
