"""A worker's part of a load: one attempt, or one step of a large one. Held by a lease that a thread renews; all it writes is fenced."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import structlog

from shared.errors import RecordMissing, StaleGeneration, StorageUnavailable, StoreUnavailable
from shared.metrics import LOAD_SECONDS, LOADS, LOST_FILES, PHASE_SECONDS, SNAPSHOT_WRITTEN, count_failed, count_progress
from shared.sessions import Session
from shared.settings import LoadSettings
from shared.snapshot_format import Warned
from shared.store.client import SyncRedis
from shared.store.job_index import JobIndex
from shared.store.keys import Keyspace
from shared.store.load_report import LoadReport, field_of, merge, read_reports
from shared.store.protocol.attempts import Attempts, Begun, Holder
from shared.store.protocol.budget import Budget
from shared.store.protocol.ledger import Ledger, Step
from shared.store.protocol.visits import new_token

log = structlog.get_logger()

_WRITE_BYTES = 4 << 20
_REPORT_EVERY = 0.25


@dataclass(frozen=True, slots=True)
class Listing:
    """What the bucket held of a session, and when it was looked at (ms since the epoch)."""

    digest: str
    taken_at: int


class LoadRun:
    """Begun by `begin` (an attempt) or `take_step` (a step of one). Inside `with` it is held; `check` raises StaleGeneration if not.

    Every method may raise StoreUnavailable.
    """

    def __init__(
        self,
        session: Session,
        generation: str,
        redis: SyncRedis,
        keyspace: Keyspace,
        settings: LoadSettings,
        job_index: JobIndex | None = None,
    ) -> None:
        """`job_index`: where the jobs of a loaded session are told of, if anywhere."""
        self.session = session
        self.generation = generation
        self.settings = settings
        keys = keyspace.session(session.key)
        self.listing = Listing("", 0)
        self.job_index = job_index
        self._keys = keys
        self._attempts = Attempts(redis, keys, settings)
        self._ledger = Ledger(redis, keys, settings)
        self._budget = Budget(redis, keyspace, settings)
        self._holder = Holder(f"{generation}.0", new_token())
        self._report = LoadReport()
        self._phase = ""
        self._phase_began = self._reported = 0.0
        self._written = 0
        self._dropped: list[str] = []
        self._lock = threading.Lock()
        self._lost = threading.Event()
        self._done = threading.Event()
        self._renewer = threading.Thread(target=self._keep_renewing, name="lease-renewal", daemon=True)

    def begin(self, *, redelivered: bool) -> tuple[Begun, int]:
        """What is to be done for this load, and the attempt's number. What an earlier attempt wrote is dropped.

        `redelivered`: the queue says that this very message was begun before, and not ended.
        """
        begun, attempt = self._attempts.begin(self.generation, self._holder.token, redelivered=redelivered)
        self._holder = Holder(f"{self.generation}.{attempt}", self._holder.token)
        return begun, attempt

    @property
    def snapshot(self) -> str:
        """The id of what it writes."""
        return self._holder.snapshot

    @property
    def step(self) -> str:
        return self._holder.step

    def plan(self, phases: list[tuple[str, int]]) -> None:
        """The rest of this load is steps: how many of each phase."""
        self._flush()
        if not self._ledger.plan(self._holder.snapshot, self._holder.token, phases):
            raise self._stale()

    def take_step(self, attempt: int, message: str, *, redelivered: bool) -> Step | Literal["busy", "over"]:
        """A step of that attempt, to be done inside `with` and ended by `complete_step`. `message`: the queue's id of what asked for it."""
        snapshot = f"{self.generation}.{attempt}"
        step = self._ledger.take_step(snapshot, self._holder.token, message, redelivered=redelivered)
        if isinstance(step, Step):
            self._holder = Holder(snapshot, self._holder.token, step.name)
        return step

    def complete_step(self) -> int:
        """How many steps may be taken now that could not before."""
        self._end_phase()
        opened = self._ledger.complete_step(self._holder, self._report.to_json())
        if opened is None:
            raise self._stale()
        if self._dropped:
            self._attempts.forget_intermediate(self._holder.snapshot, self._dropped)
        return opened

    def __enter__(self) -> Self:
        self._renewer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._done.set()
        self._renewer.join()

    def check(self) -> None:
        """Raises StaleGeneration once the load goes on elsewhere, or was dropped."""
        if self._lost.is_set():
            raise self._stale()

    def progress(self, phase: str = "", **counts: int) -> None:
        """Add to the counters of the load status."""
        count_progress(counts)
        if phase:
            self._end_phase()
        with self._lock:
            self._phase = phase or self._phase
            self._report.add(counts)
        if phase or time.monotonic() - self._reported > _REPORT_EVERY:
            self._flush()

    def loss(self, file: str, code: str, message: str) -> None:
        """Record a file that could not be read, by its key below the storage root."""
        log.warning("event file lost", file=file, code=code, error=message)
        with self._lock:
            new = self._report.lose(file, code, message)
        if new:
            LOST_FILES.labels(code).inc()

    def report(self, **said: str) -> None:
        """Say something of the load in its status; said again, it replaces what was said."""
        with self._lock:
            self._report.said |= said

    def warn(self, warned: Iterable[Warned]) -> None:
        """Say in the load status what this session's snapshot lacks though nothing was lost."""
        self.report(warnings=json.dumps([(one.code, one.message) for one in warned]))

    @property
    def event_files(self) -> int:
        """How many there are, by what any part of this load counted."""
        return self._whole_report().counts.get("files_total", 0)

    def losses(self) -> tuple[list[tuple[str, str, str]], int]:
        """(file, code, message) of what was lost by any step of this load, and how many there were."""
        whole = self._whole_report()
        return [(file, *loss) for file, loss in sorted(whole.losses.items())], whole.loss_count

    def put(self, fields: Mapping[str, bytes]) -> None:
        """Write fields of the snapshot. Raises SnapshotTooLarge or NoRoom before anything is written that does not fit."""
        size = sum(len(name) + len(data) for name, data in fields.items())
        if not size:
            return
        self._budget.make_room(self._keys, self._holder.snapshot, size)
        for batch in _batches(fields):
            self._written += sum(len(name) + len(data) for name, data in batch.items())
            if not self._attempts.write_snapshot(self._holder, batch, self._written):
                raise self._stale()
        SNAPSHOT_WRITTEN.inc(size)

    def written(self, names: list[str]) -> list[bytes | None]:
        """Fields of the snapshot that this load has put, by any of its steps."""
        return self._attempts.read_snapshot(self._holder.snapshot, names)

    def write_intermediate(self, fields: Mapping[str, bytes]) -> None:
        """Write intermediate records, for later steps of this load."""
        for batch in _batches(fields):
            if not self._attempts.write_intermediate(self._holder, batch):
                raise self._stale()

    def read_intermediate(self, names: Iterable[str]) -> list[bytes]:
        """Intermediate records, in order. Raises RecordMissing for one that is not there, StaleGeneration when they went with the load."""
        wanted = list(names)
        found = self._attempts.read_intermediate(self._holder.snapshot, wanted)
        present = [value for value in found if value is not None]
        if len(present) < len(wanted):
            if not self._attempts.renew(self._holder):
                raise self._stale()
            missing = wanted[found.index(None)]
            raise RecordMissing(f"what an earlier step wrote as {missing} is not in Redis any more")
        return present

    def drop_intermediate(self, names: Iterable[str]) -> None:
        """Drop intermediate records that nobody needs any more, once this step is done: it may have to be done again."""
        self._dropped += names

    def publish_snapshot(self) -> None:
        """Flip the loaded marker to this attempt's snapshot, which is of `listing`.

        Raises StaleGeneration, and StorageUnavailable if no event file could be read: an outage is no empty session.
        """
        self._end_phase()
        whole = self._whole_report()
        if whole.counts.get("files_failed") and not whole.counts.get("files_read"):
            codes = {code for code, _ in whole.losses.values()}
            if codes == {StorageUnavailable.code}:
                raise StorageUnavailable(f"none of its event files could be read: {next(iter(whole.losses.values()))[1]}")
        complete = not whole.loss_count
        told: dict[str, str | int] = {"complete": int(complete), "events": whole.counts.get("events", 0)}
        told |= {"listing": self.listing.digest, "as_of": self.listing.taken_at}
        if not self._attempts.publish(self._holder, self._report.to_json(), told):
            raise self._stale()
        LOADS.labels("complete" if complete else "partial", "").inc()
        LOAD_SECONDS.observe(seconds_since_claim(self.generation))
        self._budget.sweep(self._keys.shard)

    def fail(self, code: str, message: str, *, retryable: bool, retry_after: float) -> None:
        """Record why the load failed, drop what it wrote, give the claim back."""
        if self._attempts.fail(self._holder, code, message, retryable=retryable, retry_after=retry_after):
            count_failed(code)

    def _whole_report(self) -> LoadReport:
        """Of a load in one task, its own report is all there is."""
        others = self._attempts.reports(self._holder.snapshot) if self._holder.step else {}
        whole = read_reports(others, without=[field_of(self._holder.step)])
        with self._lock:
            merge(whole, self._report)
        return whole

    def _flush(self) -> None:
        with self._lock:
            report, phase = self._report.to_json(), self._phase
            self._reported = time.monotonic()
        if not self._attempts.renew(self._holder, phase, report):
            raise self._stale()

    def _end_phase(self) -> None:
        if self._phase and self._phase_began:
            PHASE_SECONDS.labels(self._phase).observe(time.monotonic() - self._phase_began)
        self._phase_began = time.monotonic()

    def _keep_renewing(self) -> None:
        while not self._done.wait(self.settings.renewal):
            try:
                if not self._attempts.renew(self._holder):
                    self._lost.set()
            except StoreUnavailable as exc:
                # Redis may be back before the lease ends; if it is not, the next answer says that it is lost.
                log.warning("lease not renewed", error=str(exc))

    def _stale(self) -> StaleGeneration:
        self._lost.set()
        return StaleGeneration(f"{self._holder.snapshot} of {self.session.key} goes on elsewhere, or was dropped")


def seconds_since_claim(generation: str) -> float:
    """A generation is the time of its claim on Redis' clock, in microseconds; for metrics, since clocks differ a little."""
    return max(0.0, time.time() - int(generation) / 1e6)


def _batches(fields: Mapping[str, bytes]) -> Iterable[dict[str, bytes]]:
    batch: dict[str, bytes] = {}
    size = 0
    for name, data in fields.items():
        batch[name] = data
        size += len(data)
        if size >= _WRITE_BYTES:
            yield batch
            batch, size = {}, 0
    if batch:
        yield batch
