"""`ray-history logs`: the logs of a dead session, for which `ray logs` cannot ask: it takes no http address."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from cli.load_progress import load_first
from cli.output import Failed, aligned
from cli.server import Server
from cli.server_sessions import Address, Json, Ref

_LOCAL = "http://127.0.0.1:8080"
_WHOLE = -1
_MOST_NODES = 10_000


def logs(
    ref: Ref,
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="A file, whose text is printed, or a pattern (`*.err`), whose files are listed.")
    ] = "",
    *,
    node_id: Annotated[str, typer.Option("--node-id", help="Only this node.", show_default=False)] = "",
    node_ip: Annotated[str, typer.Option("--node-ip", help="Only the node with this address.", show_default=False)] = "",
    task_id: Annotated[str, typer.Option("--task-id", help="What a task wrote.", show_default=False)] = "",
    attempt: Annotated[int, typer.Option("--attempt", help="Which attempt of the task.", min=0)] = 0,
    actor_id: Annotated[str, typer.Option("--actor-id", help="The log of an actor's last process.", show_default=False)] = "",
    submission_id: Annotated[str, typer.Option("--submission-id", help="The driver log of a submitted job.", show_default=False)] = "",
    pid: Annotated[int | None, typer.Option("--pid", help="The log of a process of a node.", min=1, show_default=False)] = None,
    err: Annotated[bool, typer.Option("--err", help="Standard error of a task, an actor or a process, not its output.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", help="Only so many last lines.", min=1, show_default=False)] = None,
    as_json: Json = False,
    server: Address = _LOCAL,
) -> None:
    """List the log files of a session, or print one: by its name, or what a task, an actor, a process or a job wrote."""
    wanted: dict[str, str | int | None] = {
        "task_id": task_id, "actor_id": actor_id, "submission_id": submission_id, "pid": pid, "filename": file,
    }  # fmt: skip
    named = {name: value for name, value in wanted.items() if value}
    if len(named) > 1:
        raise typer.BadParameter(f"{' and '.join(named)}: give one of them")
    node = {name: value for name, value in (("node_id", node_id), ("node_ip", node_ip)) if value}
    with Server(server) as http:
        real, _ = load_first(http, ref)
        routes = f"/sessions/{real}/dashboard/api/v0"
        if not named or any(character in file for character in "*?["):
            _print_files(_files(http, routes, node, file or "**/*"), as_json=as_json)
            return
        if file and not node:
            node = {"node_id": _node_of_file(http, routes, file)}
        more: dict[str, str | int] = {"lines": tail or _WHOLE, "suffix": "err" if err else "out"}
        if task_id:
            more["attempt_number"] = attempt
        http.download(f"{routes}/logs/file", {**node, **named, **more}, sys.stdout.buffer)


def _files(http: Server, routes: str, node: dict[str, str], pattern: str) -> list[dict[str, str]]:
    """Each file with its node and Ray's category of it."""
    nodes = [node] if node else [{"node_id": node_id} for node_id in _nodes(http, routes)]
    found: list[dict[str, str]] = []
    for one in nodes:
        categories = http.get(f"{routes}/logs", {**one, "glob": pattern})["data"]["result"]
        names = [(name, category) for category, of_it in categories.items() for name in of_it if not name.endswith("/")]
        found += [{**one, "category": category, "file": name} for name, category in sorted(names)]
    return found


def _nodes(http: Server, routes: str) -> list[str]:
    rows = http.get(f"{routes}/nodes", {"limit": _MOST_NODES})["data"]["result"]["result"]
    return [row["node_id"] for row in rows]


def _node_of_file(http: Server, routes: str, file: str) -> str:
    """The only node that has it. Raises Failed."""
    nodes = [node for node in _nodes(http, routes) if http.has(f"{routes}/logs/file", {"node_id": node, "filename": file})]
    if len(nodes) != 1:
        raise Failed(f"{file} is on {len(nodes)} nodes, choose one by --node-id: {', '.join(nodes)}" if nodes else f"no node has {file}")
    return nodes[0]


def _print_files(found: list[dict[str, str]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=2))
    elif found:
        print(aligned(("NODE", "CATEGORY", "FILE"), [tuple(row.values()) for row in found]))
    else:
        print("no log files", file=sys.stderr)
