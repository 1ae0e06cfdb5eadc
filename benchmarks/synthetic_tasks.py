"""Fills templates in: every event of one synthetic task, written where the collector of its node would have written it."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from random import Random

from benchmarks.event_writer import EventWriter
from benchmarks.recorded_events import rfc3339
from benchmarks.synthetic_cluster import SESSION, Node, Worker
from benchmarks.templates import Archetype, AttemptTemplate

# ns between the begins of two attempts of a job: at least, and at most as much again twice over.
_PAUSE = 200_000


class TaskFiller:
    """The tasks of one job. `clock` (ns) is where the job has come to; the counters are what a reader must find."""

    def __init__(self, job: bytes, begin: int, writer: EventWriter, random: Random) -> None:
        self.clock = begin
        self.folder = f"job_events/{job.hex()}"
        self.attempts = self.events = 0
        self.states: Counter[str] = Counter()
        self._job = b64encode(job)
        self._session = SESSION.encode()
        self._writer = writer
        self._random = random

    def fill(
        self, archetype: Archetype, task: bytes, parent: bytes, worker: Worker, owner: Node, function: bytes, actor: bytes = b""
    ) -> None:
        """All attempts of one task; ids are raw."""
        values = {
            b"task": b64encode(task),
            b"task_hex": task.hex().encode(),
            b"job": self._job,
            b"parent": b64encode(parent),
            b"actor": b64encode(actor),
            b"worker": b64encode(worker.id),
            b"worker_hex": worker.id.hex().encode(),
            b"node": worker.node.base64,
            b"owner_node": owner.base64,
            b"ip": worker.node.ip.encode(),
            b"owner_ip": owner.ip.encode(),
            b"pid": b"%d" % worker.pid,
            b"session": self._session,
            b"function": function,
            b"stdoutFile": f"{worker.log}.out".encode(),
            b"stderrFile": f"{worker.log}.err".encode(),
        }
        last = len(archetype.attempts) - 1
        for number, attempt in enumerate(archetype.attempts):
            self._attempt(attempt, values, worker, owner, logged=len(function) + 60 if attempt.logs else 0)
            self.states[archetype.state if number == last else "FAILED"] += 1
            self.clock += _PAUSE + int(self._random.random() * 2 * _PAUSE)

    def _attempt(self, attempt: AttemptTemplate, values: dict[bytes, bytes], worker: Worker, owner: Node, *, logged: int) -> None:
        put, clock, folder = self._writer.put, self.clock, self.folder
        # Real tasks took from a second on: here they take half to three and a half times as long.
        scale = 0.5 + self._random.random() * 3
        values[b"stdoutStart"], values[b"stderrStart"] = b"%d" % worker.stdout, b"%d" % worker.stderr
        worker.stdout += logged
        values[b"stdoutEnd"], values[b"stderrEnd"] = b"%d" % worker.stdout, b"%d" % worker.stderr
        emitter, owner_hex = worker.node.hex, owner.hex
        for template in attempt.templates:
            values[b"event"] = b64encode(self._random.randbytes(28))
            when = clock
            for name, after, number in template.times:
                when = clock + int(after * scale)
                values[name] = b"%d" % when if number else rfc3339(when)
            put(emitter if template.by_executor else owner_hex, folder, when, template.text % values)
        self.attempts += 1
        self.events += len(attempt.templates)
