"""Where a submitted job's entrypoint ends in its driver's log."""

from __future__ import annotations

import pytest

from workers.entities.submissions import LONGEST, entrypoint

BEFORE = "2026-03-04 05:06:07,612\tINFO job_manager.py:581 -- Runtime env is setting up.\nRunning entrypoint for job j: "


@pytest.mark.parametrize("printed", ["iter: 0\n", "2026-03-04 05:06:08,424\tINFO worker.py:1691 -- Using address\n", "it's\n"])
@pytest.mark.parametrize(
    ("command", "called"),
    [
        ("python a.py", "python a.py"),
        ("python -c \"\nimport ray\nfor i in range(3):\n    print(f'iter: {i}')\n\"", "python -c"),
        ('python -c \'\nprint("\\n")\n\' && echo "it\'s"', ""),
        ("python - <<'EOF'\nimport ray  # don't\nEOF", ""),
        ("cat <<A <<-B\nit's\nA\n\tmore\n\tB", ""),
        ("pip install x\npython b.py --k 'v w'\n", "/usr/bin/python b.py --k v w"),
        ("python a.py # don't", ""),
        ("python a.py \\\n  --n 3", ""),
        ("echo 'a\\' && python a.py", ""),
        ("cat <<<x", ""),
        ("python " + "é" * 30_000, ""),
    ],
)
def test_commands_of_one_line_and_of_several(command: str, called: str, printed: str) -> None:
    assert entrypoint(f"{BEFORE}{command}\n{printed}", "j", called) == command.rstrip("\n")


def test_what_the_log_does_not_hold() -> None:
    assert entrypoint("nothing\n", "j") is None
    assert entrypoint(f"{BEFORE}python 'cut", "j") is None
    assert entrypoint(f"{BEFORE}python it's fine\n{'x' * LONGEST}", "j") == "python it's fine"


def test_what_was_printed_is_no_command() -> None:
    assert entrypoint(f"{BEFORE}sh run.sh\n[info] calls: python b.py\n", "j", "python b.py") == "sh run.sh"
