"""What only S3 can get wrong: pages, answers that are final, TLS, regions, forks."""

from __future__ import annotations

import datetime as dt
import ipaddress
import multiprocessing
import os
import random
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.errors import StorageUnavailable
from shared.settings import StorageSettings
from shared.storage import s3
from shared.storage.factory import open_storage
from shared.storage.port import ObjectInfo
from tests.contract.storage_suite import Place
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.object_stores import ObjectStore, moto

OBJECTS = {f"o/{number:03}": b"%d " % number * number for number in range(300)}


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with moto() as running:
        Place(running.settings, running.put).fill({f"root/{key}": content for key, content in OBJECTS.items()})
        yield running


@pytest.fixture
def proxy(store: ObjectStore) -> Iterator[FaultProxy]:
    with fault_proxy(store.endpoint) as running:
        yield running


def test_pages_that_fail_half_way_are_read_again(store: ObjectStore, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_PAGE", 25)
    dice = random.Random(3)
    proxy.rule = lambda _method, _path: dice.choice(["500", "503", "reset", "truncate", "halve"]) if dice.random() < 0.5 else None
    storage = open_storage(store.settings("root", storage_endpoint=proxy.endpoint))
    assert [info.key for info in storage.list("o/")] == list(OBJECTS)
    assert proxy.seen["passed"] >= 12


@pytest.mark.parametrize("fault", ["500", "503", "reset", "truncate", "halve"])
def test_a_later_page_that_stays_broken_fails_the_listing(
    store: ObjectStore, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(s3, "_PAGE", 100)
    proxy.rule = lambda _method, path: fault if "continuation-token" in path else None
    with pytest.raises(StorageUnavailable):
        list(open_storage(store.settings("root", storage_endpoint=proxy.endpoint, storage_timeout=1.0)).list("o/"))


def test_many_small_objects_are_read_with_one_request_each(store: ObjectStore, proxy: FaultProxy) -> None:
    storage = open_storage(store.settings("root", storage_endpoint=proxy.endpoint))
    objects = list(storage.list("o/"))
    list(storage.read_many(objects))
    gets = [(path, headers) for method, path, headers in proxy.requests if method == "GET" and "/o/" in path]
    assert len(gets) == len(objects)
    # Nearly all through obstore: a thread that comes while its client is being made uses boto3.
    assert sum("Boto3" not in headers.get("User-Agent", "") for _, headers in gets) >= len(objects) - 32


def test_directories_of_a_large_listing_are_listed_at_once_and_nothing_is_lost(
    store: ObjectStore, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_PAGE", 20)
    keys = [f"{node}/{number:02}" for node in ("a", "a-b", "a.c", "aa", "b") for number in range(50)]
    Place(store.settings, store.put).fill({f"nodes/{key}": b"x" for key in keys})
    dice = random.Random(5)
    proxy.rule = lambda _method, _path: "503" if dice.random() < 0.2 else None
    storage = open_storage(store.settings("nodes", storage_endpoint=proxy.endpoint))
    assert [info.key for info in storage.list("")] == sorted(keys)
    asked = [path for _, path, _ in proxy.requests]
    assert sum("delimiter" in path for path in asked)
    assert all(any(f"prefix=nodes%2F{node}%2F" in path for path in asked) for node in ("a", "a-b", "a.c", "aa", "b"))
    # One of the directories that stays unreadable fails the whole listing.
    proxy.rule = lambda _method, path: "500" if "prefix=nodes%2Faa%2F" in path else None
    with pytest.raises(StorageUnavailable):
        list(open_storage(store.settings("nodes", storage_endpoint=proxy.endpoint, storage_timeout=1.0)).list(""))


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "AccessDenied", "access denied"),
        (403, "InvalidAccessKeyId", "the access key is not known"),
        (403, "SignatureDoesNotMatch", "the secret key is wrong"),
        (400, "ExpiredToken", "the credentials have expired"),
        (403, "RequestTimeTooSkewed", "clock"),
        (301, "PermanentRedirect", "wrong region: the bucket is in eu-north-7"),
        (400, "AuthorizationHeaderMalformed", "wrong region"),
        (404, "NoSuchBucket", "no such bucket"),
    ],
)
def test_a_final_answer_is_one_clear_line_and_not_asked_for_again(
    store: ObjectStore, proxy: FaultProxy, status: int, code: str, reason: str
) -> None:
    proxy.headers = {"x-amz-bucket-region": "eu-north-7"}
    proxy.rule = lambda _method, _path: (status, code)
    storage = open_storage(store.settings("root", storage_endpoint=proxy.endpoint))
    for look in (storage.check, lambda: list(storage.list("")), lambda: storage.read("o/001"), lambda: storage.read_range("o/001", 0, 1)):
        before = len(proxy.requests)
        with pytest.raises(StorageUnavailable, match=reason) as caught:
            look()
        assert "\n" not in str(caught.value)
        assert "test" not in str(caught.value)  # neither key nor secret
        assert len(proxy.requests) - before <= 4  # boto3 itself looks for the region of a bucket
    ((_, answer),) = storage.read_many([ObjectInfo("o/001", 2)])
    assert isinstance(answer, StorageUnavailable)


def test_without_credentials_it_says_so(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/none")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/none")
    with pytest.raises(StorageUnavailable, match="no usable credentials"):
        open_storage(StorageSettings(storage="s3://history", storage_endpoint=store.endpoint)).check()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StorageUnavailable, match="nobody"):
        open_storage(StorageSettings(storage="s3://history", storage_endpoint=store.endpoint)).check()


def test_configured_the_aws_way(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": store.endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    storage = open_storage(StorageSettings(storage="s3://history/root"))
    assert len(list(storage.read_many(storage.list("o/")))) == len(OBJECTS)


def test_tls_is_checked_and_a_private_authority_may_be_named(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, context = private_authority(tmp_path)
    with fault_proxy(store.endpoint, context) as proxy:
        with pytest.raises(StorageUnavailable, match="TLS failed"):
            open_storage(store.settings("root", storage_endpoint=proxy.endpoint)).check()
        assert not proxy.requests
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        storage = open_storage(store.settings("root", storage_endpoint=proxy.endpoint))
        assert {info.key: content for info, content in storage.read_many(storage.list("o/"))} == OBJECTS
        assert any("Boto3" not in headers.get("User-Agent", "") for method, _, headers in proxy.requests if method == "GET")


def test_a_forked_child_reads_too(store: ObjectStore) -> None:
    storage = open_storage(store.settings("root"))
    objects = list(storage.list("o/"))
    assert len(list(storage.read_many(objects))) == len(OBJECTS)

    def child(answers: multiprocessing.Queue[int]) -> None:
        answers.put(sum(isinstance(content, bytes) for _, content in open_storage(store.settings("root")).read_many(objects)))

    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    process = fork.Process(target=child, args=(answers,), daemon=True)
    process.start()
    try:
        assert answers.get(timeout=30) == len(OBJECTS)
    finally:
        process.kill()
        process.join()


def private_authority(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """The certificate of an authority that nobody knows, and a server's context with a certificate by it for 127.0.0.1."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("authority", "authority", authority_key, authority_key, ca=True)
    server = _certificate("store", "authority", server_key, authority_key, ca=False)
    (directory / "authority.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    private = server_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "server.pem").write_bytes(private + server.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    return directory / "authority.pem", context


def _certificate(
    name: str, issuer: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, *, ca: bool
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
