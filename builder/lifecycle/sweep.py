"""Ending what a killed keeper left running. For whoever holds the lab's lock now: `down`, or the next keeper."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from builder.drivers.embed import leftovers, processes_naming
from builder.errors import LabError


def sweep(run_dir: Path) -> None:
    """End what a killed keeper left running: guests, and the ssh connections into them."""
    leftovers(run_dir)
    deadline = time.monotonic() + 5
    while found := list(processes_naming(run_dir, program=b"ssh")):
        for _, fd in found:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)
        if time.monotonic() > deadline:
            pid = found[0][0]
            raise LabError(f"ssh process {pid} does not die", hint=f"look at it: cat /proc/{pid}/stack")
        time.sleep(0.02)
