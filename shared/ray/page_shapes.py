"""What the Ray dashboard's pages read of a node without asking whether it is there, for all that was never stored.

Live fills these fields from the node's own agent every few seconds. Without them a page throws and stays white, so they hold
the emptiest value that each page can show. `cpus`, `mem` and `disk` are left out: their pages show nothing then.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Shape(NamedTuple):
    """One field of `/nodes/{id}` and `/nodes?view=summary`. `read_by` are components below `dashboard/client/src/pages/node` of Ray."""

    field: str
    value: Any
    read_by: str


NODE_SHAPES = (
    Shape("cpu", 0, "NodeRow, NodeCard, NodeDetail: `{cpu}%`"),
    # Two triples: of the node, and per CPU. Empty ones are skipped.
    Shape("loadAvg", [None, None], "NodeDetail: `loadAvg[0] && ...`, `loadAvg[1] && ...`"),
    Shape("bootTime", 0, "NodeDetail: a date of `bootTime * 1000`"),
    Shape("networkSpeed", [0, 0], "NodeRow, NodeCard, NodeDetail: `memoryConverter(networkSpeed[0])`"),
    Shape("cmdline", [], "NodeDetail, tab Raylet: `cmdline.join(' ')`"),
    Shape("gpus", [], "GPUColumn, GRAMColumn, AcceleratorColumn: a row for each"),
    Shape("tpus", [], "AcceleratorColumn: a row for each"),
    Shape("workers", [], "NodeDetail, NodeRows, WorkerTable: a row for each"),
)


def with_node_shapes(node: dict[str, Any]) -> dict[str, Any]:
    """The node, with a neutral value for every field that it lacks."""
    return {shape.field: shape.value for shape in NODE_SHAPES} | node
