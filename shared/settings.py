"""Every setting, from the environment (prefix `RAY_HISTORY_`): frozen, one class per concern, built once at the edge.

`docs/configuration.md` is generated from these classes (`make docs`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import SettingsError
from shared.kuberay_env import kuberay_collector, kuberay_storage

_TEN_YEARS = 315_360_000


def _at_most_ten_years(seconds: float) -> float:
    if seconds > _TEN_YEARS:
        raise PydanticCustomError("too_long", "Input should be at most ten years")
    return seconds


# No store takes an endless time.
Seconds = Annotated[float, Field(gt=0), AfterValidator(_at_most_ten_years)]
SecondsOrNone = Annotated[float, Field(ge=0), AfterValidator(_at_most_ten_years)]
WholeSeconds = Annotated[int, AfterValidator(_at_most_ten_years)]
Bytes = Annotated[int, Field(gt=0)]
# Of at most a few hundred years: a longer one has no date that it began at.
AGE = r"\d{1,6}h|\d{1,5}d|\d{1,4}w"
AGES = rf"^\s*(([^\s,=]+\s*=\s*)?({AGE}|never)\s*(,\s*|$))*$"
"""Ages, of which each may name a namespace: `90d,team-a=2w,team-b=never`."""

_MIB = 1 << 20


class _Concern(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="RAY_HISTORY_", frozen=True, extra="ignore", env_ignore_empty=True)


class StorageSettings(_Concern):
    """Where the collector's bucket is."""

    storage: str = Field("", description="Storage URL: file:///dir, s3://bucket[/root], gs://bucket[/root], az://container[/root].")
    storage_timeout: Seconds = Field(30.0, description="Deadline of one storage call, in seconds.")
    storage_connections: int = Field(32, ge=1, description="Connections to the object store per process.")
    storage_endpoint: str = Field(
        "", description="Endpoint URL of the object store; empty: the provider's own (for S3 also AWS_ENDPOINT_URL_S3)."
    )
    storage_region: str = Field("", description="Region of the S3 bucket; empty: AWS_REGION or the AWS profile's.")
    storage_path_style: bool | None = Field(
        None, description="S3 buckets in the path instead of the host name; unset: with other endpoints than the clouds' own."
    )
    storage_key_id: str = Field("", description="S3 access key id; empty: the AWS credential chain (environment, profile, role).")
    storage_secret: SecretStr = Field(SecretStr(""), description="S3 secret access key.")
    storage_session_token: SecretStr = Field(SecretStr(""), description="S3 session token of temporary credentials.")
    storage_connection_string: SecretStr = Field(
        SecretStr(""), description="Azure connection string; empty: AZURE_STORAGE_* or a managed identity."
    )
    storage_read_ahead: Bytes = Field(64 * _MIB, description="Bytes of event files that one worker reads ahead.")
    catalogue_max_age: SecondsOrNone = Field(15.0, description="How old a cached listing of clusters may be, in seconds.")


class RedisSettings(_Concern):
    """The Redis that holds claims, load status and snapshots, and the broker of the Celery queue."""

    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis: `redis://[user:password@]host:port/db`, `rediss://` for TLS, `unix:///path?db=0`, "
        "`sentinel://[user:password@]host1:26379,host2/db?master=NAME` (Sentinels with passwords of their own: "
        "`&sentinel_username=...&sentinel_password=...`; `sentinels://` for TLS), or `cluster://[user:password@]host1:6379,host2` "
        "(`clusters://` for TLS).",
    )
    broker_url: SecretStr = Field(
        SecretStr(""),
        description="Broker of the queue: a Redis URL as above, but no Cluster, or `amqp://user:password@host:5672/vhost` (RabbitMQ; "
        "`amqps://` for TLS) or another that Celery speaks. Empty: RAY_HISTORY_REDIS_URL, unless that is a Cluster.",
    )
    redis_prefix: str = Field(
        "rhs", pattern=r"^[A-Za-z0-9_.-]+$", description="What all keys in Redis begin with, where others use the same server."
    )
    redis_ca: str = Field("", description="File with the certificate authorities of servers reached by TLS; empty: the system's.")
    redis_timeout: Seconds = Field(5.0, description="Socket timeout of one Redis call, and longest wait for a free connection, in seconds.")
    redis_connections: int = Field(64, ge=2, description="Redis connections per process at most (of a Cluster: to each node).")

    @property
    def url(self) -> str:
        return self.redis_url.get_secret_value()

    @property
    def broker(self) -> str:
        """The broker's own URL, or "" when it is to be the Redis."""
        return self.broker_url.get_secret_value()


