"""Being the parent of QEMU processes that libvirt sets free.

libvirt starts QEMU as a daemon, so a dead QEMU is a zombie until its new parent waits for it, and `destroy` polls the
zombie until then: 2 s under a slow process 1, 0.2 s under a parent that waits at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from pathlib import Path

from builder.errors import LabError

_PR_SET_CHILD_SUBREAPER = 36
_NO_CHILDREN_PAUSE = 0.2
_FOREIGN_ZOMBIE_PAUSE = 0.05
_UNWAITED = 2.0  # seconds after which a dead QEMU is taken for an orphan


def become_subreaper() -> None:
    """Orphans of this process become its children, and are waited for by a thread. Call once, before libvirt opens.

    Children that somebody in this process waits for (subprocess, libvirt's helpers) are left alone.
    Raises LabError where the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise LabError(f"cannot become a sub-reaper: {os.strerror(ctypes.get_errno())}")
    threading.Thread(target=_reap_forever, name="reaper", daemon=True).start()


def _reap_forever() -> None:
    nap = threading.Event()  # never set: a sleep that does not depend on signals
    seen: dict[int, float] = {}
    while True:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            nap.wait(_NO_CHILDREN_PAUSE)
            continue
        if not _reap_orphans(seen):
            nap.wait(_FOREIGN_ZOMBIE_PAUSE)  # the dead child is somebody else's, who is about to wait for it


def _reap_orphans(seen: dict[int, float]) -> int:
    """How many were waited for. `seen` holds when each dead child was first met."""
    own_session, now = os.getsid(0), time.monotonic()
    dead = {pid: fields for pid in _children() if (fields := _if_dead(pid))}
    for pid in seen.keys() - dead.keys():
        del seen[pid]
    reaped = 0
    for pid, (name, session) in dead.items():
        age = now - seen.setdefault(pid, now)
        if _is_orphan(pid, session, own_session) or (name.startswith("qemu") and age > _UNWAITED):
            with contextlib.suppress(ChildProcessError):
                reaped += os.waitpid(pid, os.WNOHANG)[0] != 0
    return reaped


def _is_orphan(pid: int, session: int, own_session: int) -> bool:
    """A daemon's session is led by a process that is gone: it is neither ours nor its own.

    That tells it from what we start ourselves, which runs in our session, or (builder.run) leads one. The process
    between QEMU and its daemon leads one too when it comes to us; it is known by its name, and that nobody waits.
    """
    return session not in (own_session, pid)


def _children() -> list[int]:
    pids: list[int] = []
    for file in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that ended meanwhile
            pids += map(int, file.read_text().split())
    return pids


def _if_dead(pid: int) -> tuple[str, int] | None:
    """Name and session of a child that is dead and not waited for."""
    try:
        head, _, tail = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return None
    fields = tail.split()
    return (head.partition("(")[2], int(fields[3])) if fields[0] == "Z" else None
