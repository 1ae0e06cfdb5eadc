"""The ways to find out who asks: one class per mode of `RAY_HISTORY_AUTH`."""

from __future__ import annotations

import ipaddress
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Protocol

from starlette.types import Scope

from api.access.caller import AllRights, Caller
from api.access.credentials import given_token
from api.access.reviewed import ReviewedCallers
from api.access.rights_file import Granted, RightsFile
from shared.errors import SettingsError
from shared.live.reviews import open_reviews
from shared.settings import AuthSettings, Settings
from shared.store.logins import Logins

_ALL = AllRights()


class Authenticator(Protocol):
    """`tokens`: callers have tokens, so that there is a login; `provider`: it is another server's."""

    tokens: bool
    provider: bool

    async def caller(self, scope: Scope) -> Caller | None:
        """Who sent this request; None: nobody who is known. Raises KubernetesUnavailable."""
        ...

    async def of_token(self, token: str) -> Caller | None:
        """Whose token this is. Raises KubernetesUnavailable."""
        ...

    async def end(self, scope: Scope) -> None:
        """The caller logs out. Raises StoreUnavailable."""
        ...

    async def aclose(self) -> None: ...


class Anyone:
    """`none`: everybody may do everything; callers are told apart by their address."""

    tokens = False
    provider = False

    async def caller(self, scope: Scope) -> Caller | None:
        return _by_address(_address(scope))

    async def of_token(self, token: str) -> Caller | None:  # noqa: ARG002 - there are none
        return None

    async def end(self, scope: Scope) -> None:
        """A cookie that is deleted is all that there was."""

    async def aclose(self) -> None:
        """Nothing is open."""


class _ByToken(ABC):
    """A bearer token, or the cookie that a login left."""

    tokens = True
    provider = False

    async def caller(self, scope: Scope) -> Caller | None:
        token = given_token(scope)
        return await self.of_token(token) if token else None

    @abstractmethod
    async def of_token(self, token: str) -> Caller | None:
        """Whose it is; None: nobody's. Raises KubernetesUnavailable where Kubernetes decides and cannot be asked."""

    async def end(self, scope: Scope) -> None:  # noqa: B027 - only one keeps logins
        """A cookie that is deleted is all that there was."""

    async def aclose(self) -> None:  # noqa: B027 - only some have anything open
        """Nothing is open."""


class FileTokens(_ByToken):
    """`token`: those of the rights file."""

    def __init__(self, settings: AuthSettings) -> None:
        """Raises SettingsError."""
        if not settings.auth_file:
            raise SettingsError("RAY_HISTORY_AUTH_FILE: RAY_HISTORY_AUTH=token needs the file with the tokens (`ray-history token --help`)")
        self._file = RightsFile(settings.auth_file)

    async def of_token(self, token: str) -> Caller | None:
        return self._file.granted().of_token(token)


class KubernetesTokens(_ByToken):
    """`kubernetes`: tokens that the cluster knows, with the rights that its RBAC gives."""

    def __init__(self, callers: ReviewedCallers) -> None:
        self._callers = callers

    @classmethod
    def of(cls, settings: Settings) -> KubernetesTokens:
        """Raises SettingsError."""
        if settings.live.kubernetes == "none":
            raise SettingsError("RAY_HISTORY_KUBERNETES: RAY_HISTORY_AUTH=kubernetes needs a Kubernetes to ask (incluster or kubeconfig)")
        return cls(ReviewedCallers(open_reviews(settings.live), settings.auth.auth_age))

    async def of_token(self, token: str) -> Caller | None:
        return await self._callers.of_token(token)

    async def aclose(self) -> None:
        await self._callers.aclose()


class TrustedProxy:
    """`proxy`: an authenticating proxy says who asks; nobody else is believed. Without a rights file its users may do everything."""

    tokens = False
    provider = False

    def __init__(self, settings: AuthSettings) -> None:
        """Raises SettingsError."""
        try:
            self._networks = [ipaddress.ip_network(one.strip(), strict=False) for one in settings.auth_proxies.split(",") if one.strip()]
        except ValueError as exc:
            raise SettingsError(f"RAY_HISTORY_AUTH_PROXIES: {exc}") from None
        if not self._networks:
            raise SettingsError("RAY_HISTORY_AUTH_PROXIES: RAY_HISTORY_AUTH=proxy needs the addresses of the proxies")
        self._user = settings.auth_user_header.lower().encode()
        self._groups = settings.auth_groups_header.lower().encode()
        self._file = RightsFile(settings.auth_file) if settings.auth_file else None
        self._trusts = lru_cache(maxsize=1024)(self._is_proxy)
        self._known = lru_cache(maxsize=1024)(_user_of)

    async def caller(self, scope: Scope) -> Caller | None:
        if not self._trusts(_address(scope)):
            return None
        users = [value for name, value in scope["headers"] if name == self._user]
        groups = [value for name, value in scope["headers"] if name == self._groups]
        if len(users) != 1 or not users[0].strip():
            return None
        return self._known(self._file.granted() if self._file else None, users[0], b",".join(groups))

    async def of_token(self, token: str) -> Caller | None:  # noqa: ARG002 - there are none
        return None

    async def end(self, scope: Scope) -> None:
        """A cookie that is deleted is all that there was."""

    async def aclose(self) -> None:
        """Nothing is open."""

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        return any(found in network for network in self._networks)


def open_authenticator(settings: Settings, logins: Logins) -> Authenticator:
    """For one event loop. Raises SettingsError."""
    auth = settings.auth
    if auth.auth == "oidc":
        # Only here: the libraries of OpenID Connect are some megabytes.
        from api.access.openid_logins import OpenIdLogins  # noqa: PLC0415

        return OpenIdLogins.of(auth, logins)
    if auth.auth == "token":
        return FileTokens(auth)
    if auth.auth == "proxy":
        return TrustedProxy(auth)
    if auth.auth == "kubernetes":
        return KubernetesTokens.of(settings)
    return Anyone()


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


@lru_cache(maxsize=4096)
def _by_address(address: str) -> Caller:
    return Caller(address, _ALL)


def _user_of(granted: Granted | None, user: bytes, groups: bytes) -> Caller | None:
    """None for a name that no log line could show."""
    name = user.decode("utf-8", "replace").strip()
    if not name.isprintable():
        return None
    listed = [group.strip() for group in groups.decode("utf-8", "replace").split(",") if group.strip()]
    return Caller(name, _ALL if granted is None else granted.of_user(name, listed))
