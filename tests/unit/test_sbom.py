"""`make sbom`: every locked dependency, and nothing else, without a network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LOCKED = re.compile(r"^([a-z0-9.-]+)==([^ ;\\]+)(.*?)(?=^[a-z]|\Z)", re.MULTILINE | re.DOTALL)


def test_the_bill_names_what_is_locked_with_its_hashes(tmp_path: Path) -> None:
    bill = tmp_path / "sbom.json"
    # What the environment of this run holds is taken as it is.
    command = ["make", "--assume-old=.venv/.ready-dev", "sbom", f"BIN={Path(sys.executable).parent}", f"SBOM={bill}"]
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:1")
    done = subprocess.run(command, cwd=ROOT, env=os.environ | nowhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(bill.read_text())
    assert told["bomFormat"] == "CycloneDX"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    root = told["metadata"]["component"]
    assert (root["name"], root["version"], root["type"]) == (project["name"], project["version"], "application")
    listed = {
        f"{one['name']}=={one['version']}": {item["content"] for place in one["externalReferences"] for item in place["hashes"]}
        for one in told["components"]
    }
    locked = {
        f"{name}=={version}": set(re.findall(r"sha256:(\w+)", rest))
        for name, version, rest in _LOCKED.findall((ROOT / "requirements.lock").read_text())
    }
    assert len(locked) > 50
    assert listed == locked
    assert all(one["purl"] == f"pkg:pypi/{one['name']}@{one['version']}" for one in told["components"])
