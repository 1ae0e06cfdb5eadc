"""How recorded answers are compared: one table, each row with its reason. All rows that match an answer are merged, later ones win.

Paths are dotted; `#` is any element of a list, `@` a key that is an id. A path covers everything below it.
To excuse a value, show that no event, log or stored answer in the bucket holds it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

HOST = "sampled from a running host or process by the dashboard agent, never stored"
RPC = "asked from live raylets or core workers, never stored"
PORT = "port or socket of a live process: in no event or stored answer"
LIVE = "describes the live dashboard process, not the session"
NO_EVENT = "in no event, log or stored answer"
GONE = "live itself could not answer: agent gone, log moved, or a fault of Ray"
KUBERAY = "KubeRay's history server answers this differently from Ray on purpose"
LATE = "changed after the capture began"
LOST = "its node was killed before it had sent this"
EMPTY = "only served, and empty"
GREW = "the file grew after the capture"
ARBITRARY = "which rows a truncated list holds is arbitrary in Ray"
NO_SPANS = "Ray before 2.55 exports one profile span a flush"
NO_LOG_INFO = "Ray before 2.55 does not export where a task's lines begin and end; its log page finds them by their markers"
CREATED = "live of Ray before 2.55 does not say where an actor was created; this server does"
WARNED = "a session's warnings are this server's own"
REDACTED = "Ray before 2.59 shows browsers the values of runtime environments; this server redacts them in every version"

Mode = Literal["json", "text", "class", "skip"]

_ACTOR = r"data\.(actors\.@|detail|detail\.actors\.@)\."
_NODE = r"data\.(detail|summary\.#)\."
_JOB = r"(#\.|data\.result\.result\.#\.)?"
_ROW = r"data\.result\.result\.#\."
_BEFORE_2_55 = r"^2\.([0-4]\d|5[0-4])\."
_TOTALS = {r"data\.result\.(total|num_after_truncation|num_filtered)": "auto"}


@dataclass(slots=True)
class Rule:
    """How one answer is compared.

    `excuse`: path -> why it is not counted. `excuse_value`: path -> (regex of live's value, why). `rows`: regex of a row's key -> why.
    `tolerance`: path -> ms between two clocks. `counts`: path -> resource whose late rows a counter may be off by ("auto": that of the
    URL, "name": rows of the counted function or class). `bag`: text whose lines have no order. `lines`: text compared like a log.
    `order`: rows come in live's order. `single`: path of the one entity of the answer.
    """

    mode: Mode = "json"
    why: str = ""
    excuse: dict[str, str] = field(default_factory=dict)
    excuse_value: dict[str, tuple[str, str]] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)
    tolerance: dict[str, int] = field(default_factory=dict)
    counts: dict[str, str] = field(default_factory=dict)
    substitutions: tuple[tuple[str, str], ...] = ()
    bag: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    order: bool = False
    single: str | None = None

    def substituted(self, text: str) -> str:
        for pattern, replacement in self.substitutions:
            text = re.sub(pattern, replacement, text)
        return text


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: for which tags (globs), URLs, recorded bodies and Ray versions (regexes) it holds, and what it sets."""

    tags: str
    url: str
    sets: Mapping[str, Any]
    body: str = ""
    ray: str = ""

    def holds(self, tag: str, url: str, body: str, ray: str) -> bool:
        searched = ((self.url, url), (self.body, body), (self.ray, ray))
        return any(fnmatchcase(tag, glob) for glob in self.tags.split(",")) and all(re.search(regex, text) for regex, text in searched)


TABLE = (
    Row(
        "static",
        r"platform_events|component_activities|gcs_healthz|profiling_enabled|usage_stats|authentication_mode|redaction|cluster_id",
        {"mode": "skip", "why": LIVE},
    ),
    Row("static", r"/version", {"excuse": {"version": LIVE}}),
    Row("nodes-err,node-err", r"/nodes(/\w+)?$", {"mode": "skip", "why": KUBERAY}),
    Row("actor-err", "", {"mode": "class", "why": KUBERAY}),
    Row(
        "node*",
        "",
        {
            "excuse": {
                _NODE + r"(now|cpu|cpus|mem|hostMem|cgroupMem|shm|agent|gcs|bootTime|loadAvg|disk|diskIo|diskIoSpeed|gpus|tpus|network"
                r"|networkSpeed|cmdline|workers)": HOST,
                _NODE + r"raylet\.(coreWorkersStats|numWorkers|storeStats|objectStore(Used|Available)Memory|stateSnapshot)": RPC,
                _NODE + r"raylet\.(nodeManagerPort|objectManagerPort|metricsExportPort|runtimeEnvAgentPort|metricsAgentPort"
                r"|dashboardAgentListenPort|rayletSocketName|objectStoreSocketName)": PORT,
                _NODE + r"raylet\.nodeTypeName": NO_EVENT,
                r"data\.nodeLogicalResources": RPC,
            },
            "tolerance": {_NODE + r"raylet\.endTimeMs": 5},
            "counts": {r"data\.hostNameList": "nodes"},
        },
    ),
    Row(
        "node,actor*",
        "",
        {
            "excuse": {
                _ACTOR + r"(ipAddress|port|language|workerType|usedResources|taskQueueLength|objectRefs|objectsTotal"
                r"|usedObjectStoreMemory|num(ExecutedTasks|PendingTasks|ObjectRefsInScope|InPlasma|LocalObjects|OwnedObjects|OwnedActors"
                r"|RunningTasks|InFlightArgPinningRequests|OfFailedArgPinningRequests))": RPC,
                _ACTOR + "(gpus|tpus|mem|processStats)": HOST,
            },
            "tolerance": {_ACTOR + "(startTime|endTime|timestamp)": 20},
        },
    ),
    Row("node", "", {"single": "data.detail.raylet"}),
    Row("actor", "", {"single": "data.detail"}),
    Row("job", "", {"single": ""}),
    Row(
        "job*,list-jobs*",
        "",
        {
            "excuse": {_JOB + "driver_agent_http_address": PORT},
            "tolerance": {_JOB + "(start_time|end_time)": 5000},  # the job manager's clock is exported in whole seconds
            "lines": ("logs",),
        },
    ),
    Row("list-jobs*", r"limit=3$", {"mode": "class", "why": ARBITRARY}),
    Row("cluster-events,train", "", {"mode": "skip", "why": GONE}),
    Row("cluster-status", r"status$", {"mode": "class", "why": LIVE}),
    Row(
        "cluster-status",
        r"format=1",
        {
            "bag": (r"data\.clusterStatus",),
            "counts": {r"data\.clusterStatus": "nodes"},
            "substitutions": (
                (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+", "<time>"),
                (r"(?m)^ [\d.]+\w*/", " <used>/"),
                (r" \([\d.]+ used of [\d.]+ reserved in placement groups\)", ""),
            ),
        },
    ),
    Row("serve", "", {"excuse": {"controller_health_metrics": HOST}}),
    Row("list-objects,summarize-objects,list-runtime_envs*", "", {"mode": "skip", "why": RPC}),
    Row("list-workers", "", {"rows": {r"[0-9a-f]{8}f{48}": "drivers have no WORKER_* event"}}),
    # Without WORKER_* events logs tell: of the launch to a few ms, of when the process was up less exactly.
    Row(
        "list-workers",
        "",
        {
            "tolerance": {
                _ROW + "(worker_launch_time_ms|end_time_ms)": 50,
                _ROW + "(worker_launched_time_ms|start_time_ms)": 1000,
            },
            "excuse_value": {_ROW + "exit_detail": ("^Destroying worker", "a raylet's own reason for an exit is in no log")},
        },
        ray=r"^2\.([0-4]\d|5[0-7])\.",
    ),
    Row("list-nodes,nodes-filter", "", {"tolerance": {_ROW + "end_time_ms": 5}}),
    Row("list-[!j]*,tasks*,task,*-filter*", "", {"order": True}),
    Row("list-*,tasks*,task,*-filter*", "", {"counts": _TOTALS}),
    Row("list-tasks*,tasks*,task", "", {"tolerance": {_ROW + r"(end_time_ms|events\.#\.created_ms)": 5}}),
    Row("summarize*", "", {"counts": {**_TOTALS, r".*\.state_counts": "name", r".*\.total_\w+": "auto"}}),
    Row("logs-list", "", {"rows": {r"(old|nsight|profiles|rocprof_sys)/": "an object store keeps no empty directory"}}),
    Row("log-*", "", {"mode": "text"}),
    Row(
        "logs-list,log-[!e]*",
        "",
        {"mode": "skip", "why": GONE},
        body=r"^(500 Internal|Agent for node id|A file is not|Could not find a log)",
    ),
    Row("log-file", r"debug_state\.txt", {"mode": "class", "why": "rewritten every 10 s"}),
    Row(
        "list-tasks*,tasks*,task",
        "",
        {
            "excuse": {
                _ROW + "profiling_data": NO_SPANS,
                _ROW + r"task_log_info\.std(out|err)_(start|end)": NO_LOG_INFO,
                r"data\.result\.warnings": WARNED,
            },
            "excuse_value": {_ROW + "node_id": ("^None$", CREATED)},
        },
        ray=_BEFORE_2_55,
    ),
    Row("tasks-filter", r"filter_keys=node_id", {"rows": {r"f{16}\w+/\d+": CREATED}}, ray=_BEFORE_2_55),
    Row("nodes-filter", "", {"excuse": {r"data\.result\.num_after_truncation": "live counted before it filtered"}}, ray=_BEFORE_2_55),
    Row("timeline", "", {"mode": "skip", "why": NO_SPANS}, ray=_BEFORE_2_55),
    Row(
        "*-browser",
        "",
        {"excuse_value": {r".*env_vars": ("", REDACTED), r".*serialized_runtime_env": ("env_vars", REDACTED)}},
        ray=r"^2\.([0-4]\d|5[0-8])\.",
    ),
)


def rule_for(tag: str, url: str, body: str, ray: str) -> Rule:
    """`body` is the recorded one, `ray` the recorded version."""
    rule = Rule()
    for row in TABLE:
        if row.holds(tag, url, body, ray):
            for name, value in row.sets.items():
                setattr(rule, name, {**getattr(rule, name), **value} if isinstance(value, dict) else value)
    return rule


@functools.cache
def _compiled(path: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{path})(?:\.|$)")


def covering(paths: Mapping[str, Any] | tuple[str, ...], path: str) -> str | None:
    """The first path of the table that covers this one."""
    return next((candidate for candidate in paths if _compiled(candidate).match(path)), None)
