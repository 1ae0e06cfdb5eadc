"""The file that says who has which rights (`RAY_HISTORY_AUTH_FILE`, TOML), read anew when it changes.

[tokens.ci]
sha256 = "..."                              # of the token; `ray-history token ci` makes both
rights = { team-a = ["see", "load"], "*" = ["see"] }

[users."alice@example.com"]                 # as an authenticating proxy names them
rights = { team-a = ["see", "load", "evict", "live"] }

[groups.ml]                                 # `*`: whoever has logged in
rights = { ml = ["see", "load"] }
"""

from __future__ import annotations

import hashlib
import os
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from api.access.caller import Action, Caller
from shared.errors import SettingsError

log = structlog.get_logger()

_VARIABLE = "RAY_HISTORY_AUTH_FILE"
EVERYWHERE = "*"
EVERYBODY = "*"
_LOOKED_AT_EVERY = 1.0


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    rights: dict[str, list[Action]]


class _Token(_Entry):
    sha256: str


class _File(msgspec.Struct, forbid_unknown_fields=True):
    tokens: dict[str, _Token] = {}
    users: dict[str, _Entry] = {}
    groups: dict[str, _Entry] = {}


Grants = Mapping[str, frozenset[Action]]


class GrantedRights:
    """The sum of several grants: actions by namespace. Who may do anything in a namespace may see it."""

    def __init__(self, grants: Sequence[Grants]) -> None:
        self._by_namespace: dict[str, frozenset[Action]] = {}
        for grant in grants:
            for namespace, actions in grant.items():
                self._by_namespace[namespace] = self._by_namespace.get(namespace, frozenset()) | actions
        self._everywhere = self._by_namespace.get(EVERYWHERE, frozenset())

    async def may(self, namespace: str, action: Action) -> bool:
        return action in self._everywhere or action in self._by_namespace.get(namespace, ())

    async def visible(self, namespaces: frozenset[str]) -> frozenset[str]:
        return namespaces if "see" in self._everywhere else namespaces & self._by_namespace.keys()


@dataclass(frozen=True, slots=True, eq=False)
class Granted:
    """What one version of the file says; a new one is another. `tokens`: callers by the token's SHA-256, in hex."""

    tokens: Mapping[str, Caller]
    users: Mapping[str, Grants]
    groups: Mapping[str, Grants]

    def of_token(self, token: str) -> Caller | None:
        return self.tokens.get(token_hash(token))

    def of_user(self, user: str, groups: Sequence[str]) -> GrantedRights:
        found = [self.users.get(user), *(self.groups.get(group) for group in (*groups, EVERYBODY))]
        return GrantedRights([grants for grants in found if grants])


class RightsFile:
    """The newest version that could be read. What is wrong with a newer one is logged, and the former stays in force."""

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises SettingsError."""
        self._path = Path(path).expanduser()
        self._clock = clock
        self._looked_at = clock()
        self._version: tuple[int, int, int] | None = self._stat()
        self._granted = _read(self._path)
        self._trouble = ""

    def granted(self) -> Granted:
        now = self._clock()
        if now - self._looked_at >= _LOOKED_AT_EVERY:
            self._looked_at = now
            version = self._stat()
            if version != self._version:
                self._version = version
                self._read_again()
        return self._granted

    def _read_again(self) -> None:
        try:
            self._granted = _read(self._path)
            self._trouble = ""
            log.info("rights read again", file=str(self._path))
        except SettingsError as exc:
            # Until it can be read, whatever changes then: an access right, or a file system that is away.
            self._version = None
            if self._trouble != str(exc):
                self._trouble = str(exc)
                log.warning("rights not read: the former stay in force", error=self._trouble)

    def _stat(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - one system call a second, on the event loop
        except OSError:
            return 0, 0, 0
        return found.st_mtime_ns, found.st_size, found.st_ino


def token_hash(token: str) -> str:
    """What the file holds of a token. Tokens are long and random, so that nothing slower is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def _read(path: Path) -> Granted:
    try:
        told = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _File)
    except OSError as exc:
        raise SettingsError(f"{_VARIABLE}: {path} cannot be read ({exc.strerror or exc})") from None
    except (ValueError, msgspec.ValidationError) as exc:
        raise SettingsError(f"{_VARIABLE}: {path}: {exc}") from None
    tokens = {}
    for name, entry in told.tokens.items():
        if len(entry.sha256) != hashlib.sha256().digest_size * 2:
            raise SettingsError(f"{_VARIABLE}: {path}: tokens.{name}.sha256 is no SHA-256 in hex")
        tokens[entry.sha256.lower()] = Caller(name, GrantedRights([_grants(entry)]))
    users = {name: _grants(entry) for name, entry in told.users.items()}
    return Granted(tokens, users, {name: _grants(entry) for name, entry in told.groups.items()})


def _grants(entry: _Entry) -> Grants:
    return {namespace: frozenset([*actions, "see"]) for namespace, actions in entry.rights.items() if actions}
