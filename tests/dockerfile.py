"""Runs a Dockerfile without a container engine: its own instructions, with every absolute path below a directory of the test's.

Understands what our Dockerfile uses, and fails on anything else. What it cannot show: the base image, users, and what Linux isolates.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_SCALAR = ("EXPOSE", "STOPSIGNAL", "USER")


@dataclass
class Stage:
    """What an image of a stage says about its processes."""

    environment: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    scalars: dict[str, str] = field(default_factory=dict)

    def copy(self) -> Stage:
        return Stage(dict(self.environment), self.directory, self.entrypoint, self.command, self.health, dict(self.scalars))


class Build:
    """`root` stands for `/` of every stage: stages must not write different files to one place."""

    def __init__(self, dockerfile: Path, root: Path, arguments: dict[str, str] | None = None) -> None:
        self._context = dockerfile.parent
        self._root = root
        self._given = arguments or {}
        self._arguments: dict[str, str] = {}
        self._ignored = _Ignore(dockerfile.with_name(".dockerignore"))
        self.stages: dict[str, Stage] = {}
        self.last = Stage()
        for word, rest in _instructions(dockerfile.read_text()):
            self._run(word, rest)

    def environment(self, stage: Stage) -> dict[str, str]:
        """A process' whole environment: nothing of ours but where programs are."""
        inside = {name: self._below(value) if name != "PATH" else value for name, value in stage.environment.items()}
        path = stage.environment.get("PATH", "$PATH").split(":")
        known = [self._below(place) for place in path if place.startswith("/") and place not in os.environ["PATH"].split(":")]
        return inside | {"PATH": os.pathsep.join([*known, os.environ["PATH"]])}

    def _below(self, value: str) -> str:
        return f"{self._root}{value}" if value.startswith("/") else value

    def _run(self, word: str, rest: str) -> None:
        if word == "FROM":
            base, _, name = self._resolved(rest).partition(" AS ")
            self.last = self.stages[base].copy() if base in self.stages else Stage(environment={"PATH": "$PATH"})
            self.stages[name or "last"] = self.last
        elif word == "ARG":
            name, _, default = rest.partition("=")
            self._arguments[name] = self._given.get(name, default)
        elif word == "ENV":
            for name, value in re.findall(r"(\w+)=(\S+)", rest):
                self.last.environment[name] = self._resolved(value)
        elif word == "WORKDIR":
            self.last.directory = rest
            Path(self._below(rest)).mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            self._copy(rest)
        elif word == "RUN":
            where = self._below(self.last.directory)
            result = subprocess.run(
                ["sh", "-ec", rest],
                cwd=where,
                env=self._arguments | self.environment(self.last),
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == 0, f"RUN {rest}\n{result.stdout}{result.stderr}"
        elif word == "HEALTHCHECK":
            self.last.health = [] if rest == "NONE" else json.loads(rest.partition("CMD ")[2])
        elif word == "ENTRYPOINT":
            self.last.entrypoint, self.last.command = json.loads(rest), []
        elif word == "CMD":
            self.last.command = json.loads(rest)
        else:
            assert word in _SCALAR, f"{word}: not known here"
            self.last.scalars[word] = rest

    def _copy(self, rest: str) -> None:
        words = rest.split()
        if words[0].startswith("--from="):
            # All stages share one root, so what another stage wrote is there; that it did is what can be checked.
            source, target = words[1:]
            assert source == target, rest
            assert words[0].removeprefix("--from=") in self.stages, rest
            assert Path(self._below(source)).exists(), rest
            return
        *sources, target = words
        place = Path(self._below(os.path.join(self.last.directory, target)))  # noqa: PTH118 - an absolute target stays one
        for name in sources:
            source = self._context / name
            if source.is_dir():
                kept = [f for f in source.rglob("*") if f.is_file() and self._ignored.keeps(f.relative_to(self._context).as_posix())]
                assert kept, f"{name} is in .dockerignore"
                for file in kept:
                    _put(file, place / file.relative_to(source))
            else:
                assert self._ignored.keeps(name), f"{name} is in .dockerignore"
                _put(source, place / source.name if target.endswith("/") else place)

    def _resolved(self, text: str) -> str:
        known = self._arguments | self.last.environment
        return _VARIABLE.sub(lambda found: known.get(found[1] or found[2], found[0]), text)


class _Ignore:
    """As Docker: the last pattern that fits decides, `!` takes back, a pattern fits everything below it, too."""

    def __init__(self, file: Path) -> None:
        lines = [line.strip() for line in file.read_text().splitlines()]
        self._patterns = [line for line in lines if line and not line.startswith("#")]

    def keeps(self, path: str) -> bool:
        kept = True
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        for pattern in self._patterns:
            bare = pattern.removeprefix("!")
            names = parts if bare.startswith("**/") else above
            if any(fnmatch.fnmatchcase(name, bare.removeprefix("**/")) for name in names):
                kept = pattern.startswith("!")
        return kept


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]
