"""What a run found: rows of measure, value, floor, ratio and bar; as a table, as JSON, and as a page of the docs."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `compared` is what the bar is about: the value's ratio to its floor, or the value itself where there is no floor."""

    measure: str
    value: float
    unit: str
    bar: float
    compare: Literal["<=", ">="] = "<="
    floor: float | None = None
    floor_name: str = ""
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        return self.value / self.floor if self.floor else None

    @property
    def reached(self) -> bool:
        compared = self.value if self.ratio is None else self.ratio
        return compared <= self.bar if self.compare == "<=" else compared >= self.bar

    def cells(self) -> list[str]:
        floor = f"{_number(self.floor)} {self.unit}" + (f" ({self.floor_name})" if self.floor_name else "") if self.floor else ""
        ratio = f"{self.ratio:.2f}" if self.ratio else ""
        bar = f"{self.compare} {self.bar:g}{' x' if self.floor else ' ' + self.unit}"
        return [self.measure, f"{_number(self.value)} {self.unit}", floor, ratio, bar, "yes" if self.reached else "**no**"]


HEADER = ["measure", "value", "floor", "ratio", "bar", "reached"]


@dataclass(slots=True)
class Report:
    """A run's rows, in order."""

    command: str
    rows: list[Row] = field(default_factory=list)
    date: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))

    def as_json(self) -> dict[str, Any]:
        rows = [asdict(row) | {"ratio": row.ratio, "reached": row.reached} for row in self.rows]
        return {"machine": machine(), "date": self.date, "command": self.command, "rows": rows}

    def write_json(self, path: Path) -> None:
        path.write_text(json.dumps(self.as_json(), indent=1) + "\n")

    def text(self) -> str:
        """For a terminal."""
        lines = [HEADER, *([cell.replace("*", "") for cell in row.cells()] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)

    def table(self) -> str:
        """In Markdown."""
        lines = [HEADER, ["---"] * len(HEADER), *(row.cells() for row in self.rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    model = next((line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine())
    memory = psutil.virtual_memory().total / (1 << 30)
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
