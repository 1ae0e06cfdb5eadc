"""Connection pools of one Redis server or of the master that Sentinels name: bounded, and whoever finds all connections taken waits.

redis-py has blocking pools and pools that ask Sentinels; what is both is made here, for threads and for an event loop.
"""

from __future__ import annotations

from typing import Any

from redis import BlockingConnectionPool, Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis import asyncio as aio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelConnectionPool
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from shared.store.address import RedisAddress


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Waits, and follows the master."""


class _AsyncSentinelPool(AsyncSentinelConnectionPool, aio.BlockingConnectionPool):
    """Waits, and follows the master."""


def open_pool(address: RedisAddress, options: dict[str, Any], tls: dict[str, Any]) -> ConnectionPool:
    """For threads. `options`: of every connection and of the pool; `tls`: of connections with TLS. Raises ValueError for a wrong one."""
    if address.kind == "sentinel":
        sentinel = Sentinel(address.nodes, sentinel_kwargs=_of_sentinels(address, options, tls))
        return _SentinelPool(address.master, sentinel, ssl=address.tls, **_of_data(address, options, tls))
    kind = UnixDomainSocketConnection if address.path else SSLConnection if address.tls else Connection
    return BlockingConnectionPool(connection_class=kind, **_place(address), **_of_data(address, options, tls))


def open_async_pool(address: RedisAddress, options: dict[str, Any], tls: dict[str, Any]) -> aio.ConnectionPool:
    """For one event loop; otherwise like `open_pool`."""
    if address.kind == "sentinel":
        sentinel = AsyncSentinel(list(address.nodes), sentinel_kwargs=_of_sentinels(address, options, tls, asynchronous=True))
        return _AsyncSentinelPool(address.master, sentinel, ssl=address.tls, **_of_data(address, options, tls))
    kind = aio.UnixDomainSocketConnection if address.path else aio.SSLConnection if address.tls else aio.Connection
    return aio.BlockingConnectionPool(connection_class=kind, **_place(address), **_of_data(address, options, tls))


def _place(address: RedisAddress) -> dict[str, Any]:
    if address.path:
        return {"path": address.path}
    host, port = address.nodes[0]
    return {"host": host, "port": port}


def _of_data(address: RedisAddress, options: dict[str, Any], tls: dict[str, Any]) -> dict[str, Any]:
    unfit = ("socket_keepalive",) if address.path else ()
    given = {name: value for name, value in options.items() if name not in unfit}
    named = {"db": address.db, "username": address.username, "password": address.password}
    return given | (tls if address.tls else {}) | named | address.options


def _of_sentinels(address: RedisAddress, options: dict[str, Any], tls: dict[str, Any], *, asynchronous: bool = False) -> dict[str, Any]:
    timeouts = {name: value for name, value in options.items() if name.startswith("socket_") or name == "client_name"}
    named = {"username": address.sentinel_username, "password": address.sentinel_password}
    # The next Sentinel is asked instead; once more, since a connection that was idle may have been closed.
    retry = (AsyncRetry if asynchronous else Retry)(NoBackoff(), 1)
    return timeouts | {"retry": retry} | (tls | {"ssl": True} if address.tls else {}) | named
