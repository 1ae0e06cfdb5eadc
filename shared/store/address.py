"""Where a Redis is, from its URL: one server, Sentinels that know the master, or a Redis Cluster.

    redis://[user:password@]host[:6379][/db]            rediss:// with TLS
    unix://[user:password@]/path/to/socket[?db=0]
    sentinel://[user:password@]host1[:26379],host2/db?master=NAME[&sentinel_username=...&sentinel_password=...]
    cluster://[user:password@]host1[:6379],host2        any node or nodes: they name the others

User and password before the hosts are the data servers'. `sentinels://` and `clusters://` use TLS. Other clients' names for these schemes
(`redis+sentinel://`, `rediss+cluster://`, ...) and Kombu's `sentinel://host1;sentinel://host2` work, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from redis.connection import parse_url

Kind = Literal["server", "sentinel", "cluster"]
Node = tuple[str, int]

# Scheme: what it leads to, and whether with TLS.
_SCHEMES: dict[str, tuple[Kind, bool]] = {
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("server", False),
    **dict.fromkeys(("sentinel", "redis+sentinel", "redis-sentinel"), ("sentinel", False)),
    **dict.fromkeys(("sentinels", "rediss+sentinel", "rediss-sentinel"), ("sentinel", True)),
    **dict.fromkeys(("cluster", "redis+cluster", "redis-cluster"), ("cluster", False)),
    **dict.fromkeys(("clusters", "rediss+cluster", "rediss-cluster"), ("cluster", True)),
}
_PORTS: dict[Kind, int] = {"server": 6379, "sentinel": 26379, "cluster": 6379}
_MASTER = ("master", "master_name", "service_name")
_CREDENTIALS = ("username", "password", "sentinel_username", "sentinel_password")
_ANOTHER_URL = re.compile(r"(?:/\d*)?[;,][a-z+-]+://(?:[^@/;]*@)?")
_USER_INFO = re.compile(r"(://)[^/\s]*@")
# What stands in a wrong place may be half of a password: it is not quoted.
_HINT = " (is a password in it percent-encoded?)"
_SECRET_OPTION = re.compile(r"([?&]\w*(?:password|username)=)[^&\s]*")


def is_redis(url: str) -> bool:
    """Does it start like one of the URLs above? Other brokers' do not."""
    return url.partition("://")[0] in _SCHEMES


def without_secrets(text: str) -> str:
    """A URL, or a message that quotes one, as it may be shown."""
    return _SECRET_OPTION.sub(r"\1***", _USER_INFO.sub(r"\1***@", text))


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """`nodes`: the server, the Sentinels, or some nodes of the Cluster. `path`: of a Unix socket, which has no nodes.

    `options`: what else the query says, for redis-py's connections (`ssl_certfile`, `protocol`, ...).
    """

    kind: Kind
    nodes: tuple[Node, ...]
    path: str = ""
    tls: bool = False
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    master: str = ""
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    options: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises ValueError, whose text holds no secret."""
        if not is_redis(url):
            raise ValueError("must start with redis://, rediss://, unix://, sentinel:// or cluster://")
        scheme, _, rest = url.partition("://")
        kind, tls = _SCHEMES[scheme]
        parts = urlsplit(f"//{_ANOTHER_URL.sub(',', rest)}")
        user, at, hosts = parts.netloc.rpartition("@")
        # redis-py knows what the query may say, and how it is encoded.
        options = parse_url(f"unix://{user}{at}{parts.path}?{parts.query}")
        options.pop("connection_class")
        path, master = options.pop("path", ""), next((options.pop(name) for name in _MASTER if name in options), "")
        given = {name: options.pop(name) for name in _CREDENTIALS if name in options}
        if scheme == "unix":
            if hosts or not path:
                raise ValueError("names no socket: unix:///path/to/socket")
            return cls(kind, (), path, db=_database(options.pop("db", 0)), options=options, **given)
        nodes = tuple(_node(host, _PORTS[kind]) for host in hosts.split(","))
        db = _database(options.pop("db", path.strip("/") or 0))
        if kind == "server" and len(nodes) > 1:
            raise ValueError("names several hosts: sentinel:// and cluster:// are for those")
        if kind == "sentinel" and not master:
            raise ValueError("names no master: sentinel://host1,host2/0?master=NAME")
        if kind == "cluster" and db:
            raise ValueError(f"a Redis Cluster has no database {db}, only 0")
        return cls(kind, nodes, "", tls, db, master=master, options=options, **given)

    @property
    def where(self) -> str:
        """For messages."""
        hosts = self.path or ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.nodes)
        return {"server": hosts, "sentinel": f"master {self.master!r} of Sentinel {hosts}", "cluster": f"Cluster {hosts}"}[self.kind]


def _node(text: str, port: int) -> Node:
    try:
        parts = urlsplit(f"//{text}")
        given = parts.port
    except ValueError as exc:
        raise ValueError(f"has no host and port where they belong{_HINT}") from exc
    return parts.hostname or "127.0.0.1", given or port


def _database(given: object) -> int:
    if not str(given).isdecimal():
        raise ValueError(f"has no number for its database{_HINT}")
    return int(str(given))
