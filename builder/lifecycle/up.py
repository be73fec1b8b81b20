"""`up`: hand a plan to the lab's keeper, starting one when none runs."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from builder.errors import HostLacks, LabError
from builder.events import Event
from builder.lifecycle.plan import LabPlan
from builder.lifecycle.protocol import Channel, KeeperGone, ask, connect
from builder.lifecycle.request import Request, UpOptions
from builder.lifecycle.state import read_owner
from builder.model.runtime import LabStatus
from builder.paths import Busy, Places, locked, private_dir

__all__ = ["UpOptions", "up"]


def up(
    plan: LabPlan,
    places: Places,
    *,
    options: UpOptions,
    listener: Callable[[Event], None],
) -> LabStatus:
    """Bring the lab up and return when every node is ready. Idempotent: an unchanged running lab is left alone.

    If this process goes away before that, the keeper takes the lab down again. Raises what stopped the lab.
    """
    lab_id = plan.lab.name
    request = Request(plan=plan, options=options).model_dump(mode="json")
    while True:
        channel, process = _reach(places, lab_id)
        try:
            answer = ask(channel, "up", listener=listener, request=request)
            return LabStatus.model_validate(answer)
        except KeeperGone:
            # A keeper that we found, not started, was just leaving: the next one is ours.
            if process is not None:
                raise
        finally:
            channel.close()
            if process is not None:
                _settle(process)


def _reach(places: Places, lab_id: str) -> tuple[Channel, subprocess.Popen[bytes] | None]:
    """A channel to the lab's keeper: the one that runs, or one started now."""
    lock = places.lab(lab_id) / "lock"
    deadline = time.monotonic() + 30
    while True:
        channel = connect(places.run(lab_id))
        if channel is not None:
            return channel, None
        try:
            return _spawn(places, lab_id, lock)
        except Busy:
            if time.monotonic() > deadline:
                owner = read_owner(lock)
                who = f"process {owner.pid}" if owner else "another process"
                raise LabError(
                    f"lab {lab_id} is held by {who}, which does not answer", hint=f"nestlab down {lab_id}"
                ) from None
            time.sleep(0.05)


def _spawn(places: Places, lab_id: str, lock: Path) -> tuple[Channel, subprocess.Popen[bytes]]:
    """Start a keeper that holds the lab's lock from its first moment on, so that no `down` can overlook it."""
    for path in (places.state, places.cache):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HostLacks(
                f"{path} cannot be made: {error.strerror}", hint="set NESTLAB_STATE and NESTLAB_CACHE"
            ) from None
    private_dir(places.runtime)
    ours, theirs = socket.socketpair()
    with contextlib.closing(theirs), locked(lock, wait=False) as lock_fd:
        argv = [
            sys.executable, "-m", "builder.lifecycle.keeper", lab_id, str(places.state), str(places.cache),
            str(places.runtime), str(theirs.fileno()), str(lock_fd),
        ]  # fmt: skip
        # A session of its own: Ctrl-C in the terminal reaches `up` only, and the keeper learns of it by the socket.
        process = subprocess.Popen(
            argv, pass_fds=(theirs.fileno(), lock_fd), start_new_session=True, cwd="/", env=_environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    return Channel(ours), process


def _environment() -> dict[str, str]:
    """The keeper may outlive the terminal and the folder it was started in; sys.path comes along."""
    path = os.pathsep.join(p for p in sys.path if p)
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _settle(process: subprocess.Popen[bytes]) -> None:
    """Do not warn about the keeper that lives on; collect one that has ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0)
    if process.returncode is None:
        process.returncode = 0
