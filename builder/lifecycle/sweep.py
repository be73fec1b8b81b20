"""Ending what a killed keeper left running. For whoever holds the lab's lock now: `down`, or the next keeper."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from builder.drivers.embed import leftovers
from builder.errors import LabError
from builder.run import process_start_time


def sweep(run_dir: Path) -> None:
    """End what a killed keeper left running: guests, and the ssh connections into them."""
    leftovers(run_dir)
    deadline = time.monotonic() + 5
    while found := _ssh_mentioning(run_dir):
        for pid, started in found:
            with contextlib.suppress(ProcessLookupError):
                if process_start_time(pid) == started:
                    os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise LabError(f"ssh process {found[0][0]} does not die", hint=f"look at it: cat /proc/{found[0][0]}/stack")
        time.sleep(0.02)


def _ssh_mentioning(run_dir: Path) -> list[tuple[int, int]]:
    """(pid, start tick) of our user's ssh processes that name the lab's runtime folder, which only ours do."""
    mark = os.fsencode(run_dir) + b"/"
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if entry.stat().st_uid != os.geteuid():
                continue
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            started = process_start_time(int(entry.name))
            if Path(os.fsdecode(arguments[0])).name.startswith("ssh") and any(mark in a for a in arguments[1:]):
                found += [(int(entry.name), started)] if started is not None else []
    return found
