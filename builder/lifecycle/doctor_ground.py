"""This host as `doctor` sees it, and what a lab asks of it. All looking goes through `Ground`, so that a test can
stand up a host made of files."""

from __future__ import annotations

import contextlib
import importlib
import locale
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from builder.errors import LabError
from builder.paths import Places
from builder.run import run

_ORPHAN_LIFE = 0.05
Status = Literal["ok", "warn", "missing", "unknown"]
Connection = Literal["embed", "session", "system", "remote"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look showed. `fix` is one command line per line, ready to paste; empty when there is nothing to do."""

    status: Status
    seen: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Medium:
    """The medium of a node: where it is, or why there is none and the line that gives it."""

    node: str
    seen: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a lab asks of the host; the defaults are what every lab does. Sizes are bytes.

    `footprint` is what the nodes are expected to write to the state folder, `build_space` what building the images
    that are not in the cache takes there. `running`: the lab is up and has its memory already."""

    memory: int = 0
    cpus: int = 0
    footprint: int = 0
    build_space: int = 0
    machines: frozenset[str] = frozenset({"pc"})
    uefi: bool = False
    builds_disk: bool = False
    builds_initramfs: bool = False
    media: tuple[Medium, ...] = ()
    running: bool = False
    connection: Connection = "embed"
    mirror: str | None = None


def connection_of(uri: str | None) -> Connection:
    """The kind of libvirt connection that a URI names; None is the embedded driver."""
    if uri is None or uri.startswith("qemu:///embed"):
        return "embed"
    if uri.startswith("qemu:///"):
        return "system" if uri.partition("qemu:///")[2].startswith("system") else "session"
    return "remote"


@dataclass(frozen=True)
class Ground:
    """The real host. `root` is where /proc, /sys, /dev, /etc, /usr and /run are looked for."""

    places: Places
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    root: Path = Path("/")
    euid: int = field(default_factory=os.geteuid)

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def read(self, name: str) -> str | None:
        """The stripped text of a small file, or None when it cannot be read."""
        try:
            return self.path(name).read_text(errors="replace").strip()
        except OSError:
            return None

    def exists(self, name: str) -> bool:
        return self.path(name).exists()

    def may_use(self, path: Path) -> bool:
        """Whether the effective user may read and write it."""
        return os.access(path, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids)

    def may_make(self, path: Path) -> bool:
        """Whether the folder can be written to, or made where it is not there yet."""
        there = nearest(path)
        return there.is_dir() and self.may_use(there)

    def which(self, program: str) -> str | None:
        """The path of a program: beside our Python first (a virtual environment that is not activated), then PATH,
        then the folders for administrators, which an ordinary user's PATH lacks."""
        beside = Path(sys.executable).parent / program
        if beside.is_file():
            return str(beside)
        return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")

    def output(self, argv: Sequence[str]) -> str | None:
        """What a program prints, or None when it fails, hangs or is not there."""
        try:
            result = run(argv, timeout=10, check=False, env={"LC_ALL": "C"})
        except LabError:
            return None
        return result.stdout if result.ok else None

    def libvirt_version(self) -> int:
        """Such as 9000000 for 9.0.0. Raises ImportError when the Python binding cannot be loaded."""
        version = importlib.import_module("libvirt").getVersion()
        assert isinstance(version, int)
        return version

    def python_version(self) -> tuple[int, int]:
        return sys.version_info[:2]

    def encoding(self) -> str:
        return locale.getpreferredencoding(False)

    def cores(self) -> int:
        return len(os.sched_getaffinity(0))

    def free_space(self, path: Path) -> int:
        return shutil.disk_usage(nearest(path)).free

    def device_of(self, path: Path) -> int:
        return nearest(path).stat().st_dev

    def reap_seconds(self, limit: float) -> float | None:
        """How long a process that has lost its parent stays a zombie, or None when it is one after `limit` seconds."""
        # It outlives its shell, which would collect it itself; and it does not hold the pipe that we read from.
        script = f"sleep {_ORPHAN_LIFE} >/dev/null 2>&1 & echo $!"
        argv = ["/bin/sh", "-c", script]
        started = subprocess.run(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
        with contextlib.suppress(ValueError):
            spent = _gone_after(int(started.stdout), limit + _ORPHAN_LIFE)
            return None if spent is None else max(0, spent - _ORPHAN_LIFE)
        return None

    def as_root(self, command: str) -> str:
        """The command line as this user has to type it."""
        if self.euid == 0:
            return command
        plain = not any(sign in command for sign in "|&;<>")
        return f"sudo {command}" if plain else f"sudo sh -c {shlex.quote(command)}"

    def in_container(self) -> bool:
        return (
            self.exists("/.dockerenv")
            or self.exists("/run/.containerenv")
            or "container=" in (self.read("/proc/1/environ") or "")
        )


def nearest(path: Path) -> Path:
    """The path itself, or the closest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _gone_after(pid: int, limit: float) -> float | None:
    began = time.monotonic()
    while (spent := time.monotonic() - began) < limit:
        if not Path(f"/proc/{pid}").exists():
            return spent
        time.sleep(0.01)
    return None


def install(ground: Ground, *packages: str) -> str:
    """The line that installs Debian packages."""
    return ground.as_root(f"apt-get install --no-install-recommends {' '.join(packages)}")


def size_text(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
