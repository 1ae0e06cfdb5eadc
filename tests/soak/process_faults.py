"""Faults of our own processes, of the bucket and of visitors: killed, frozen, ended, evicted, crowded out, files deleted."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from contextlib import suppress
from functools import partial

import psutil

from tests.soak.moments import READING, WHILE_LOADING
from tests.soak.redis_proxy import Trap
from tests.soak.scene import Fault, Scene
from tests.soak.stack import Process


def _kill_child(scene: Scene) -> None:
    """As the kernel does when memory runs out."""
    _, *children = scene.worker().tree() or [None]
    if children:
        with suppress(psutil.NoSuchProcess):
            scene.chance.choice(children).kill()


def _kill_parent(scene: Scene) -> None:
    worker = scene.worker()
    scene.orphans += worker.tree()[1:]
    worker.asked_to_end = True
    worker.child.process.kill()


def _kill_group(scene: Scene) -> None:
    scene.worker().kill()


def _kill_all(scene: Scene) -> None:
    for process in scene.stack.workers:
        process.kill()


def _freeze(scene: Scene) -> None:
    """The worker, or one process of it, for longer than its lease."""
    tree = scene.worker().tree()
    frozen = tree if scene.chance.random() < 0.5 or len(tree) < 2 else [scene.chance.choice(tree[1:])]
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    until = time.monotonic() + scene.stack.lease * scene.chance.uniform(1.2, 1.6)

    def thaw() -> None:
        time.sleep(max(0.0, until - time.monotonic()))
        for process in frozen:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    scene.in_background(thaw)


def _terminate(scene: Scene) -> None:
    """As an orchestrator ends one worker or, at times, all of them; new ones come when the old ones have ended."""
    for process in scene.stack.workers if scene.chance.random() < 0.3 else [scene.worker()]:
        process.asked_to_end = True
        process.child.process.terminate()


def _set_api_traps(scene: Scene) -> None:
    """Whichever is about to send the message of the load dies before it is sent: its claim stands, and no worker knows of it."""
    once = threading.Lock()

    def kill(process: Process) -> None:
        if once.acquire(blocking=False):
            process.kill()

    for process in scene.stack.apis:
        process.proxy.set(Trap(1, match=b"LPUSH", forward=False, action=partial(kill, process)))


def _kill_api(scene: Scene) -> None:
    deadline = time.monotonic() + 5
    while all(process.child.runs() for process in scene.stack.apis) and time.monotonic() < deadline:
        time.sleep(0.01)
    for process in scene.stack.apis:
        process.proxy.set(None)
    if scene.chance.random() < 0.3:
        scene.stack.mend()


def _evict(scene: Scene) -> None:
    for _ in range(scene.chance.choice((1, 1, 3))):
        scene.visitor.evict()
        scene.pause(0, 0.3)


def _crowd(scene: Scene) -> None:
    """Other sessions want more than the byte budget has left."""
    for _ in range(scene.chance.randint(3, 6)):
        scene.crowd()
        scene.pause(0, 0.3)


def _delete_files(scene: Scene) -> None:
    """Some event files go while they are read, and come back; then the session is loaded anew."""
    scene.judge.partial = True
    directory = scene.stack.session_directory(scene.ref)
    aside = scene.stack.directory / "aside"
    shutil.rmtree(aside, ignore_errors=True)
    files = sorted(file for file in directory.rglob("*.jsonl*") if file.is_file())
    gone = scene.chance.sample(files, scene.chance.randint(1, len(files)))
    for at, file in enumerate(gone):
        (aside / str(at)).parent.mkdir(exist_ok=True)
        file.rename(aside / str(at))
    scene.pause(0.2, 2)
    for at, file in enumerate(gone):
        (aside / str(at)).rename(file)
    scene.visitor.evict()


def _nothing(_: Scene) -> None:
    pass


PROCESS_FAULTS = {
    "no fault": Fault(_nothing),
    "worker's child killed": Fault(_kill_child),
    "worker's parent killed": Fault(_kill_parent),
    "worker killed whole": Fault(_kill_group),
    "all workers killed": Fault(_kill_all),
    "worker frozen past its lease": Fault(_freeze),
    "worker terminated": Fault(_terminate),
    "API killed after its claim": Fault(_kill_api, moments=("at once",), prepare=_set_api_traps),
    "evicted while loading": Fault(_evict),
    "evicted while read": Fault(_evict, moments=READING),
    "crowded out": Fault(_crowd, moments=(*WHILE_LOADING, *READING)),
    "event files deleted": Fault(_delete_files, moments=("before", *WHILE_LOADING)),
}