class LoadSettings(_Concern):
    """How sessions are loaded and how long their snapshots live."""

    lease: Seconds = Field(20.0, description="A running load's claim lasts this long without renewal, in seconds.")
    lease_renewal: Seconds = Field(5.0, description="How often a running load renews its claim, in seconds; three times a lease at least.")
    queue_limit: int = Field(10_000, ge=0, description="Messages that may wait in the queue; with more no load is started. 0: any number.")
    queue_lease: Seconds = Field(
        120.0, description="A claim that nobody visits or works on lasts so long, in seconds; two leases at least."
    )
    freshness: SecondsOrNone = Field(
        60.0, description="A visit looks this often at most whether the bucket holds more of a loaded session, in seconds; 0: never."
    )
    load_attempts: int = Field(3, ge=1, description="Attempts to load a session before it is failed.")
    retry_after_failure: Seconds = Field(60.0, description="A failed session may be tried again after this many seconds.")
    retry_partial_after: Seconds = Field(60.0, description="A partial snapshot is loaded again at a visit after this many seconds.")
    load_time_limit: Seconds = Field(
        1800.0, description="Hard limit of one loading task, in seconds; well below the broker's visibility timeout."
    )
    snapshot_ttl: Seconds = Field(3600.0, description="A snapshot expires this long after its last use, in seconds.")
    snapshot_grace: Seconds = Field(60.0, description="A replaced snapshot stays readable this long, in seconds.")
    snapshot_budget: Bytes = Field(2048 * _MIB, description="Bytes that all snapshots together may take in Redis.")
    part_bytes: Bytes = Field(32 * _MIB, description="Event bytes (unpacked) that one part of a parallel load reads.")
    max_line_bytes: int = Field(
        64 * _MIB, ge=_MIB, description="A longer line of an event file, or of a log event file, is left out: the file is a loss."
    )
    max_file_bytes: Bytes = Field(
        8192 * _MIB, description="What an event file holds beyond so many bytes (unpacked) is left out: the file is a loss."
    )
    engine: Literal["auto", "native", "python"] = Field(
        "auto", description="What reads task events: the core in Rust, the plain Python one, or (auto) the core where it is installed."
    )
    range_tasks: int = Field(10_000, ge=1, description="Task attempts that one merge range aims at.")

    @property
    def claim_ttl(self) -> float:
        """In seconds. Work on a load renews its claim more often than this, and a lease that ran out is seen before the claim expires."""
        return max(self.queue_lease, 2 * self.lease)

    @property
    def renewal(self) -> float:
        """In seconds."""
        return min(self.lease_renewal, self.lease / 3)


