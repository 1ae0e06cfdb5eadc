"""`ray-history config`: the effective settings, and the reference page that `make docs` writes from the same classes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from difflib import get_close_matches
from typing import Annotated, Any, get_args

import typer
from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from cli.output import aligned
from shared import settings as declared
from shared.kuberay_env import kuberay_sources
from shared.settings import Settings

PREFIX = "RAY_HISTORY_"
_MASK = "***"
_PASSWORD = re.compile(r"://([^:@/;,]*).*@")
_SIGNS: tuple[tuple[type, str, str], ...] = ((Gt, "gt", ">"), (Ge, "ge", "≥"), (Le, "le", "≤"))

_INTRODUCTION = """\
# Configuration

Every setting comes from the environment; a command line option of the same name wins where a command has one.
`ray-history config` prints the effective values of an environment, with secrets masked, and where each comes from.
A variable of this prefix that is no setting is warned of: it is most likely misspelt.
A wrong value stops the start with one line that names the variable.

Written by `make docs` from `shared/settings.py`: change it there.
"""


def config(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    reference: Annotated[bool, typer.Option("--reference", help="Print what every setting means instead, as Markdown.")] = False,
) -> None:
    """Print the effective settings, with secrets masked."""
    if reference:
        print(reference_page(), end="")
        return
    effective = list(_effective(Settings.from_environment()))
    if as_json:
        print(json.dumps({name: value for name, value, _ in effective}, indent=2))
        return
    rows = [(name, "" if value is None else str(value), source) for name, value, source in effective]
    print(aligned(("VARIABLE", "VALUE", "FROM"), rows))


def reference_page() -> str:
    """docs/configuration.md: one table per concern."""
    parts = [_INTRODUCTION]
    for concern in _concerns():
        parts.append(f"\n## {concern.__name__.removesuffix('Settings')}\n\n{(concern.__doc__ or '').strip()}\n")
        parts.append("| variable | default | meaning |\n| --- | --- | --- |")
        for name, info in concern.model_fields.items():
            meaning = (info.description or "").replace("|", "\\|") + _limits(info)
            parts.append(f"| `{variable(name)}` | {_default(info)} | {meaning} |")
    return "\n".join(parts) + "\n"


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + field.upper()


def known_variables() -> list[str]:
    """The variables of all settings."""
    return [variable(name) for concern in _concerns() for name in concern.model_fields]


def _concerns() -> list[type[BaseSettings]]:
    """The settings classes in the order in which they are declared."""
    return [
        kind
        for kind in vars(declared).values()
        if isinstance(kind, type) and issubclass(kind, BaseSettings) and kind.__name__.endswith("Settings")
    ][1:]


def _effective(settings: Settings) -> Iterator[tuple[str, Any, str]]:
    """Variable, masked value, and where it comes from: variables of the environment, or the default."""
    of_kuberay = kuberay_sources(os.environ)
    for concern in (getattr(settings, field.name) for field in fields(settings)):
        for name in type(concern).model_fields:
            value = getattr(concern, name)
            source = "environment" if os.environ.get(variable(name)) else " ".join(of_kuberay.get(name, ())) or "default"
            yield variable(name), _masked(value), source


def _masked(value: Any) -> Any:
    """Secrets without what is secret: of a URL only the password, of anything else everything."""
    if not isinstance(value, SecretStr):
        return value
    secret = value.get_secret_value()
    if "://" not in secret:
        return _MASK if secret else ""
    # To the last @: a password may hold what separates the parts of a URL. Redis clients accept one in the query, too.
    address, query, _ = secret.partition("?")
    return _PASSWORD.sub(rf"://\1:{_MASK}@", address) + (f"?{_MASK}" if query else "")


def _default(info: FieldInfo) -> str:
    value = info.get_default(call_default_factory=True)
    value = value.get_secret_value() if isinstance(value, SecretStr) else value
    return "" if value in ("", None) else f"`{value}`"


def _limits(info: FieldInfo) -> str:
    """The bounds of a number or the allowed words, as the validation has them."""
    words = [str(word) for word in get_args(info.annotation) if isinstance(word, str)]
    bounds = [f"{sign} {getattr(limit, name)}" for limit in info.metadata for kind, name, sign in _SIGNS if isinstance(limit, kind)]
    if words:
        return " One of " + ", ".join(f"`{word}`" for word in words) + "."
    return f" ({', '.join(bounds)})" if bounds else ""


# What Kubernetes gives every pod for a service that is called like us.
_OF_A_SERVICE = re.compile(r".*_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_\w+)?)")
# Read by the commands that ask a server.
_OTHERS = ("RAY_HISTORY_SERVER", "RAY_HISTORY_TOKEN")


def warnings(names: Iterable[str]) -> list[str]:
    """One line for each name of an environment that no setting has."""
    known = {*known_variables(), *_OTHERS}
    found = []
    for name in sorted(names):
        if name.startswith(PREFIX) and name not in known and not _OF_A_SERVICE.fullmatch(name):
            similar = get_close_matches(name, known, n=1)
            found.append(f"{name} is no setting and has no effect" + (f": did you mean {similar[0]}?" if similar else ""))
    return found
