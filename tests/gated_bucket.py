"""A bucket of recorded sessions behind a proxy with gates: a test decides when, and whether, a read goes through."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from obstore.store import S3Store

from tests.fault_proxy import Fault, FaultProxy, Rule, fault_proxy
from tests.object_stores import BUCKET, ObjectStore, moto

NAMESPACE = "test"


class Gate:
    """Reads wait at it until it is open. `reached` is set when one does."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()


class GatedBucket:
    """Sessions are told apart by their cluster's name, which must occur in no other."""

    def __init__(self, store: ObjectStore, proxy: FaultProxy, recorded: Path) -> None:
        self._store = store
        # boto3 takes twice the time for each of the dozens of files of a session.
        access = {"access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}
        self._writer = S3Store(BUCKET, endpoint=store.endpoint, **access, client_options={"allow_http": True})
        self._proxy = proxy
        self._recorded = recorded
        self._rules: list[Rule] = []
        proxy.rule = self._rule

    @property
    def storage(self) -> dict[str, object]:
        """Settings by the name of their variable, without its prefix."""
        given = self._store.settings().model_dump(exclude_defaults=True, exclude={"storage_timeout"})
        settings = {
            name.upper(): value.get_secret_value() if hasattr(value, "get_secret_value") else value for name, value in given.items()
        }
        return settings | {"STORAGE_ENDPOINT": self._proxy.endpoint}

    def add(self, cluster: str, session: str, *, logs: bool = False, changed: Callable[[str, bytes], bytes | None] | None = None) -> str:
        """Store a recorded session (a part of its name is enough) as one of `cluster`; returns its reference.

        `changed` gives a file's new content, or None to leave it out, from its key below the session.
        """
        (source,) = (path for path in self._recorded.glob("bucket/cluster-history/**/session_*") if session in path.name)
        for file in sorted(path for path in source.rglob("*") if path.is_file()):
            key = file.relative_to(source).as_posix()
            if logs or "/logs/" not in key or "/logs/events/" in key:
                content: bytes | None = file.read_bytes()
                if changed:
                    content = changed(key, content or b"")
                if content is not None:
                    self._writer.put(f"cluster-history/raycluster/{NAMESPACE}/{cluster}/{source.name}/{key}", content)
        self.mark(cluster, source.name)
        return f"{NAMESPACE}/raycluster/{cluster}/{source.name}"

    def put(self, ref: str, key: str, content: bytes) -> None:
        """A file below a session."""
        namespace, kind, cluster, session = ref.split("/")
        self._writer.put(f"cluster-history/{kind}/{namespace}/{cluster}/{session}/{key}", content)

    def mark(self, cluster: str, session: str) -> str:
        """A session's marker alone."""
        self._writer.put(f"cluster-metadata/raycluster/{NAMESPACE}_{cluster}/{session}", b"")
        return f"{NAMESPACE}/raycluster/{cluster}/{session}"

    def reads(self, ref: str) -> Counter[str]:
        """How often each file of a session was read."""
        cluster = ref.split("/")[2]
        found = (unquote(path.partition("?")[0]) for method, path, _ in self._proxy.requests if method == "GET")
        return Counter(path for path in found if f"/{cluster}/" in path)

    def event_reads(self, ref: str) -> Counter[str]:
        """How often each event file of a session was read."""
        return Counter({path: count for path, count in self.reads(ref).items() if _is_event(path)})

    def events_of(self, ref: str) -> list[str]:
        """Keys of all that was read of a session's event files so far."""
        return sorted(self.event_reads(ref))

    @contextmanager
    def closed(self, ref: str, first: int | None = None, *, match: Callable[[str], bool] | None = None) -> Iterator[Gate]:
        """Reads of event files (only the `first` ones, if given, or of keys that `match`) wait until the gate is opened, or this ends."""
        gate, left, lock = Gate(), [first], threading.Lock()
        cluster = ref.split("/")[2]

        def rule(method: str, path: str) -> None:
            key = unquote(path.partition("?")[0])
            if method != "GET" or f"/{cluster}/" not in key or not _is_event(key) or (match and not match(key)):
                return
            with lock:
                if left[0] is not None:
                    if left[0] <= 0:
                        return
                    left[0] -= 1
            gate.reached.set()
            gate.open.wait(60)

        with self._ruled(rule):
            try:
                yield gate
            finally:
                gate.open.set()

    @contextmanager
    def failing(self, fault: Fault, part: str = "", *, match: Callable[[str], bool] = lambda _: True) -> Iterator[None]:
        """Every request fails whose path (query included) contains `part` and does `match`."""
        with self._ruled(lambda _, path: fault if part in unquote(path) and match(path) else None):
            yield

    @contextmanager
    def shaken(self, share: float, faults: tuple[Fault, ...] = ("500", "503", "reset", "truncate")) -> Iterator[Counter[str]]:
        """This share of all requests is broken, one way or another; counts them by fault."""
        dice, seen = random.Random(11), Counter[str]()

        def rule(method: str, path: str) -> Fault | None:
            if dice.random() >= share:
                return None
            fault = dice.choice(faults)
            seen[fault] += 1
            return fault

        with self._ruled(rule):
            yield seen

    @contextmanager
    def _ruled(self, rule: Rule) -> Iterator[None]:
        self._rules.append(rule)
        try:
            yield
        finally:
            self._rules.remove(rule)

    def _rule(self, method: str, path: str) -> Fault | tuple[int, str] | None:
        for rule in list(self._rules):
            if (found := rule(method, path)) is not None:
                return found
        return None


def _is_event(key: str) -> bool:
    return "/node_events/" in key or "/job_events/" in key


@contextmanager
def gated_bucket(recorded: Path) -> Iterator[GatedBucket]:
    """`recorded`: where `tests.data.recorded.unpack` put the recorded sessions."""
    with moto() as store, fault_proxy(store.endpoint) as proxy:
        yield GatedBucket(store, proxy, recorded)