class ApiSettings(_Concern):
    """The HTTP side."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on.")
    host_names: str = Field(
        "",
        description="Names by which clients reach the server, separated by commas (`*.example.com`: all below it; `*`: any). Addresses and "
        "localhost are always accepted. Empty: only those when it listens on loopback, else any.",
    )
    head_bytes: int = Field(65_536, ge=1024, description="Largest request line and headers together, in bytes; more is 431.")
    head_timeout: Seconds = Field(10.0, description="Time for a request's headers to arrive, in seconds.")
    idle_connections: int = Field(
        1000, ge=10, description="Connections without a request per process; of more, the one that waits longest is closed."
    )
    drain: SecondsOrNone = Field(
        0.0, description="Seconds that an API process goes on to answer after SIGTERM, with /readz 503, before it closes its port."
    )
    shutdown_grace: Seconds = Field(8.0, description="Seconds that open requests may take to end once the port is closed.")
    wait_limit: float = Field(30.0, ge=0, le=30, description="Longest `Prefer: wait` in seconds.")
    enter_wait: SecondsOrNone = Field(
        0.0,
        description="KubeRay's way: seconds that /enter_cluster holds its answer until a load ends, then 503; 0: 202 at once.",
    )
    dashboard_wait: SecondsOrNone = Field(
        10.0, description="Time that a dashboard route waits for a load before it answers 503, in seconds."
    )
    block_cache: Bytes = Field(256 * _MIB, description="Bytes of unpacked snapshot blocks and answers that one API process keeps.")
    dashboard_dir: str = Field(
        "", description="Builds of the Ray dashboard's frontend, one per Ray version below this directory; each session gets its own."
    )
    grafana_url: str = Field(
        "",
        pattern=r"^(https?://[^\s;,'\"]+)?$",
        description="Grafana that still has the metrics of ended clusters, as browsers reach it; its panels show the session's time.",
    )
    cookie_sessions: bool = Field(
        True, description="Routes at the root answer for the session of the cookies; false: sessions have their own paths only."
    )
    loads_per_minute: int = Field(600, ge=0, description="Cold loads that one caller may start per minute; 0: any number.")
    lists_per_minute: int = Field(6000, ge=0, description="Listings of sessions that one caller may ask for per minute; 0: any number.")
    event_streams: int = Field(200, ge=1, description="Streams of load events that one process serves at the same time.")
    exports: int = Field(8, ge=1, description="Files of /export that one process writes at the same time; each takes up to some 100 MiB.")
    cookie_age: WholeSeconds = Field(600, ge=60, description="Lifetime of the session cookies, in seconds.")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.host_names.split(",") if name.strip())


class AuthSettings(_Concern):
    """Who may see and do what (docs/authentication.md)."""

    auth: Literal["none", "token", "proxy", "kubernetes", "oidc"] = Field(
        "none",
        description="How callers are known: none (everybody may do everything), token (bearer tokens of RAY_HISTORY_AUTH_FILE), proxy (an "
        "authenticating proxy names the user), kubernetes (bearer tokens and RBAC of the cluster), oidc (an OpenID Connect provider).",
    )
    auth_file: str = Field("", description="File with tokens, users, groups and their rights (TOML); read again when it changes.")
    auth_proxies: str = Field("", description="Addresses or networks of the proxies that are believed, separated by commas.")
    auth_user_header: str = Field("X-Forwarded-User", pattern=r"^[A-Za-z0-9-]+$", description="Header in which they name the user.")
    auth_groups_header: str = Field(
        "X-Forwarded-Groups", pattern=r"^[A-Za-z0-9-]+$", description="Header in which they name the user's groups, separated by commas."
    )
    auth_age: Seconds = Field(
        60.0, description="How long an answer of Kubernetes about a caller is kept, in seconds: so long a revoked one may go on."
    )
    login_age: WholeSeconds = Field(43_200, ge=60, description="Lifetime of a login, and of its cookie, in seconds.")
    oidc_issuer: str = Field("", pattern=r"^(https?://\S+)?$", description="OpenID Connect provider, as it calls itself (`iss`).")
    oidc_client_id: str = Field("", description="Client id that the provider gave this server.")
    oidc_client_secret: SecretStr = Field(SecretStr(""), description="Client secret; none for a public client.")
    oidc_client_secret_file: str = Field("", description="File that holds the client secret instead.")
    oidc_redirect_url: str = Field(
        "", pattern=r"^(https?://\S+)?$", description="`/login/callback` as browsers reach it; empty: by the name that the browser uses."
    )
    oidc_scopes: str = Field("openid email profile", description="Scopes that the provider is asked for, separated by spaces.")
    oidc_user_claim: str = Field("email", min_length=1, description="Claim of the ID token that names the user in RAY_HISTORY_AUTH_FILE.")
    oidc_groups_claim: str = Field("groups", description="Claim of the ID token that lists the user's groups.")


class WorkerSettings(_Concern):
    """A worker and its own small HTTP server."""

    worker_host: str = Field("127.0.0.1", description="Address on which a worker serves /metrics, /livez and /readz.")
    worker_port: int = Field(0, ge=0, le=65535, description="Port for them; 0: none.")
    worker_grace: Seconds = Field(
        10.0, description="Seconds that running tasks may take to end after SIGTERM; what still runs then is handed back to the queue."
    )


class JobIndexSettings(_Concern):
    """The index of jobs over all sessions, which one of the workers fills in the background."""

    job_index: bool = Field(True, description="Fill and serve the index of jobs, `/jobs`.")
    job_index_interval: Seconds = Field(30.0, description="The bucket is looked through for new sessions this often, in seconds.")
    job_index_sessions: int = Field(10_000, ge=1, description="Sessions in the index at most, the newest ones.")


class RetentionSettings(_Concern):
    """Deleting old sessions from the bucket, which one of the workers does on a schedule. Needs the right to delete there."""

    retention: str = Field(
        "",
        pattern=AGES,
        description="Delete sessions that nothing was added to for so long: `90d`, in h, d or w, or by namespace: "
        "`90d,team-a=2w,team-b=never`. Empty: nothing is deleted.",
    )
    retention_keep_failed: bool = Field(False, description="Keep sessions in which a submitted job failed.")
    retention_interval: Seconds = Field(86_400.0, description="Old sessions are looked for this often, in seconds.")


class FlowerSettings(_Concern):
    """Celery's web page, `ray-history flower`."""

    flower_host: str = Field("127.0.0.1", description="Address to listen on.")
    flower_port: int = Field(5555, ge=0, le=65535, description="Port to listen on.")
    flower_user: str = Field("admin", pattern=r"^[^:\s]+$", description="User name of its basic authentication.")
    flower_password: SecretStr = Field(SecretStr(""), description="Password; without one Flower does not start.")
    flower_unauthenticated: bool = Field(False, description="Start Flower without a password: whoever reaches its port is let in.")
    flower_read_only: bool = Field(True, description="Flower only shows; false: it may also end tasks and workers.")
    flower_prefix: str = Field("", description="Path below which a reverse proxy shows Flower, without slashes.")


