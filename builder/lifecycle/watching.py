"""What the console of a booting node does not tell: its ssh server, its end, its restarts, and the host it runs on."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from builder.drivers.boot import Signal, Signals
from builder.drivers.ssh import wait_banner
from builder.drivers.virt import Domain
from builder.errors import Interrupted, LabError, TimedOut
from builder.lifecycle.install import Inserted
from builder.model.runtime import SshTarget

End = Literal["reboot", "power-off"]
_DAY = 86400.0
_LOOK_EVERY, _MEDIUM_EVERY = 0.5, 1.0
_SCREEN_FIRST, _SCREEN_EVERY, _SCREEN_SHARE = 1.0, 5.0, 0.05
"""Seconds before the first picture of a screen, seconds between later ones, and the part of the time that they may take
at most."""
_ONE_RESET = 1.0
"""Seconds in which resets are one: Linux asks for one in two ways, and QEMU tells of both (measured)."""

Watch = Callable[[queue.Queue[Signal], threading.Event], None]


@contextlib.contextmanager
def watched(
    domain: Domain, target: SshTarget, ends_by: End, inserted: Inserted | None, is_reached: Callable[[], bool],
    look: Callable[[], object],
) -> Iterator[Signals]:  # fmt: skip
    """Watch a machine that was just started for as long as this is entered; what is seen comes out of the queue.
    `is_reached` tells whether the one that it runs on can still be asked; `look` takes a picture of its screen.

    Where QEMU does not say how the machine went away, `ends_by` is believed: what was planned.
    """
    signals: queue.Queue[Signal] = queue.Queue()  # of this start: an earlier one's end is no end of this one
    ending = _Ending(signals, ends_by)
    watches: dict[str, Watch] = {
        "await ssh": lambda signals, over: _await_ssh(target, signals, over),
        "await end": lambda signals, over: _await_end(domain, is_reached, ending, signals, over),
    }
    if inserted is not None:
        source = inserted.source
        watches["watch medium"] = lambda signals, over: _watch_medium(source, signals, over)
        watches["watch screen"] = lambda _signals, over: _watch_screen(look, over)
    over = threading.Event()
    threads = [
        threading.Thread(target=watch, args=(signals, over), name=f"{what} of {domain.name}", daemon=True)
        for what, watch in watches.items()
    ]
    stop_telling = domain.on_ending(ending.told)
    for thread in threads:
        thread.start()
    try:
        yield signals if inserted is None else _Both(signals, inserted.signals)
    finally:
        stop_telling()
        over.set()
        for thread in threads:
            thread.join(5)


class _Both:
    """What is seen of this start, and what the scripts of the installation report."""

    def __init__(self, seen: queue.Queue[Signal], reports: queue.Queue[Signal]) -> None:
        self._queues = (seen, reports)

    def get_nowait(self) -> Signal:
        seen, reports = self._queues
        with contextlib.suppress(queue.Empty):
            return reports.get_nowait()  # a script reports before the machine goes away
        return seen.get_nowait()


def _await_ssh(target: SshTarget, signals: queue.Queue[Signal], over: threading.Event) -> None:
    with contextlib.suppress(Interrupted, TimedOut):
        wait_banner(target, deadline=time.monotonic() + _DAY, stop=over)
        signals.put("ssh")


class _Ending:
    """How the machine ends, as far as QEMU has said."""

    def __init__(self, signals: queue.Queue[Signal], planned: End) -> None:
        self._signals = signals
        self._reset = 0.0
        self.by = planned

    def told(self, reason: str) -> None:
        if reason == "guest-reset":
            self.by = "reboot"
            before, self._reset = self._reset, time.monotonic()
            if self._reset - before > _ONE_RESET:
                self._signals.put("reset")
        elif reason == "guest-shutdown":
            self.by = "power-off"


def _await_end(
    domain: Domain, is_reached: Callable[[], bool], ending: _Ending, signals: queue.Queue[Signal],
    over: threading.Event,
) -> None:  # fmt: skip
    """A guest may go away without a word on its console, and may be stopped by the machine it runs on."""
    while not over.wait(_LOOK_EVERY):
        try:
            running = domain.is_running()
        except LabError:
            over.wait(_LOOK_EVERY)  # for the end of a connection to be noticed
            if is_reached():
                continue  # a busy libvirt may answer the next time; a boot that waits in vain has its own limit
            signals.put("l0-lost")
            return
        if not running:
            signals.put(ending.by)
            return
        if domain.lacks_space():
            signals.put("no-space")
            return


def _watch_screen(look: Callable[[], object], over: threading.Event) -> None:
    """A guest that ends itself takes its screen with it: the last picture of it is all that is left then."""
    pause = _SCREEN_FIRST
    while not over.wait(pause):
        began = time.monotonic()
        look()
        pause = max(min(2 * pause, _SCREEN_EVERY), (time.monotonic() - began) / _SCREEN_SHARE)


def _watch_medium(source: Path, signals: queue.Queue[Signal], over: threading.Event) -> None:
    """QEMU reads on in a file that was removed, finds nothing in one that was cut short, and fails with one on a share
    or a stick that went away. Nobody wants a host of whose medium a part may be another's."""
    before = _identity(source)
    while not over.wait(_MEDIUM_EVERY):
        if _identity(source) != before:
            signals.put("medium-gone")
            return


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    # Not the time of its last change: a file that is linked or gets other permissions is the same medium.
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
