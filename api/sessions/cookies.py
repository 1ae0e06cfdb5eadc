"""The five cookies that name a session for routes at the root. Never trusted for more than that (KubeRay: `enterCluster`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from http.cookies import SimpleCookie

from shared.errors import InvalidReference, NoSessionChosen
from shared.sessions import SessionRef

NAMES = ("cluster_name", "cluster_namespace", "session_name", "owner_kind", "owner_name")


def reference_of(cookies: Mapping[str, str]) -> SessionRef:
    """Raises NoSessionChosen without cookies, InvalidReference for what no cluster could be called."""
    cluster, namespace, session = (cookies.get(name, "") for name in NAMES[:3])
    kind, owner = cookies.get("owner_kind", ""), cookies.get("owner_name", "")
    if not cluster and not namespace and not session and not owner:
        raise NoSessionChosen("no session is chosen: GET /enter_cluster/{namespace}/{kind}/{name}/{session} sets the cookies for one")
    if bool(kind) != bool(owner):
        raise InvalidReference("the cookies owner_kind and owner_name belong together")
    return SessionRef.of(namespace, kind or "raycluster", owner or cluster, session)


@lru_cache(maxsize=1024)
def cookie_headers(ref: SessionRef, max_age: int) -> tuple[tuple[bytes, bytes], ...]:
    """`Set-Cookie` headers for a reference."""
    owned = ref.kind != "raycluster"
    values = (ref.name, ref.namespace, ref.session, ref.kind if owned else "", ref.name if owned else "")
    jar: SimpleCookie = SimpleCookie()
    for name, value in zip(NAMES, values, strict=True):
        jar[name] = value
        jar[name]["path"] = "/"
        jar[name]["max-age"] = str(max_age)
        jar[name]["httponly"] = jar[name]["samesite"] = "Lax"
    return tuple((b"set-cookie", morsel.OutputString().replace('=""', "=").encode("latin-1")) for morsel in jar.values())