class LiveSettings(_Concern):
    """Clusters that still run: how Kubernetes and their dashboards are reached."""

    kubernetes: Literal["none", "incluster", "kubeconfig"] = Field("none", description="Where clusters run; none: all sessions are dead.")
    kubeconfig: str = Field("", description="Kubeconfig file; empty: the default places.")
    kube_context: str = Field("", description="Context of the kubeconfig; empty: its current one.")
    kubernetes_namespaces: str = Field("", description="Namespaces to watch, separated by commas; others' sessions are dead. Empty: all.")
    kubernetes_timeout: Seconds = Field(5.0, description="Deadline of one call of the Kubernetes API, in seconds.")
    kubernetes_qps: float = Field(20.0, gt=0, description="Calls of the Kubernetes API per second and process.")
    kubernetes_burst: int = Field(40, ge=1, description="Calls of the Kubernetes API that may be made at once, beyond the rate.")
    kubernetes_resync: Seconds = Field(300.0, description="The clusters are listed anew this often, in seconds, and watched in between.")
    kubernetes_max_age: Seconds = Field(300.0, description="With a broken watch, the last listing is used this long, in seconds.")
    announced: bool = Field(
        False,
        description="Without Kubernetes: believe what collectors announce of running clusters, and ask their dashboards.",
    )
    announced_age: Seconds = Field(60.0, description="A cluster whose collector was silent for so long is dead, in seconds.")
    token_age: SecondsOrNone = Field(5.0, description="How long a dashboard token that was read from its Secret is kept, in seconds.")
    dashboard_access: Literal["service", "apiserver"] = Field("service", description="Reach dashboards by service or by API server.")
    dashboard_host: str = Field("{service}.{namespace}.svc", description="Host name of a head service.")
    live_check_timeout: Seconds = Field(5.0, description="Deadline of asking a head for its session, retries included, in seconds.")
    live_check_age: SecondsOrNone = Field(2.0, description="How long a head's answer about its session is kept, in seconds.")
    proxy_methods: str = Field("GET,HEAD", description="HTTP methods that reach a live dashboard, separated by commas.")
    proxy_connect_timeout: Seconds = Field(3.0, description="Deadline of connecting to a live dashboard, in seconds.")
    proxy_answer_timeout: Seconds = Field(60.0, description="Deadline of the first byte of a live dashboard's answer, in seconds.")
    proxy_idle_timeout: Seconds = Field(600.0, description="A live answer's body may pause this long, in seconds.")
    proxy_connections: int = Field(200, ge=1, description="Connections to live dashboards per process at most.")

    @property
    def namespaces(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(n.strip() for n in self.kubernetes_namespaces.split(",") if n.strip()))

    @property
    def methods(self) -> frozenset[str]:
        return frozenset(m.strip().upper() for m in self.proxy_methods.split(",") if m.strip())


