"""A folder to build in, and root's part of the work: scripts with mounts and processes of their own.

Whatever way the builder goes, nothing stays: its lock on the folder goes with it, on which root's side ends
everything it runs (see disk/guarded); the kernel takes the mounts apart with their namespace; `reap_builds` detaches
loop devices and deletes the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from builder.errors import CommandFailed, HostLacks, Interrupted, TimedOut
from builder.paths import is_locked, write_atomic
from builder.run import need, run, stream

_SCRIPTS = Path(__file__).parent / "disk"
_PREFIX = "build-"
_KEPT_LINES = 40


class Workshop:
    """Context manager: makes `root/build-…` and holds it; deletes it at the end."""

    def __init__(self, root: Path) -> None:
        self.folder = root / f"{_PREFIX}{uuid.uuid4().hex[:12]}"
        self._lock: int | None = None

    def __enter__(self) -> Workshop:
        become_root()
        self.folder.mkdir(mode=0o755, parents=True)
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
        _clear(self.folder)

    def let_go(self) -> None:
        """Give up the lock: root's side ends at once."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def as_root(
        self,
        script: str,
        environment: Mapping[str, str],
        *,
        on_line: Callable[[str], None],
        timeout: float,
        stop: threading.Event | None = None,
        plain: Sequence[Path] = (),
    ) -> None:
        """Run a script of `disk/` as root on this folder. `environment` is handed over in a private file. Folders in
        `plain` are told by names without blanks, under which the script has to mount them (see `plain_names`).

        Raises CommandFailed with the last lines, TimedOut, or Interrupted when `stop` was set.
        """
        values = {"OWNER": f"{os.geteuid()}:{os.getegid()}", **plain_names(environment, plain)}
        text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
        write_atomic(self.folder / "environment", text, mode=0o600)
        command = [
            *become_root(),
            "/bin/bash",
            _SCRIPTS / "guarded",
            self.folder / "lock",
            _SCRIPTS / script,
            self.folder,
        ]
        tail: list[str] = []

        def keep(line: str) -> None:
            tail.append(line)
            del tail[:-_KEPT_LINES]
            on_line(line)

        # not stream's own time-out and stop: they signal the group, and root's processes may not be ours to signal
        with _alarm(timeout, stop, self.let_go) as rang:
            status = stream([str(part) for part in command], on_line=keep, timeout=timeout * 2 + 600)
        if rang.is_set():
            if stop is not None and stop.is_set():
                raise Interrupted("the build of an image was stopped")
            raise TimedOut(f"the end of building step '{script}'", seconds=timeout, last_lines=tail[-8:])
        if status != 0:
            stderr = "\n".join(tail)
            raise CommandFailed([str(part) for part in command], returncode=status, stderr=stderr)


def plain_names(environment: Mapping[str, str], folders: Sequence[Path]) -> dict[str, str]:
    """The environment with every folder that has an unusual character in its name called /mnt/N instead; PLAIN lists
    the folders, one a line, in the order of N. For programs that split paths at blanks."""
    odd = [str(folder) for folder in folders if not re.fullmatch(r"[\w./+@:,-]+", str(folder))]
    values = dict(environment)
    for number, folder in sorted(enumerate(odd), key=lambda each: -len(each[1])):
        values = {name: value.replace(folder, f"/mnt/{number}") for name, value in values.items()}
    return {**values, "PLAIN": "\n".join(odd)}


def become_root() -> list[str]:
    """What to put before a command so that it runs as root; nothing when we are root.

    Raises HostLacks when we are not and sudo asks for a password.
    """
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None or not run([sudo, "-n", "true"], check=False).ok:
        raise HostLacks(
            "building a disk image needs root: it mounts, changes owners and runs programs in the image's tree",
            hint="sudo nestlab image build LAB (as root it lands in root's cache: set NESTLAB_CACHE), "
            "or allow sudo without a password",
        )
    return [sudo, "-n"]


def reap_builds(work_root: Path) -> tuple[str, ...]:
    """Clear away what killed builders left below `work_root`: loop devices, folders. Returns the folders' names.

    Builds whose builder lives are not touched. Raises HostLacks when that takes root and we cannot become it.
    """
    dead = [path for path in sorted(work_root.glob(f"{_PREFIX}*")) if not is_locked(path / "lock")]
    for folder in dead:
        _clear(folder)
    return tuple(path.name for path in dead)


def loops_of(folder: Path) -> tuple[str, ...]:
    """Loop devices whose file lies (or lay) below `folder`."""
    losetup = need("losetup", why="detach what a killed build left", package="mount")
    listed = run([losetup, "--list", "--json", "--output", "NAME,BACK-FILE,BACK-INO,BACK-MAJ:MIN"]).stdout
    devices = json.loads(listed)["loopdevices"] if listed.strip() else []
    below = f"{folder.absolute()}/"
    named = [d["name"] for d in devices if (d["back-file"] or "").startswith(below)]
    # A build has a mount namespace of its own, and a path out of there is not ours where another file system or a
    # changed root is involved: such a file is known by its number.
    others = {(int(d["back-ino"] or 0), str(d["back-maj:min"]).strip()): d["name"] for d in devices
              if d["name"] not in named}  # fmt: skip
    if not others or not folder.exists():
        return tuple(named)
    status = folder.stat()
    on = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    for path in folder.rglob("*") if any(place == on for _, place in others) else ():
        with contextlib.suppress(OSError):  # a killed build's programs may still be at work
            name = others.get((path.lstat().st_ino, on))
            if name is not None and path.is_file():
                named.append(name)
    return tuple(named)


def _clear(folder: Path) -> None:
    # root's processes end within moments of the lock's release; what they held is busy until then
    deadline = time.monotonic() + 10
    while loops := loops_of(folder):
        for device in loops:
            run([*become_root(), "losetup", "--detach", device], check=False)
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    while folder.exists():
        done = run([*become_root(), "rm", "-rf", "--one-file-system", "--", folder], check=False, timeout=600)
        if done.ok or time.monotonic() > deadline:
            break
        time.sleep(0.1)


@contextlib.contextmanager
def _alarm(timeout: float, stop: threading.Event | None, act: Callable[[], None]) -> Iterator[threading.Event]:
    """Calls `act` once, when `timeout` seconds are over or `stop` is set; the event given tells that it did."""
    rang, done = threading.Event(), threading.Event()

    def watch() -> None:
        deadline = time.monotonic() + timeout
        while not done.wait(0.1):
            if time.monotonic() > deadline or (stop is not None and stop.is_set()):
                rang.set()
                act()
                return

    watcher = threading.Thread(target=watch, name="building alarm", daemon=True)
    watcher.start()
    try:
        yield rang
    finally:
        done.set()
        watcher.join()


def python_program(name: str) -> str:
    """A program that came with a Python package: beside the interpreter (a venv), else on PATH."""
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return str(beside)
    return need(name, why="build file trees of images", package="python3-diskimage-builder")
