"""Which headers pass between a client, the proxy and a live dashboard."""

from __future__ import annotations

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

# RFC 9110 section 7.6.1: they belong to one connection.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# The client's own credentials and cookies are for the history server, not for a head that its owner controls.
PRIVATE = frozenset({b"authorization", b"cookie", b"x-ray-authorization"})
# What gateways add about the client and its identity: the head must not learn it, nor believe what a client invents.
FORWARDING = (
    b"x-forwarded-",
    b"forwarded",
    b"x-real-ip",
    b"via",
    b"x-remote-",
    b"x-auth-request-",
    b"x-amzn-oidc-",
    b"x-goog-iap-",
    b"x-goog-authenticated-user-",
    b"cf-access-",
    # The API server acts on these with *our* rights.
    b"impersonate-",
    b"sec-websocket-",
)
# What a head may say about its answer. Browsers apply other headers to all that lies under our address, other heads and our own pages too:
# `Set-Cookie`, `Service-Worker-Allowed`, `Clear-Site-Data`, `Strict-Transport-Security`, `Alt-Svc`, `Access-Control-*`.
ANSWER_PASSED = frozenset(
    {
        b"accept-ranges",
        b"allow",
        b"cache-control",
        b"content-disposition",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-range",
        b"content-security-policy",
        b"content-type",
        b"etag",
        b"expires",
        b"last-modified",
        b"location",
        b"pragma",
        b"referrer-policy",
        b"retry-after",
        b"vary",
    }
)
# Names of the application's own, which browsers do not know, but for these: reverse proxies act on them, or browsers for the whole server.
_APPLICATIONS_OWN = b"x-"
_NOT_ITS_OWN = (
    b"x-accel-",
    b"x-sendfile",
    b"x-lighttpd-",
    b"x-permitted-cross-domain-policies",
    b"x-dns-prefetch-control",
    b"x-request-id",
)


def to_head(headers: Iterable[tuple[bytes, bytes]], credentials: dict[str, str], *, client_token: bool) -> Headers:
    """A request's headers as the head gets them. `client_token`: the head wants the caller's own `X-Ray-Authorization`."""
    given = [(name.lower(), value) for name, value in headers]
    dropped = HOP_BY_HOP | PRIVATE | _named_by_connection(given) | {b"host"}
    kept = [(n, v) for n, v in given if n not in dropped and not n.startswith(FORWARDING)]
    if client_token:
        kept += [(n, v) for n, v in given if n == b"x-ray-authorization"]
    kept += [(n.encode(), v.encode()) for n, v in credentials.items()]
    names = {n for n, _ in kept}
    if b"accept-encoding" not in names:
        kept.append((b"accept-encoding", b"identity"))
    if b"user-agent" not in names:
        kept.append((b"user-agent", b"ray-history-server"))
    return kept


def to_client(headers: Iterable[tuple[bytes, bytes]], *, origin: str, prefix: str) -> Headers:
    """An answer's headers as the client gets them; redirects stay below `prefix`, the dashboard's path here."""
    given = [(name.lower(), value) for name, value in headers]
    hop = _named_by_connection(given)
    kept = [(n, _moved(v, origin, prefix) if n == b"location" else v) for n, v in given if _passes(n) and n not in hop]
    if all(n != b"cache-control" for n, _ in kept):
        kept.append((b"cache-control", b"no-store"))
    return kept


def _passes(name: bytes) -> bool:
    return name in ANSWER_PASSED or (name.startswith(_APPLICATIONS_OWN) and not name.startswith(_NOT_ITS_OWN))


def _named_by_connection(headers: Headers) -> set[bytes]:
    return {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}


def _moved(location: bytes, origin: str, prefix: str) -> bytes:
    path = location.removeprefix(origin.encode())
    return prefix.encode() + path if path.startswith(b"/") and not path.startswith(b"//") else path
