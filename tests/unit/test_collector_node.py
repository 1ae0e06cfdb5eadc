"""What the collector does on a node besides events: logs, reports, small objects, and what it reads from Ray's directory."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from collector.cluster import Cluster
from collector.documents import Reporter
from collector.files import only_process
from collector.logs import SessionLogs
from collector.outbox import Outbox
from collector.ray_env import parse_version, ray_environment
from collector.ray_node import RayNode
from collector.sessions import NodeSessions
from shared.collector_documents import Loss, decode_report
from shared.errors import SettingsError, StorageUnavailable
from shared.kuberay_env import kuberay_collector
from shared.layout import session_of_marker
from shared.settings import CollectSettings
from shared.storage.local_writer import LocalWriter
from tests.collector.events import NODE, SESSION

OLD = 1_700_000_000.0


class Node:
    """A session's logs and where they go."""

    def __init__(self, directory: Path) -> None:
        self.logs = directory / "logs"
        self.bucket = directory / "bucket"
        self.logs.mkdir()
        self.bucket.mkdir()
        self.writer = LocalWriter(self.bucket)
        self.lost: list[tuple[str, str, str]] = []
        self._state = directory / "logs.json"

    def shipper(self) -> SessionLogs:
        return SessionLogs(self.logs, self._state, lambda name: f"l/{name}", lambda *loss: self.lost.append(loss), interval=300.0)

    def write(self, name: str, content: bytes, *, quiet: bool = True) -> Path:
        path = self.logs / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        if quiet:
            os.utime(path, (OLD, OLD))
        return path

    def stored(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.bucket / "l").as_posix(): path.read_bytes() for path in (self.bucket / "l").rglob("*") if path.is_file()
        }


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def never() -> bool:
    return False


def test_quiet_logs_are_uploaded_and_busy_ones_wait_for_the_end(node: Node) -> None:
    node.write("events/event_GCS.log", b"quiet")
    node.write("raylet.out", b"busy", quiet=False)
    (node.logs / "link.log").symlink_to("raylet.out")
    shipper = node.shipper()
    shipper.ship(node.writer, never)
    assert node.stored() == {"events/event_GCS.log": b"quiet"}
    assert shipper.ship_all(node.writer, never)
    assert node.stored() == {"events/event_GCS.log": b"quiet", "raylet.out": b"busy"}
    assert node.lost == []


def test_an_empty_log_is_uploaded_as_dashboards_list_it(node: Node) -> None:
    node.write("gcs_server.err", b"", quiet=False)
    node.write("quiet.err", b"")
    shipper = node.shipper()
    shipper.ship(node.writer, never)
    assert node.stored() == {"quiet.err": b""}
    shipper.ship_all(node.writer, never)
    assert node.stored() == {"quiet.err": b"", "gcs_server.err": b""}
    uploaded = (node.bucket / "l" / "quiet.err").stat().st_mtime_ns
    shipper.ship_all(node.writer, never)
    assert (node.bucket / "l" / "quiet.err").stat().st_mtime_ns == uploaded


def test_what_is_uploaded_is_not_uploaded_again_by_the_next_process(node: Node) -> None:
    node.write("a.log", b"a")
    node.shipper().ship(node.writer, never)
    (node.bucket / "l" / "a.log").unlink()
    node.shipper().ship_all(node.writer, never)
    assert node.stored() == {}
    node.write("a.log", b"and more")
    node.shipper().ship_all(node.writer, never)
    assert node.stored() == {"a.log": b"and more"}


def test_a_log_that_ray_deletes_before_its_upload_is_told(node: Node) -> None:
    shipper = node.shipper()
    path = node.write("worker.out", b"12345", quiet=False)
    shipper.ship(node.writer, never)
    path.rename(node.logs / "worker.out.1")
    shipper.ship(node.writer, never)
    assert node.lost == []
    (node.logs / "worker.out.1").unlink()
    shipper.ship(node.writer, never)
    assert node.lost == [("worker.out.1", "log_gone", "deleted before its last 5 bytes were uploaded")]


