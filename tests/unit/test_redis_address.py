"""Redis URLs: every topology, other clients' spellings of it, and what is wrong told without a secret."""

from __future__ import annotations

import pytest

from shared.broker import broker_of
from shared.errors import SettingsError
from shared.settings import RedisSettings
from shared.store.address import RedisAddress, without_secrets


@pytest.mark.parametrize(
    ("url", "kind", "nodes", "db", "password"),
    [
        ("redis://host", "server", (("host", 6379),), 0, None),
        ("redis://:p%2Fw@host:1/3", "server", (("host", 1),), 3, "p/w"),
        ("rediss://user:pw@[::1]:7/2?protocol=3", "server", (("::1", 7),), 2, "pw"),
        ("unix:///run/redis.sock?db=2", "server", (), 2, None),
        ("unix://user:pw@/run/redis.sock", "server", (), 0, "pw"),
        ("sentinel://:pw@a:1,b/4?master=m", "sentinel", (("a", 1), ("b", 26379)), 4, "pw"),
        ("redis+sentinel://a:1,b:2/4?master_name=m", "sentinel", (("a", 1), ("b", 2)), 4, None),
        ("sentinel://:pw@a:1/1;sentinel://:pw@b:2/1?master=m", "sentinel", (("a", 1), ("b", 2)), 1, "pw"),
        ("cluster://:pw@a,b:7001", "cluster", (("a", 6379), ("b", 7001)), 0, "pw"),
        ("rediss+cluster://a:7000/0", "cluster", (("a", 7000),), 0, None),
    ],
)
def test_every_topology(url: str, kind: str, nodes: tuple[tuple[str, int], ...], db: int, password: str | None) -> None:
    found = RedisAddress.parse(url)
    assert (found.kind, found.nodes, found.db, found.password) == (kind, nodes, db, password)
    assert found.tls == url.startswith("rediss")
    assert "pw" not in repr(found) + found.where


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:6379", "must start with redis://"),
        ("amqp://host", "must start with redis://"),
        ("redis://user:hidden@host:port", "no host and port"),
        ("redis://:hid/den@host", "no host and port"),
        ("redis://user/hid/den@host", "no number for its database"),
        ("redis://:hid#den@host", "no host and port"),
        ("redis://:hidden@host/first", "no number for its database"),
        ("redis://a,b", "several hosts"),
        ("unix://:hidden@", "no socket"),
        ("sentinel://:hidden@a,b/0", "no master"),
        ("cluster://:hidden@a/1", "no database 1"),
    ],
)
def test_what_is_wrong_is_said_without_a_secret(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        RedisAddress.parse(url)
    assert "hid" not in str(caught.value)


def test_secrets_are_left_out_of_any_text() -> None:
    text = "sentinel://u:hidden@a:1/1;sentinel://:hidden@b:2/1?master=m&sentinel_password=hidden and redis://host/1"
    assert without_secrets(text) == "sentinel://***@a:1/1;sentinel://***@b:2/1?master=m&sentinel_password=*** and redis://host/1"


def _settings(**given: str) -> RedisSettings:
    return RedisSettings(**given)  # type: ignore[arg-type]


def test_the_broker_is_the_redis_unless_one_is_named() -> None:
    assert broker_of(_settings(redis_url="redis://:p%2Fw@host:1/3"), 60).url == "redis://:p%2Fw@host:1/3"
    assert broker_of(_settings(redis_url="unix:///run/redis.sock?db=2"), 60).url == "redis+socket:///run/redis.sock?virtual_host=2"
    named = broker_of(_settings(redis_url="cluster://host", broker_url="amqp://user:pw@rabbit/vhost"), 60)
    assert (named.url, named.redis) == ("amqp://user:pw@rabbit/vhost", None)
    other = broker_of(_settings(redis_url="cluster://host", broker_url="rediss://other/1"), 60)
    assert other.redis is not None
    assert other.redis.url == "rediss://other/1"
    assert other.tls is not None


def test_sentinels_are_a_broker_with_a_master() -> None:
    broker = broker_of(_settings(redis_url="sentinel://u:pw@a:1,b:2/3?master=m&sentinel_password=other"), 60)
    assert broker.url == "sentinel://u:pw@a:1/3;sentinel://u:pw@b:2/3"
    assert broker.options["master_name"] == "m"
    assert broker.options["sentinel_kwargs"]["password"] == "other"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"redis_url": "cluster://a"}, "^RAY_HISTORY_BROKER_URL is not set, and RAY_HISTORY_REDIS_URL is a Cluster"),
        ({"broker_url": "cluster://a"}, "^RAY_HISTORY_BROKER_URL: Celery cannot use a Redis Cluster"),
        ({"broker_url": "memory://"}, "^RAY_HISTORY_BROKER_URL: must start with"),
        ({"broker_url": "rabbit://:hidden@a"}, "^RAY_HISTORY_BROKER_URL: must start with"),
        ({"broker_url": "redis://:hidden@a:b"}, "^RAY_HISTORY_BROKER_URL: has no host and port"),
        ({"redis_url": "amqp://:hidden@a"}, "^RAY_HISTORY_REDIS_URL: must start with"),
    ],
)
def test_what_cannot_be_a_broker(given: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        broker_of(_settings(**given), 60)
    assert "hidden" not in str(caught.value)
