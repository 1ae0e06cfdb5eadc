"""docs/migrate-from-kuberay.md: every name of KubeRay's that it lists does what it says, and no setting that it names is made up."""

from __future__ import annotations

import os
import re
from operator import attrgetter
from pathlib import Path

import pytest

from cli.configuration import known_variables
from shared.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "migrate-from-kuberay.md").read_text(encoding="utf-8")
# Flags and variables of `historyserver/cmd/historyserver/main.go` and `pkg/storage/*/config.go`, by release.
FLAGS = {
    "1.6": "runtime-class-name ray-root-dir kubeconfigs dashboard-dir runtime-class-config-path use-kubernetes-proxy",
    "1.7": "storage-backend storage-root-dir kubeconfigs dashboard-dir storage-backend-config-path use-kubernetes-proxy use-auth-token-mode "
    "kube-api-qps kube-api-burst session-process-timeout session-cache-size session-cache-max-memory session-cache-ttl",
}
COMMON = (
    "AZURE_STORAGE_ACCOUNT_URL AZURE_STORAGE_AUTH_MODE AZURE_STORAGE_CONNECTION_STRING AZURE_STORAGE_CONTAINER GCS_BUCKET OSS_BUCKET "
    "OSS_ENDPOINT S3DISABLE_SSL S3FORCE_PATH_STYLE S3_BUCKET S3_ENDPOINT S3_REGION"
)
VARIABLES = {
    "1.6": f"{COMMON} AWS_S3ID AWS_S3SECRET AWS_S3TOKEN",
    "1.7": f"{COMMON} AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN OSS_REGION STORAGE_BACKEND STORAGE_ROOT_DIR",
}
S3 = {"S3_BUCKET": "b"}
OSS = {"STORAGE_BACKEND": "aliyunoss", "OSS_BUCKET": "b", "OSS_ENDPOINT": "oss-cn-hangzhou-internal.aliyuncs.com"}
AZURE = {"AZURE_STORAGE_CONTAINER": "c"}
# Environment, and what it makes of which storage settings.
TRIED: list[tuple[dict[str, str], dict[str, object]]] = [
    ({"STORAGE_BACKEND": "s3"}, {"storage": "s3://ray-historyserver"}),
    ({"STORAGE_BACKEND": "gcs"}, {"storage": "gs://ray-historyserver"}),
    ({"STORAGE_BACKEND": "azureblob"}, {"storage": "az://ray-historyserver"}),
    (S3, {"storage": "s3://b"}),
    (S3 | {"STORAGE_ROOT_DIR": "/log/"}, {"storage": "s3://b/log"}),
    (S3 | {"S3_ENDPOINT": "minio:9000"}, {"storage_endpoint": "https://minio:9000"}),
    (S3 | {"S3_ENDPOINT": "minio:9000", "S3DISABLE_SSL": "true"}, {"storage_endpoint": "http://minio:9000"}),
    (S3 | {"S3_REGION": "eu-1"}, {"storage_region": "eu-1"}),
    (S3 | {"S3FORCE_PATH_STYLE": "false"}, {"storage_path_style": False}),
    (
        S3 | {"AWS_S3ID": "id", "AWS_S3SECRET": "key", "AWS_S3TOKEN": "token"},
        {"storage_key_id": "id", "storage_secret": "key", "storage_session_token": "token"},
    ),
    (
        S3 | {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_SESSION_TOKEN": "t"},
        {"storage_key_id": "", "storage_secret": ""},
    ),
    ({"GCS_BUCKET": "g"}, {"storage": "gs://g"}),
    (AZURE, {"storage": "az://c"}),
    (AZURE | {"AZURE_STORAGE_CONNECTION_STRING": "x=y"}, {"storage_connection_string": "x=y"}),
    (AZURE | {"AZURE_STORAGE_ACCOUNT_URL": "https://a.blob"}, {"storage_endpoint": "https://a.blob"}),
    (
        AZURE | {"AZURE_STORAGE_CONNECTION_STRING": "x=y", "AZURE_STORAGE_AUTH_MODE": "workload_identity"},
        {"storage_connection_string": ""},
    ),
    (OSS, {"storage": "s3://b", "storage_endpoint": "https://s3.oss-cn-hangzhou-internal.aliyuncs.com", "storage_region": "cn-hangzhou"}),
    (OSS | {"OSS_REGION": "cn-other"}, {"storage_region": "cn-other"}),
    (S3 | {"RAY_HISTORY_STORAGE": "file:///data"}, {"storage": "file:///data", "storage_endpoint": ""}),
    (S3 | {"S3_REGION": "eu-1", "RAY_HISTORY_STORAGE_REGION": "eu-2"}, {"storage": "s3://b", "storage_region": "eu-2"}),
]
# By flag: what the page says to set instead, and what it makes of which settings; nothing for a flag that needs nothing.
KUBERNETES = {"RAY_HISTORY_KUBERNETES": "incluster"}
FLAGS_TRIED: dict[str, list[tuple[dict[str, str], dict[str, object]]]] = {
    "storage-backend": [
        ({"STORAGE_BACKEND": "s3"}, {"storage.storage": "s3://ray-historyserver"}),
        ({"STORAGE_BACKEND": "gcs", "GCS_BUCKET": "g"}, {"storage.storage": "gs://g"}),
        ({"STORAGE_BACKEND": "azureblob"}, {"storage.storage": "az://ray-historyserver"}),
        (OSS, {"storage.storage": "s3://b"}),
        ({"RAY_HISTORY_STORAGE": "s3://other/root"}, {"storage.storage": "s3://other/root"}),
    ],
    "storage-root-dir": [
        (S3 | {"STORAGE_ROOT_DIR": "log"}, {"storage.storage": "s3://b/log"}),
        (S3 | {"RAY_HISTORY_STORAGE": "s3://b/other"}, {"storage.storage": "s3://b/other"}),
    ],
    "storage-backend-config-path": [],
    "runtime-class-config-path": [],
    "kubeconfigs": [
        ({}, {"live.kubernetes": "none"}),
        (KUBERNETES, {"live.kubernetes": "incluster"}),
        (
            {"RAY_HISTORY_KUBERNETES": "kubeconfig", "RAY_HISTORY_KUBECONFIG": "/etc/k"},
            {"live.kubernetes": "kubeconfig", "live.kubeconfig": "/etc/k"},
        ),
    ],
    "enable-live-clusters": [({}, {"live.kubernetes": "none"}), (KUBERNETES, {"live.kubernetes": "incluster"})],
    "use-kubernetes-proxy": [
        ({}, {"live.dashboard_access": "service"}),
        ({"RAY_HISTORY_DASHBOARD_ACCESS": "apiserver"}, {"live.dashboard_access": "apiserver"}),
    ],
    "use-auth-token-mode": [],
    "kube-api-qps": [({"RAY_HISTORY_KUBERNETES_QPS": "7.5"}, {"live.kubernetes_qps": 7.5})],
    "kube-api-burst": [({"RAY_HISTORY_KUBERNETES_BURST": "9"}, {"live.kubernetes_burst": 9})],
    "dashboard-dir": [({"RAY_HISTORY_DASHBOARD_DIR": "/pages"}, {"api.dashboard_dir": "/pages"})],
    "session-process-timeout": [
        ({"RAY_HISTORY_LOAD_TIME_LIMIT": "120", "RAY_HISTORY_ENTER_WAIT": "60"}, {"load.load_time_limit": 120.0, "api.enter_wait": 60.0})
    ],
    "session-cache-size": [({"RAY_HISTORY_SNAPSHOT_BUDGET": "1000000"}, {"load.snapshot_budget": 1_000_000})],
    "session-cache-max-memory": [({"RAY_HISTORY_SNAPSHOT_BUDGET": "1000000"}, {"load.snapshot_budget": 1_000_000})],
    "session-cache-ttl": [({"RAY_HISTORY_SNAPSHOT_TTL": "600"}, {"load.snapshot_ttl": 600.0})],
}
# Flags of 1.6 under other names; their rows say "the same".
FLAGS_TRIED |= {"runtime-class-name": FLAGS_TRIED["storage-backend"], "ray-root-dir": FLAGS_TRIED["storage-root-dir"]}


def _rows(heading: str) -> list[list[str]]:
    """Cells of the first table below a heading."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def _names(cell: str) -> set[str]:
    return set(re.findall(r"`-{0,2}([A-Za-z0-9_-]+)`", cell))


@pytest.mark.parametrize(("environment", "expected"), TRIED)
def test_a_row(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: dict[str, object]) -> None:
    storage = _settings(monkeypatch, environment).storage
    for name, value in expected.items():
        found = getattr(storage, name)
        assert (found.get_secret_value() if hasattr(found, "get_secret_value") else found) == value, name


@pytest.mark.parametrize(
    ("flag", "environment", "expected"), [(flag, *tried) for flag, several in FLAGS_TRIED.items() for tried in several]
)
def test_a_flag(monkeypatch: pytest.MonkeyPatch, flag: str, environment: dict[str, str], expected: dict[str, object]) -> None:
    settings = _settings(monkeypatch, environment)
    assert {name: attrgetter(name)(settings) for name in expected} == expected, flag


def _settings(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Settings:
    for name in [*os.environ]:
        if name.startswith(("RAY_", "STORAGE_", "S3", "AWS_", "AZURE_", "GCS_", "OSS_")):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings.from_environment()


@pytest.mark.parametrize("release", ["1.6", "1.7"])
@pytest.mark.parametrize(("heading", "known"), [("Storage", VARIABLES), ("Flags", FLAGS)])
def test_every_name_of_a_release_has_its_row_and_no_other(release: str, heading: str, known: dict[str, str]) -> None:
    listed = {name for row in _rows(heading) if re.search(rf"(^|[ ,]){release}($|,)", row[1]) for name in _names(row[0])}
    both = {"storage-backend-config-path", "runtime-class-config-path"}
    assert listed - both == set(known[release].split()) - both


def test_every_row_of_the_storage_table_is_tried() -> None:
    tried = {name for environment, _ in TRIED for name in environment}
    assert {name for row in _rows("Storage") for name in _names(row[0])} <= tried


def test_every_row_of_the_flags_table_is_tried_with_what_it_names() -> None:
    for cells in _rows("Flags"):
        tried = {name for flag in _names(cells[0]) for environment, _ in FLAGS_TRIED[flag] for name in environment}
        assert _names(cells[2]) - {"incluster", "kubeconfig", "apiserver"} <= tried, cells
        assert tried or cells[2].startswith("none: "), cells


def test_every_setting_that_is_named_exists() -> None:
    named = {name for name in re.findall(r"RAY_HISTORY_[A-Z_]+[A-Z]", PAGE) if name != "RAY_HISTORY"}
    assert named <= set(known_variables())