def test_at_the_end_telling_logs_come_first_and_tails_before_large_wholes(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.logs._LARGE", 100)
    monkeypatch.setattr("collector.logs._TAIL", 10)
    large = bytes(range(200))
    node.write("worker-1.out", large)
    node.write("python-core-worker-1.log", b"least")
    node.write("job-driver-1.log", b"most")
    steps = iter([False, False, False, True])
    assert not node.shipper().ship_all(node.writer, lambda: next(steps))
    assert node.stored() == {"job-driver-1.log": b"most", "python-core-worker-1.log": b"least", "worker-1.out.tail": large[-10:]}
    assert node.shipper().ship_all(node.writer, never)
    assert node.stored() == {"job-driver-1.log": b"most", "python-core-worker-1.log": b"least", "worker-1.out": large}


def test_an_outage_is_passed_on_and_what_was_uploaded_is_remembered(node: Node) -> None:
    node.write("a.log", b"a")
    node.bucket.rename(node.bucket.with_name("away"))
    with pytest.raises(StorageUnavailable):
        node.shipper().ship_all(node.writer, never)
    node.bucket.with_name("away").rename(node.bucket)
    assert node.shipper().ship_all(node.writer, never)
    assert node.stored() == {"a.log": b"a"}


def test_losses_survive_restarts_and_are_counted(tmp_path: Path) -> None:
    published: list[bytes] = []

    def reporter() -> Reporter:
        return Reporter(tmp_path / "report.json", SESSION, NODE, "head", published.append)

    reporter().lose("", "events_unfit", "1 events: no session")
    reporter().lose("", "events_unfit", "2 events: no session")
    again = reporter()
    for number in range(250):
        again.lose(f"logs/{number}", "log_gone", "x")
    again.end()
    report = decode_report(published[-1])
    assert (report.losses[0].count, report.losses[0].message) == (2, "2 events: no session")
    assert len(report.losses) == 200
    assert report.losses_left_out == 51
    assert report.ended
    again.begin("")
    assert decode_report(published[-1]).ended is None


def sessions(directory: Path) -> NodeSessions:
    settings = CollectSettings()
    outbox = Outbox(directory / "outbox")
    return NodeSessions(directory, settings, Cluster(settings), RayNode(directory / "ray"), outbox, LocalWriter(directory))


def test_a_loss_of_no_known_session_is_in_the_report_of_the_next_one_also_after_a_kill(tmp_path: Path) -> None:
    for _ in range(2):
        sessions(tmp_path).lose_anywhere("", "events_unfit", "1 events: no session")
    again = sessions(tmp_path)
    again.saw(SESSION, NODE)
    (report,) = (tmp_path / "outbox").rglob("collector.json")
    (loss,) = decode_report(report.read_bytes()).losses
    assert (loss.code, loss.message, loss.count) == ("events_unfit", "1 events: no session", 2)
    again.saw("session_2026-11-30_10-11-12_123456_1", NODE)
    assert sorted(len(decode_report(path.read_bytes()).losses) for path in (tmp_path / "outbox").rglob("collector.json")) == [0, 1]


def test_a_gcs_that_exports_nothing_is_said_once_in_the_heads_report(tmp_path: Path) -> None:
    logs = tmp_path / "ray" / SESSION / "logs"
    logs.mkdir(parents=True)
    (logs / "gcs_server.out").write_text("[I] (gcs_server) gcs_server.cc:100: started\n")
    known = sessions(tmp_path)
    known.saw(SESSION, NODE)

    def losses() -> list[Loss]:
        (report,) = (tmp_path / "outbox").rglob("collector.json")
        return decode_report(report.read_bytes()).losses

    known.ship_logs()
    assert losses() == []
    with (logs / "gcs_server.out").open("a") as log:
        log.write("[E] Failed to establish connection to the event+metrics exporter agent. Events and metrics will not be exported.\n")
    for again in (known, sessions(tmp_path)):
        again.ship_logs()
        assert [(loss.code, loss.count) for loss in losses()] == [("gcs_exports_nothing", 1)]


def test_the_report_says_where_ray_sees_its_directory(tmp_path: Path) -> None:
    known = sessions(tmp_path)
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "session_latest").symlink_to(f"/scratch/ray/{SESSION}")
    known.saw(SESSION, NODE)
    known.saw("session_2026-11-30_10-11-12_123456_1", NODE)
    reports = [decode_report(path.read_bytes()) for path in (tmp_path / "outbox").rglob("collector.json")]
    assert {report.session: report.temp_dir for report in reports} == {SESSION: "/scratch/ray", "session_2026-11-30_10-11-12_123456_1": ""}


def test_a_directory_has_one_collector(tmp_path: Path) -> None:
    held = only_process(tmp_path / "lock")
    with pytest.raises(OSError, match="another collector uses"):
        only_process(tmp_path / "lock")
    os.close(held)
    os.close(only_process(tmp_path / "lock"))


