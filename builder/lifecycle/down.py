"""`down`: take a lab away, whatever state it is in, so that nothing of it is left. `reap`: do so for dead labs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator

from builder.errors import LabError
from builder.events import Event
from builder.lifecycle.far import take_away
from builder.lifecycle.protocol import KeeperGone, RemoteError, ask, connect
from builder.lifecycle.state import read_owner
from builder.lifecycle.sweep import sweep
from builder.paths import Busy, Places, is_locked, locked


def down(lab_id: str, places: Places, *, listener: Callable[[Event], None]) -> bool:
    """Returns False when there was nothing to take down. Works for a lab of any version, with a dead keeper too.

    Raises LabError when something of it is on another machine that cannot be reached now: it can be repeated."""
    lab, run_dir = places.lab(lab_id), places.run(lab_id)
    if not lab.exists() and not run_dir.exists():
        return False
    _ask_keeper(places, lab_id, listener)
    with _the_lock(places, lab_id):
        sweep(run_dir)
        take_away(places, lab_id)
        shutil.rmtree(run_dir, ignore_errors=True)
        shutil.rmtree(lab, ignore_errors=True)
    for path in (run_dir, lab):
        if path.exists():
            raise LabError(f"{path} could not be removed", hint=f"sudo rm -r {path}")
    for root in (places.runtime, places.labs()):
        with contextlib.suppress(OSError):
            root.rmdir()
    return True


def reap(places: Places) -> tuple[str, ...]:
    """Take down every lab whose keeper is gone; returns their names. Running labs are never touched."""
    reaped = []
    failed: LabError | None = None
    folder = places.labs()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and not is_locked(path / "lock") and connect(places.run(path.name)) is None:
            try:
                down(path.name, places, listener=lambda _event: None)
                reaped.append(path.name)
            except LabError as error:  # the others are reaped all the same
                failed = error
    if failed is not None:
        raise failed
    return tuple(reaped)


def _ask_keeper(places: Places, lab_id: str, listener: Callable[[Event], None]) -> None:
    """The polite way: the keeper undoes what it did, in order. A keeper that is just starting is waited for."""
    lock = places.lab(lab_id) / "lock"
    deadline = time.monotonic() + 10
    while True:
        channel = connect(places.run(lab_id))
        if channel is not None:
            with contextlib.suppress(KeeperGone, RemoteError):
                ask(channel, "down", listener=listener)
            channel.close()
            return
        if not is_locked(lock) or time.monotonic() > deadline:
            return
        time.sleep(0.05)


@contextlib.contextmanager
def _the_lock(places: Places, lab_id: str) -> Iterator[None]:
    """The lab's lock: after 30 seconds a holder that does not let go is killed (it is the lab's own keeper)."""
    lock = places.lab(lab_id) / "lock"
    deadline = time.monotonic() + 30
    while True:
        try:
            with locked(lock, wait=False):
                yield
                return
        except Busy:
            if time.monotonic() > deadline:
                owner = read_owner(lock)
                if owner is None:
                    raise
                with contextlib.suppress(ProcessLookupError):
                    os.kill(owner.pid, signal.SIGKILL)
                deadline = time.monotonic() + 5
            time.sleep(0.05)
