"""`ray-history token` makes a token for the server's rights file; `ray-history login` keeps one for the commands that ask a server."""

from __future__ import annotations

import json
import secrets
import sys
from typing import Annotated, get_args

import typer

from api.access.caller import Action
from api.access.rights_file import token_hash
from cli.output import Failed
from cli.server import Server, keep_token

_LOCAL = "http://127.0.0.1:8080"
_BYTES = 32


def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is: what logs and the server call the caller.")],
    allow: Annotated[
        list[str],
        typer.Option(help="NAMESPACE=ACTION,...: see, load, evict, live; `*` is every namespace.", metavar="RIGHTS", show_default=False),
    ],
) -> None:
    """Make a token. It is printed once, on stderr; the entry for RAY_HISTORY_AUTH_FILE, which holds its hash only, on stdout.

    ray-history token ci --allow 'team-a=see,load' --allow '*=see' >> rights.toml
    """
    rights = dict(_right(text) for text in allow)
    made = secrets.token_urlsafe(_BYTES)
    inside = ", ".join(f"{json.dumps(namespace)} = {json.dumps(actions)}" for namespace, actions in rights.items())
    print(f'[tokens.{json.dumps(name)}]\nsha256 = "{token_hash(made)}"\nrights = {{ {inside} }}')
    print(f"The token of {name}, which nothing else keeps: {made}", file=sys.stderr)


def login(server: Annotated[str, typer.Option("--server", envvar="RAY_HISTORY_SERVER", help="Address of the server.")] = _LOCAL) -> None:
    """Keep a token for this server, which is asked for on the terminal (or read from stdin), once the server has accepted it."""
    given = (typer.prompt("Token", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()).strip()
    if not given:
        raise Failed("no token was given")
    with Server(server, token=given) as http:
        caller = http.get("/caller")
    if caller.get("auth") == "none":
        raise Failed(f"{server} wants no token")
    keep_token(server, given)
    print(f"logged in at {server} as {caller.get('name')}")


def _right(text: str) -> tuple[str, list[str]]:
    namespace, _, actions = text.partition("=")
    chosen = [action.strip() for action in actions.split(",") if action.strip()]
    known = get_args(Action)
    if not namespace or not chosen or not set(chosen) <= set(known):
        raise typer.BadParameter(f"{text!r}: expected NAMESPACE=ACTION,... with actions of {', '.join(known)}")
    return namespace, chosen
