"""The `ray-history` command: its subcommands, and the one place where a failure becomes one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from cli import configuration, dashboard, environment, serve, server_sessions, tokens
from cli.collect import collect
from cli.export import export
from cli.flower import flower
from cli.metrics_reference import metrics
from cli.prune import prune
from cli.ray_env import ray_env
from cli.up import up
from cli.version import print_version, version
from shared.errors import HistoryError

app = typer.Typer(
    name="ray-history",
    help="The Ray dashboard for clusters that no longer exist.",
    epilog="REF is {namespace}/{kind}/{name}[/{session}], kind raycluster, rayjob or rayservice; without a session: the latest.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version, and end.", is_eager=True, callback=print_version)] = False,
) -> None:
    """The Ray dashboard for clusters that no longer exist."""


app.command()(up)
app.command("api")(serve.api)
app.command("worker")(serve.worker)
app.command("flower")(flower)
app.command("collect")(collect)
app.command("ray-env")(ray_env)
app.command("prune")(prune)
app.command("sessions")(server_sessions.sessions)
app.command("status")(server_sessions.status)
app.command("load")(server_sessions.load)
app.command("evict")(server_sessions.evict)
app.command("export")(export)
app.command("login")(tokens.login)
app.command("token")(tokens.token)
app.add_typer(dashboard.app, name="dashboard")
app.command("config")(configuration.config)
app.command("metrics")(metrics)
app.command("version")(version)


def main() -> None:
    """Run the command of `sys.argv`. Exit codes: 0 ok, 1 failed, 2 wrong usage."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit code of one command; its failure is one line on stderr."""
    for line in environment.warnings(os.environ):
        print(f"ray-history: warning: {line}", file=sys.stderr)
    try:
        result = app(arguments, prog_name="ray-history", standalone_mode=False)
    except typer.TyperException as exc:
        hint = " (--help tells how)" if exc.exit_code == 2 else ""
        return _failed(exc.format_message() + hint, exc.exit_code)
    except HistoryError as exc:
        return _failed(str(exc))
    except BrokenPipeError:
        # Whoever read our output has gone: there is nobody to tell. Python would complain at exit.
        sys.stdout = None
        return 1
    except Exception as exc:  # noqa: BLE001 - the outermost boundary: one line, not a traceback
        if os.environ.get("RAY_HISTORY_LOG_LEVEL") == "debug":
            traceback.print_exc()
        return _failed(f"unexpected {type(exc).__name__}: {exc}")
    return result if isinstance(result, int) else 0


def _failed(message: str, code: int = 1) -> int:
    print("ray-history: " + " ".join(message.split()), file=sys.stderr)
    return code
