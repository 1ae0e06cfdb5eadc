"""KubeRay's environment names, taken from its sample deployments."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from shared import kuberay_env
from shared.errors import SettingsError
from shared.kuberay_env import kuberay_storage
from shared.settings import Settings

MINIO = {
    "STORAGE_BACKEND": "s3",
    "S3DISABLE_SSL": "true",
    "AWS_ACCESS_KEY_ID": "minioadmin",
    "AWS_SECRET_ACCESS_KEY": "minioadmin",
    "AWS_SESSION_TOKEN": "",
    "S3_BUCKET": "bucket",
    "S3_ENDPOINT": "minio-service.minio-dev:9000",
    "S3_REGION": "test",
    "S3FORCE_PATH_STYLE": "true",
}
MINIO_FIELDS = {
    "storage": "s3://bucket",
    "storage_endpoint": "http://minio-service.minio-dev:9000",
    "storage_region": "test",
    "storage_path_style": True,
}


@pytest.mark.parametrize(
    ("env", "fields"),
    [
        ({}, {}),
        ({"S3_ENDPOINT": "x", "STORAGE_ROOT_DIR": "log"}, {}),
        (MINIO, MINIO_FIELDS),
        ({"STORAGE_BACKEND": "S3"}, {"storage": "s3://ray-historyserver"}),
        ({"S3_BUCKET": "b", "STORAGE_ROOT_DIR": "/log/deep/"}, {"storage": "s3://b/log/deep"}),
        ({"S3_BUCKET": "b", "RAY_ROOT_DIR": "log"}, {"storage": "s3://b/log"}),
        ({"S3_BUCKET": "b", "S3_ENDPOINT": "host:9000"}, {"storage": "s3://b", "storage_endpoint": "https://host:9000"}),
        ({"S3_BUCKET": "b", "S3_ENDPOINT": "http://host"}, {"storage": "s3://b", "storage_endpoint": "http://host"}),
        (
            {"S3_BUCKET": "b", "S3_ENDPOINT": "https://host", "S3DISABLE_SSL": "true"},
            {"storage": "s3://b", "storage_endpoint": "http://host"},
        ),
        ({"S3_BUCKET": "b", "S3FORCE_PATH_STYLE": "false"}, {"storage": "s3://b", "storage_path_style": False}),
        (
            {"S3_BUCKET": "b", "AWS_S3ID": "id", "AWS_S3SECRET": "secret", "AWS_S3TOKEN": "token", "AWS_ACCESS_KEY_ID": "other"},
            {"storage": "s3://b", "storage_key_id": "id", "storage_secret": "secret", "storage_session_token": "token"},
        ),
        (
            {"S3_BUCKET": "b", "AWSS3ID": "id", "AWSS3SECRET": "secret"},
            {"storage": "s3://b", "storage_key_id": "id", "storage_secret": "secret"},
        ),
        ({"STORAGE_BACKEND": "gcs", "GCS_BUCKET": "g", "STORAGE_ROOT_DIR": "log"}, {"storage": "gs://g/log"}),
        (
            {"AZURE_STORAGE_CONTAINER": "c", "AZURE_STORAGE_CONNECTION_STRING": "AccountName=a"},
            {"storage": "az://c", "storage_connection_string": "AccountName=a"},
        ),
        (
            {
                "STORAGE_BACKEND": "azureblob",
                "AZURE_STORAGE_AUTH_MODE": "workload_identity",
                "AZURE_STORAGE_CONNECTION_STRING": "AccountName=a",
                "AZURE_STORAGE_ACCOUNT_URL": "https://a.blob.core.windows.net",
            },
            {"storage": "az://ray-historyserver", "storage_endpoint": "https://a.blob.core.windows.net"},
        ),
        (
            {
                "STORAGE_BACKEND": "aliyunoss",
                "OSS_BUCKET": "o",
                "OSS_ENDPOINT": "oss-cn-hongkong-internal.aliyuncs.com",
                "OSS_ACCESS_KEY_ID": "k",
            },
            {
                "storage": "s3://o",
                "storage_endpoint": "https://s3.oss-cn-hongkong-internal.aliyuncs.com",
                "storage_region": "cn-hongkong",
                "storage_path_style": False,
                "storage_key_id": "k",
            },
        ),
        (
            {"STORAGE_BACKEND": "aliyunoss", "OSS_BUCKET": "o", "OSS_ENDPOINT": "http://logs.example.com", "OSS_REGION": "cn-x"},
            {"storage": "s3://o", "storage_endpoint": "http://logs.example.com", "storage_region": "cn-x", "storage_path_style": False},
        ),
        (
            {"STORAGE_BACKEND": "oci", "OCI_BUCKET": "b", "OCI_NAMESPACE": "ns", "OCI_REGION": "us-ashburn-1"},
            {
                "storage": "s3://b",
                "storage_endpoint": "https://ns.compat.objectstorage.us-ashburn-1.oraclecloud.com",
                "storage_region": "us-ashburn-1",
                "storage_path_style": True,
            },
        ),
        # Two buckets and nothing that chooses: neither is guessed.
        ({"S3_BUCKET": "b", "GCS_BUCKET": "g"}, {}),
        ({"S3_BUCKET": "b", "GCS_BUCKET": "g", "STORAGE_BACKEND": "gcs"}, {"storage": "gs://g"}),
    ],
)
def test_what_kuberays_names_give(env: dict[str, str], fields: dict[str, object]) -> None:
    assert kuberay_storage(env) == fields


def test_ours_win_one_by_one() -> None:
    ours = {"RAY_HISTORY_STORAGE": "s3://mine/root", "RAY_HISTORY_STORAGE_REGION": "eu-west-1"}
    left = {name: value for name, value in MINIO_FIELDS.items() if name not in ("storage", "storage_region")}
    assert kuberay_storage(MINIO | ours) == left


@pytest.mark.parametrize("ours", ["file:///data", "gs://bucket", "nonsense"])
def test_another_store_of_ours_takes_nothing_from_them(ours: str) -> None:
    assert kuberay_storage(MINIO | {"RAY_HISTORY_STORAGE": ours}) == {}


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"STORAGE_BACKEND": "localtest"}, "STORAGE_BACKEND"),
        ({"STORAGE_BACKEND": "aliyunoss"}, "OSS_BUCKET"),
        ({"STORAGE_BACKEND": "aliyunoss", "OSS_BUCKET": "o"}, "OSS_ENDPOINT"),
        ({"STORAGE_BACKEND": "oci", "OCI_REGION": "r"}, "OCI_NAMESPACE"),
    ],
)
def test_what_cannot_be_used_is_said(env: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        kuberay_storage(env)
    assert kuberay_storage({"STORAGE_BACKEND": "localtest", "RAY_HISTORY_STORAGE": "file:///data"}) == {}


def test_settings_understand_a_kuberay_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("RAY_HISTORY_STORAGE"):
            monkeypatch.delenv(name)
    for name, value in (MINIO | {"AWS_S3ID": "id", "AWS_S3SECRET": "hidden"}).items():
        monkeypatch.setenv(name, value)
    storage = Settings.from_environment().storage
    assert storage.storage == "s3://bucket"
    assert storage.storage_endpoint == "http://minio-service.minio-dev:9000"
    assert storage.storage_path_style is True
    assert storage.storage_secret.get_secret_value() == "hidden"
    assert "hidden" not in repr(storage)
    monkeypatch.setenv("RAY_HISTORY_STORAGE", "file:///data")
    assert Settings.from_environment().storage.storage_endpoint == ""


def test_every_variable_that_is_read_is_known_as_a_source() -> None:
    text = Path(kuberay_env.__file__).read_text()
    assert set(re.findall(r'(?:env\.get|_needed\(env,)\(?\s*"([A-Z0-9_]+)"', text)) <= kuberay_env._READ