def test_the_outbox_sends_markers_first_and_the_newest_content_once(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    sent: list[str] = []

    class Writer(LocalWriter):
        def put(self, key: str, content: bytes) -> None:
            sent.append(key)
            super().put(key, content)

    writer = Writer(tmp_path / "bucket")
    outbox = Outbox(tmp_path / "outbox")
    outbox.put("cluster-history/x", b"1")
    outbox.put("cluster-history/x", b"2")
    outbox.put("cluster-metadata/m/n/s", b"")
    Outbox(tmp_path / "outbox").send(writer)
    assert sent == ["cluster-metadata/m/n/s", "cluster-history/x"]
    assert (tmp_path / "bucket" / "cluster-history" / "x").read_bytes() == b"2"
    assert outbox.waiting() == []
    outbox.put("cluster-history/x", b"2")
    assert outbox.waiting() == []
    outbox.put("cluster-history/x", b"3")
    outbox.drop("cluster-history/x")
    assert outbox.waiting() == []


def test_rays_directory_tells_session_node_role_and_whether_it_runs(tmp_path: Path) -> None:
    ray = RayNode(tmp_path)
    assert ray.session() is None
    directory = tmp_path / SESSION
    (directory / "logs").mkdir(parents=True)
    (tmp_path / "session_latest").symlink_to(f"/elsewhere/{SESSION}")
    assert ray.session() == SESSION
    assert (ray.node_id(SESSION), ray.is_head(SESSION), ray.runs(SESSION)) == (None, False, False)
    (directory / "logs" / "raylet.out").write_text(f"[I] raylet: Setting node ID node_id={NODE}\n")
    assert ray.node_id(SESSION) == NODE
    (directory / f"metrics_export_port_{'ab' * 28}").touch()
    assert ray.node_id(SESSION) == "ab" * 28
    (directory / "logs" / "gcs_server.out").touch()
    assert ray.is_head(SESSION)


def test_a_raylet_is_found_at_the_end_of_a_path_that_no_socket_address_holds(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 90) / SESSION / "sockets"
    directory.mkdir(parents=True)
    opened = os.open(directory, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as raylet:
        raylet.bind(f"/proc/self/fd/{opened}/raylet")
        raylet.listen()
        assert RayNode(directory.parent.parent).runs(SESSION)
    os.close(opened)
    assert not RayNode(directory.parent.parent).runs(SESSION)


@pytest.mark.parametrize(("kind", "name"), [("", ""), ("rayjob", "nightly"), ("rayservice", "api")])
def test_markers_are_those_that_readers_know(kind: str, name: str) -> None:
    cluster = Cluster(CollectSettings(collect_cluster="c", collect_namespace="ns", collect_owner_kind=kind, collect_owner_name=name))  # type: ignore[arg-type]
    session = session_of_marker(cluster.marker(SESSION))
    assert session == cluster.session(SESSION)
    assert session is not None
    assert (session.namespace, session.cluster, session.owner_kind or "", session.owner_name or "") == ("ns", "c", kind, name)
    assert cluster.answer(SESSION, "/api/serve/applications/").endswith(f"/c/{SESSION}/fetched_endpoints/restful__api__serve__applications")


@pytest.mark.parametrize(
    "settings", [{"cluster": "Upper"}, {"cluster": "a_b"}, {"namespace": ".."}, {"owner_kind": "rayjob"}, {"owner_name": "x"}]
)
def test_a_cluster_that_no_reader_would_list_is_refused_at_the_start(settings: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        Cluster(CollectSettings(**{f"collect_{name}": value for name, value in settings.items()}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "all_types"), [("2.51.0", False), ("2.53.0", False), ("2.54.0", True), ("2.60.0", True), (None, False)]
)
def test_ray_before_2_54_is_given_a_list_of_types(version: str | None, all_types: bool) -> None:
    environment = ray_environment(parse_version(version) if version else None, "http://127.0.0.1:8084/v1/events")
    types = environment["RAY_DASHBOARD_AGGREGATOR_AGENT_EXPOSABLE_EVENT_TYPES"]
    assert (types == "ALL") is all_types
    assert all_types or {"TASK_PROFILE_EVENT", "TASK_LIFECYCLE_EVENT", "ACTOR_LIFECYCLE_EVENT"} <= set(types.split(","))


@pytest.mark.parametrize("version", ["2.50.1", "1.13.0", "0.1"])
def test_a_ray_that_exports_nothing_is_named(version: str) -> None:
    with pytest.raises(SettingsError, match="or newer"):
        ray_environment(parse_version(version), "x")


def test_what_kuberays_operator_injects_configures_the_collector() -> None:
    injected = {
        "POD_IP": "10.0.0.7",
        "RAY_CLUSTER_NAME": "raycluster-historyserver",
        "RAY_CLUSTER_NAMESPACE": "team",
        "RAY_ROLE": "Head",
        "EVENTS_PORT": "8084",
        "OWNER_KIND": "RayJob",
        "OWNER_NAME": "nightly",
        "RAY_DASHBOARD_ADDRESS": "http://localhost:8265",
        "RAY_COLLECTOR_POLL_INTERVAL": "1m30s",
        "RAY_COLLECTOR_EVENT_MAX_DISK_MB": "200",
        "RAY_COLLECTOR_EVENT_ROTATION_INTERVAL": "nonsense",
    }
    settings = CollectSettings(**kuberay_collector(injected))
    assert (settings.collect_cluster, settings.collect_namespace, settings.collect_role) == ("raycluster-historyserver", "team", "head")
    assert (settings.collect_owner_kind, settings.collect_owner_name) == ("rayjob", "nightly")
    assert (settings.collect_poll, settings.collect_buffer, settings.collect_rotation) == (90.0, 200 << 20, 60.0)
    assert kuberay_collector({"RAY_ROLE": "Head", "RAY_HISTORY_COLLECT_ROLE": "worker"}) == {}


def test_a_report_is_json_for_people(tmp_path: Path) -> None:
    published: list[bytes] = []
    Reporter(tmp_path / "report.json", SESSION, NODE, "worker", published.append).begin("/tmp/ray")
    assert json.loads(published[0])["role"] == "worker"
    assert b"\n" in published[0]