class CollectSettings(_Concern):
    """The collector beside a Ray node, `ray-history collect`. KubeRay's names for its own collector are understood, too."""

    collect_host: str = Field("127.0.0.1", description="Address on which the collector takes Ray's events.")
    collect_port: int = Field(8084, ge=1, le=65535, description="Port for them; Ray is given it by `ray-history ray-env`.")
    collect_cluster: str = Field("ray", description="Name of the cluster, as its sessions will be listed.")
    collect_namespace: str = Field("default", description="Namespace of the cluster.")
    collect_owner_kind: Literal["", "rayjob", "rayservice"] = Field("", description="Kind of the cluster's owner; empty: none.")
    collect_owner_name: str = Field("", description="Name of the cluster's owner.")
    collect_role: Literal["auto", "head", "worker"] = Field("auto", description="Role of this Ray node; auto: a head has a GCS's logs.")
    collect_dir: str = Field(
        "", description="Where events are kept until they are uploaded; empty: `history-collector` in Ray's directory."
    )
    collect_buffer: Bytes = Field(
        1024 * _MIB, description="Packed bytes of events kept there at most; beyond them Ray is told to wait (503)."
    )
    collect_rotation: Seconds = Field(60.0, description="Events are uploaded at the latest this long after they came, in seconds.")
    collect_rotation_bytes: Bytes = Field(32 * _MIB, description="Bytes of events (unpacked) that are uploaded at once.")
    collect_ray_dir: str = Field("/tmp/ray", description="Ray's temporary directory, which holds its sessions.")  # noqa: S108 - Ray's default
    collect_dashboard: str = Field("http://127.0.0.1:8265", description="Address of the Ray dashboard, as the head's collector reaches it.")
    collect_poll: Seconds = Field(30.0, description="The dashboard's answers that no event holds are stored this often, in seconds.")
    collect_endpoints: str = Field("", description="Further dashboard paths whose answers are stored, separated by commas.")
    collect_announce: str = Field(
        "",
        description="Address of the dashboard as the history server reaches it: the running cluster shows as live. Empty: not announced.",
    )
    collect_log_interval: Seconds = Field(300.0, description="A log that is still written is uploaded again this often, in seconds.")
    collect_linger: SecondsOrNone = Field(5.0, description="Seconds after SIGTERM in which Ray's last events are waited for.")
    collect_grace: Seconds = Field(25.0, description="Seconds after SIGTERM in which everything is uploaded, what matters most first.")

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(path.strip() for path in self.collect_endpoints.split(",") if path.strip())


class LogSettings(_Concern):
    """Our own logs."""

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity that is logged.")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="JSON lines, or human ones on a terminal.")


@dataclass(frozen=True, slots=True)
class Settings:
    """All of them, as one process reads them at its start."""

    storage: StorageSettings
    redis: RedisSettings
    load: LoadSettings
    api: ApiSettings
    log: LogSettings
    live: LiveSettings = field(default_factory=LiveSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    flower: FlowerSettings = field(default_factory=FlowerSettings)
    collect: CollectSettings = field(default_factory=CollectSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    jobs: JobIndexSettings = field(default_factory=JobIndexSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)

    @classmethod
    def from_environment(cls) -> Settings:
        """Raises SettingsError with one line that names the variable."""
        try:
            return cls(
                StorageSettings(**kuberay_storage(os.environ)),
                RedisSettings(),
                LoadSettings(),
                ApiSettings(),
                LogSettings(),
                LiveSettings(),
                WorkerSettings(),
                FlowerSettings(),
                CollectSettings(**kuberay_collector(os.environ)),
                auth=AuthSettings(),
                jobs=JobIndexSettings(),
                retention=RetentionSettings(),
            )
        except ValidationError as exc:
            first = exc.errors()[0]
            name = "RAY_HISTORY_" + "_".join(str(part) for part in first["loc"]).upper()
            raise SettingsError(f"{name}: {first['msg']} (given: {first['input']!r})") from None
